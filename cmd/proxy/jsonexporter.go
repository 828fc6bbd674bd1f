package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dragoman-mesh/dragoman/cmd/internal/command"
	"github.com/dragoman-mesh/dragoman/pkg/exit"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/json"
	"github.com/dragoman-mesh/dragoman/pkg/proxy/jsonexporter"
)

// jsonExporterVersion is the one of json_exporter whose flags these are.
const jsonExporterVersion = "0.7.0"

// jsonFlags are json_exporter's own command line.
type jsonFlags struct {
	help, version, check, systemd bool

	config, path, webConfig, level, format string
	listen                                 []string

	set *pflag.FlagSet
}

func newJSONExporter() *cobra.Command {
	return &cobra.Command{
		Use:                "json-exporter [json_exporter's flags]",
		Short:              "Do what json_exporter does, from its own flags and file",
		Long:               "Do what Prometheus' json_exporter does, from its own flags and configuration file.\n\n" + newJSONFlags().set.FlagUsages(),
		DisableFlagParsing: true, // -h and --version mean what they mean there
		RunE: func(cmd *cobra.Command, args []string) error {
			f := newJSONFlags()
			if err := f.parse(args); err != nil {
				return exit.Usage(fmt.Errorf("%w; see %s --help", err, cmd.CommandPath()))
			}
			return f.run(cmd)
		},
	}
}

func newJSONFlags() *jsonFlags {
	f := &jsonFlags{set: pflag.NewFlagSet("json-exporter", pflag.ContinueOnError)}
	set := f.set
	set.SetOutput(io.Discard)
	set.SortFlags = false
	set.BoolVarP(&f.help, "help", "h", false, "show this")
	set.BoolVar(&f.version, "version", false, "show the version")
	set.StringVar(&f.config, "config.file", "config.yml", "configuration `file`")
	set.BoolVar(&f.check, "config.check", false, "check the configuration file and exit")
	set.StringVar(&f.path, "web.telemetry-path", "/metrics", "`path` of the exporter's own metrics")
	set.StringArrayVar(&f.listen, "web.listen-address", []string{":7979"}, "`address` on which HTTP is answered; may be repeated")
	set.StringVar(&f.webConfig, "web.config.file", "", "refused: TLS and authentication are not done here")
	set.BoolVar(&f.systemd, "web.systemd-socket", false, "refused: sockets of systemd are not taken here")
	set.StringVar(&f.level, "log.level", "info", "debug, info, warn or error")
	set.StringVar(&f.format, "log.format", "logfmt", "logfmt or json")
	for _, name := range []string{"config.check", "web.systemd-socket"} {
		set.BoolFunc("no-"+name, "", func(string) error { return set.Set(name, "false") })
		set.Lookup("no-" + name).Hidden = true
	}
	return f
}

func (f *jsonFlags) parse(args []string) error {
	if err := f.set.Parse(args); err != nil {
		return err
	}
	if rest := f.set.Args(); len(rest) > 0 {
		return fmt.Errorf("unexpected %q", rest[0])
	}
	switch {
	case f.webConfig != "":
		return errors.New("--web.config.file: TLS and authentication are not done here; put a proxy in front that does")
	case f.systemd:
		return errors.New("--web.systemd-socket: sockets of systemd are not taken here; use --web.listen-address")
	}
	return checkTelemetryPath(f.path, "/probe")
}

func (f *jsonFlags) run(cmd *cobra.Command) error {
	out := cmd.OutOrStdout()
	switch {
	case f.help:
		fmt.Fprint(out, "usage: json_exporter [<flags>]\n\n"+f.set.FlagUsages())
		return nil
	case f.version:
		fmt.Fprintf(out, "json_exporter, version %s, as dragoman proxy %s does it\n", jsonExporterVersion, command.Version())
		return nil
	}
	log, err := exporterLogger(cmd.ErrOrStderr(), f.level, f.format)
	if err != nil {
		return exit.Usage(err)
	}
	file, err := json.LoadExporterOnce(f.config)
	if err != nil {
		return exit.Usage(fmt.Errorf("loading the configuration file: %w", err))
	}
	for _, w := range file.Warnings {
		log.Warn("this part of the configuration has no effect", "file", f.config, "reason", w)
	}
	log.Info("Loaded config file", "file", f.config, "modules", file.Modules())
	if f.check {
		return nil
	}
	ctx, cancel := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	return serveJSON(ctx, jsonexporter.Options{Config: file, Listen: f.listen, Path: f.path, Log: log})
}

func serveJSON(ctx context.Context, o jsonexporter.Options) error {
	s, err := jsonexporter.Listen(ctx, o)
	if err != nil {
		return err
	}
	for _, a := range s.Addresses() {
		o.Log.Info("Listening on", "address", a.String())
	}
	return s.Run(ctx)
}
