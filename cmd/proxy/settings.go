package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	flags "github.com/dragoman-mesh/dragoman/cmd/internal/settings"
	"github.com/dragoman-mesh/dragoman/pkg/exit"
	"github.com/dragoman-mesh/dragoman/pkg/proxy"
	"github.com/dragoman-mesh/dragoman/pkg/proxy/environment"
)

// settings are a command's own.
type settings struct{ *flags.Settings }

func newSettings(cmd *cobra.Command) (*settings, error) {
	s, err := flags.Read(cmd)
	if err != nil {
		return nil, err
	}
	return &settings{s}, nil
}

// settingsToAsk are those of a command that asks a running proxy.
func settingsToAsk(cmd *cobra.Command) (*settings, error) {
	s, err := flags.ReadToAsk(cmd)
	if err != nil {
		return nil, err
	}
	return &settings{s}, nil
}

func configFlag(f *pflag.FlagSet) {
	f.String("config", "", "bootstrap `file` with the values of flags (YAML, TOML or JSON)")
}

// runFlags are those of every command that runs a proxy.
func runFlags(f *pflag.FlagSet) {
	configFlag(f)
	f.String("admin-address", "127.0.0.1:9901", "`address` of the admin server; off: none")
	f.String("drain-timeout", "10s", "time for connections to finish at the end")
	f.Int("loops", 0, "event loops; 0: one, and more when it is saturated and CPUs are there")
	f.String("zone", "", "`zone` that this process runs in, for readPolicy ZoneAffinity")
	f.String("otlp-endpoint", "", "`URL` of a collector of spans, as http://host:4317; default: as OTEL_EXPORTER_OTLP_ENDPOINT says")
	flags.LogFlags(f)
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
		LabelsFile:          s.Text("labels-file"),
		NamespaceLabelsFile: s.Text("namespace-labels-file"),
		Namespace:           s.Text("namespace"),
		NamespaceFile:       s.Text("namespace-file"),
	}
	if env := os.Getenv(flags.Prefix + "_ENVIRONMENT"); env != "" && !s.Flags.Changed("environment") {
		d.EnvVar = env
	} else {
		d.Flag = s.Text("environment")
	}
	if host, err := os.Hostname(); err == nil {
		d.Hostname = host
	}
	return d
}

// options are what all commands that run a proxy have in common.
func (s *settings) options() (proxy.Options, error) {
	drain, err := s.Duration("drain-timeout")
	if err != nil {
		return proxy.Options{}, exit.Usage(err)
	}
	if n := s.Number("loops"); n < 0 || n > maxLoops {
		return proxy.Options{}, exit.Usage(fmt.Errorf("--loops %d: want 0 to %d", n, maxLoops))
	}
	return proxy.Options{
		AdminAddress: s.Text("admin-address"),
		DrainTimeout: drain,
		Loops:        s.Number("loops"),
		Zone:         s.Text("zone"),
	}, nil
}

const maxLoops = 256
