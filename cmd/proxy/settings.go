package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/spf13/viper"

	"github.com/dragoman-mesh/dragoman/pkg/proxy"
	"github.com/dragoman-mesh/dragoman/pkg/proxy/environment"
)

// prefix of the environment variables: DRAGOMAN_ADMIN_ADDRESS for
// --admin-address.
const prefix = "DRAGOMAN"

// settings finds values by flag, variable or file, in this order of strength.
type settings struct {
	viper *viper.Viper
	flags *pflag.FlagSet
}

// newSettings reads the bootstrap file, if one is named. A key in it that is
// no flag of the command is an error.
func newSettings(cmd *cobra.Command) (*settings, error) {
	v := viper.New()
	v.SetEnvPrefix(prefix)
	v.SetEnvKeyReplacer(strings.NewReplacer("-", "_"))
	v.AutomaticEnv()
	if err := v.BindPFlags(cmd.Flags()); err != nil {
		return nil, fmt.Errorf("binding flags: %w", err)
	}
	s := &settings{v, cmd.Flags()}
	file := v.GetString("config")
	if file == "" {
		return s, nil
	}
	if err := s.readFile(file); err != nil {
		return nil, proxy.Usage(err)
	}
	return s, nil
}

func (s *settings) readFile(file string) error {
	alone := viper.New()
	alone.SetConfigFile(file)
	if err := alone.ReadInConfig(); err != nil {
		return fmt.Errorf("reading %s: %w", file, err)
	}
	var errs []error
	keys := alone.AllKeys()
	slices.Sort(keys)
	for _, key := range keys {
		if key == "config" || s.flags.Lookup(key) == nil {
			errs = append(errs, fmt.Errorf("%s: unknown key %q; the keys are the long flags", file, key))
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	return s.viper.MergeConfigMap(alone.AllSettings())
}

func (s *settings) text(name string) string { return s.viper.GetString(name) }

// list is a flag that may be given several times; in a variable its values are
// separated by commas.
func (s *settings) list(name string) []string {
	list := s.viper.GetStringSlice(name)
	if env, ok := os.LookupEnv(prefix + "_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))); ok && !s.flags.Changed(name) {
		list = strings.Split(env, ",")
	}
	return slices.DeleteFunc(list, func(v string) bool { return v == "" })
}

func (s *settings) number(name string) int { return s.viper.GetInt(name) }

// duration wants a unit: viper takes a bare number for nanoseconds.
func (s *settings) duration(name string) (time.Duration, error) {
	d, err := time.ParseDuration(s.viper.GetString(name))
	if err != nil || d < 0 {
		return 0, fmt.Errorf("--%s %q: want a duration such as 10s", name, s.viper.GetString(name))
	}
	return d, nil
}

// runFlags are those of every command that runs a proxy.
func runFlags(f *pflag.FlagSet) {
	f.String("config", "", "bootstrap `file` with the values of flags (YAML, TOML or JSON)")
	f.String("admin-address", "127.0.0.1:9901", "`address` of the admin server; off: none")
	f.String("drain-timeout", "10s", "time for connections to finish at the end")
	f.Int("loops", 0, "event loops; 0: one, and more when it is saturated and CPUs are there")
	f.String("zone", "", "`zone` that this process runs in, for readPolicy ZoneAffinity")
	logFlags(f)
}

func environmentFlags(f *pflag.FlagSet) {
	f.String("environment", "", "`name` of the environment; before all other ways to tell")
	f.String("labels-file", environment.DefaultLabelsFile, "`file` with the pod's labels, from the downward API")
	f.String("namespace-labels-file", "", "`file` with the namespace's labels, in the same format")
	f.String("namespace", "", "`name` of the namespace")
	f.String("namespace-file", environment.ServiceAccountNamespace, "`file` with the name of the namespace")
}

// detector tells a flag from a variable, because /config_dump does.
func (s *settings) detector() environment.Detector {
	d := environment.Detector{
		LabelsFile:          s.text("labels-file"),
		NamespaceLabelsFile: s.text("namespace-labels-file"),
		Namespace:           s.text("namespace"),
		NamespaceFile:       s.text("namespace-file"),
	}
	if env := os.Getenv(prefix + "_ENVIRONMENT"); env != "" && !s.flags.Changed("environment") {
		d.EnvVar = env
	} else {
		d.Flag = s.text("environment")
	}
	if host, err := os.Hostname(); err == nil {
		d.Hostname = host
	}
	return d
}

// options are what all commands that run a proxy have in common.
func (s *settings) options() (proxy.Options, error) {
	drain, err := s.duration("drain-timeout")
	if err != nil {
		return proxy.Options{}, proxy.Usage(err)
	}
	if n := s.number("loops"); n < 0 || n > maxLoops {
		return proxy.Options{}, proxy.Usage(fmt.Errorf("--loops %d: want 0 to %d", n, maxLoops))
	}
	return proxy.Options{
		AdminAddress: s.text("admin-address"),
		DrainTimeout: drain,
		Loops:        s.number("loops"),
		Zone:         s.text("zone"),
	}, nil
}

const maxLoops = 256
