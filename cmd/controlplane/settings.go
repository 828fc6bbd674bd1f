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

	"github.com/dragoman-mesh/dragoman/pkg/controlplane"
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
		return nil, controlplane.Usage(err)
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
