// Package settings gives the programs their settings, by flag, variable or
// bootstrap file, and the logger that they ask for.
package settings

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/spf13/viper"

	"github.com/dragoman-mesh/dragoman/pkg/exit"
)

// Prefix is that of the environment variables: DRAGOMAN_ADMIN_ADDRESS for
// --admin-address.
const Prefix = "DRAGOMAN"

// Settings finds values by flag, variable or file, in this order of strength.
type Settings struct {
	viper *viper.Viper
	Flags *pflag.FlagSet // of the command
}

// Read reads the bootstrap file, if one is named. A key in it that is no flag of
// the command is a usage error.
func Read(cmd *cobra.Command) (*Settings, error) { return read(cmd, true) }

// ReadToAsk is Read for a command that asks a running program: that one's bootstrap file
// may have keys that the command has no flags for.
func ReadToAsk(cmd *cobra.Command) (*Settings, error) { return read(cmd, false) }

func read(cmd *cobra.Command, known bool) (*Settings, error) {
	v := viper.New()
	v.SetEnvPrefix(Prefix)
	v.SetEnvKeyReplacer(strings.NewReplacer("-", "_"))
	v.AutomaticEnv()
	if err := v.BindPFlags(cmd.Flags()); err != nil {
		return nil, fmt.Errorf("binding flags: %w", err)
	}
	s := &Settings{v, cmd.Flags()}
	file := v.GetString("config")
	if file != "" {
		if err := s.readFile(file, known); err != nil {
			return nil, exit.Usage(err)
		}
	}
	if err := s.check(file); err != nil {
		return nil, exit.Usage(err)
	}
	return s, nil
}

// check refuses a variable or a key of the bootstrap file that does not have the type
// of its flag: viper takes it for 0 or false.
func (s *Settings) check(file string) error {
	var errs []error
	s.Flags.VisitAll(func(f *pflag.Flag) {
		value, want := s.viper.GetString(f.Name), ""
		switch f.Value.Type() {
		case "int":
			if _, err := strconv.Atoi(value); err != nil {
				want = "a whole number"
			}
		case "bool":
			if _, err := strconv.ParseBool(value); err != nil {
				want = "true or false"
			}
		}
		if want == "" {
			return
		}
		where := file + ": " + f.Name
		if os.Getenv(variable(f.Name)) != "" {
			where = variable(f.Name)
		}
		errs = append(errs, fmt.Errorf("%s %q: want %s", where, value, want))
	})
	return errors.Join(errs...)
}

func (s *Settings) readFile(file string, known bool) error {
	alone := viper.New()
	alone.SetConfigFile(file)
	if err := alone.ReadInConfig(); err != nil {
		return fmt.Errorf("reading %s: %w", file, err)
	}
	var errs []error
	keys := alone.AllKeys()
	slices.Sort(keys)
	for _, key := range keys {
		if known && (key == "config" || s.Flags.Lookup(key) == nil) {
			errs = append(errs, fmt.Errorf("%s: unknown key %q; the keys are the long flags", file, key))
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	return s.viper.MergeConfigMap(alone.AllSettings())
}

// Text is a flag as text.
func (s *Settings) Text(name string) string { return s.viper.GetString(name) }

// List is a flag that may be given several times; in a variable its values are
// separated by commas.
func (s *Settings) List(name string) []string {
	list := s.viper.GetStringSlice(name)
	if env, ok := os.LookupEnv(variable(name)); ok && !s.Flags.Changed(name) {
		list = strings.Split(env, ",")
	}
	return slices.DeleteFunc(list, func(v string) bool { return v == "" })
}

// Number is a flag that is a number.
func (s *Settings) Number(name string) int { return s.viper.GetInt(name) }

// Duration wants a unit: viper takes a bare number for nanoseconds.
func (s *Settings) Duration(name string) (time.Duration, error) {
	d, err := time.ParseDuration(s.viper.GetString(name))
	if err != nil || d < 0 {
		return 0, fmt.Errorf("--%s %q: want a duration such as 10s", name, s.viper.GetString(name))
	}
	return d, nil
}

// Bool is a flag that is true or false.
func (s *Settings) Bool(name string) bool { return s.viper.GetBool(name) }
