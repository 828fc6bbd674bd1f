package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dragoman-mesh/dragoman/cmd/internal/command"
	"github.com/dragoman-mesh/dragoman/pkg/exit"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/mappingfile"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/statsd"
	"github.com/dragoman-mesh/dragoman/pkg/proxy/statsdexporter"
	"github.com/dragoman-mesh/dragoman/pkg/statsdproto"
)

// statsdVersion is the one of statsd_exporter whose flags these are.
const statsdVersion = "0.31.0"

// statsdFlags are statsd_exporter's own command line, and how many series there
// may be.
type statsdFlags struct {
	help, version, checkConfig, lifecycle bool

	web, path, udp, tcp, unixgram, mode, mapping, relay, level, format string
	readBuffer, maxSeries, relayPacket                                 int

	tags map[statsdproto.Styles]*bool
	set  *pflag.FlagSet
}

// statsdStyles are the dialects by their flags.
func statsdStyles() map[string]statsdproto.Styles {
	return map[string]statsdproto.Styles{
		"dogstatsd": statsdproto.Datadog, "influxdb": statsdproto.Influx, "librato": statsdproto.Librato, "signalfx": statsdproto.SignalFX,
	}
}

func newStatsdExporter() *cobra.Command {
	return &cobra.Command{
		Use:                "statsd-exporter [statsd_exporter's flags]",
		Short:              "Do what statsd_exporter does, from its own flags and mapping file",
		Long:               "Do what Prometheus' statsd_exporter does, from its own flags and mapping file.\n\n" + newStatsdFlags().set.FlagUsages(),
		DisableFlagParsing: true, // -h and --version mean what they mean there
		RunE: func(cmd *cobra.Command, args []string) error {
			f := newStatsdFlags()
			if err := f.parse(args); err != nil {
				return exit.Usage(fmt.Errorf("%w; see %s --help", err, cmd.CommandPath()))
			}
			return f.run(cmd)
		},
	}
}

func newStatsdFlags() *statsdFlags {
	f := &statsdFlags{set: pflag.NewFlagSet("statsd-exporter", pflag.ContinueOnError), tags: map[statsdproto.Styles]*bool{}}
	set := f.set
	set.SetOutput(io.Discard)
	set.SortFlags = false
	set.BoolVarP(&f.help, "help", "h", false, "show this")
	set.BoolVar(&f.version, "version", false, "show the version")
	set.StringVar(&f.web, "web.listen-address", ":9102", "`address` on which metrics are shown")
	set.BoolVar(&f.lifecycle, "web.enable-lifecycle", false, "answer PUT and POST of /-/reload and /-/quit")
	set.StringVar(&f.path, "web.telemetry-path", "/metrics", "`path` of the metrics")
	set.StringVar(&f.udp, "statsd.listen-udp", ":9125", "UDP `address` for lines; \"\": none")
	set.StringVar(&f.tcp, "statsd.listen-tcp", ":9125", "TCP `address` for lines; \"\": none")
	set.StringVar(&f.unixgram, "statsd.listen-unixgram", "", "`path` of a unix datagram socket for lines; \"\": none")
	set.StringVar(&f.mode, "statsd.unixsocket-mode", "755", "permissions of that socket, `octal`")
	set.StringVar(&f.mapping, "statsd.mapping-config", "", "mapping `file`; it is read again on SIGHUP and when it changes, if it is no pipe")
	set.IntVar(&f.readBuffer, "statsd.read-buffer", 0, "`bytes` of the kernel's buffer of UDP and unix datagrams; 0: as the system has it")
	set.BoolVar(&f.checkConfig, "check-config", false, "check the configuration and exit")
	for _, name := range []string{"dogstatsd", "influxdb", "librato", "signalfx"} {
		f.tags[statsdStyles()[name]] = set.Bool("statsd.parse-"+name+"-tags", true, "tags of this dialect; --no-statsd.parse-"+name+"-tags: none")
	}
	set.StringVar(&f.relay, "statsd.relay.address", "", "UDP `address` to which lines are sent on")
	set.IntVar(&f.relayPacket, "statsd.relay.packet-length", 1400, "`bytes` of a datagram of the relay at most")
	set.IntVar(&f.maxSeries, "statsd.max-series", 1_000_000, "series at most; statsd_exporter has no such `limit`")
	set.StringVar(&f.level, "log.level", "info", "debug, info, warn or error")
	set.StringVar(&f.format, "log.format", "logfmt", "logfmt or json")
	for name, value := range statsdWithoutMeaning() {
		set.String(name, value, "taken, without a meaning here")
	}
	f.negations()
	return f
}

// statsdWithoutMeaning are flags about queues and caches that there are none of.
func statsdWithoutMeaning() map[string]string {
	return map[string]string{
		"statsd.cache-size": "1000", "statsd.cache-type": "lru", "statsd.event-queue-size": "10000", "statsd.event-flush-threshold": "1000",
		"statsd.event-flush-interval": "200ms", "statsd.udp-packet-queue-size": "10000", "debug.dump-fsm": "",
	}
}

// negations are the flags that take back a boolean one, as kingpin has them.
func (f *statsdFlags) negations() {
	f.set.VisitAll(func(flag *pflag.Flag) {
		if flag.Value.Type() != "bool" || flag.Name == "help" || flag.Name == "version" {
			return
		}
		name := "no-" + flag.Name
		f.set.BoolFunc(name, "", func(string) error { return flag.Value.Set("false") })
		f.set.Lookup(name).Hidden = true
	})
}

func (f *statsdFlags) parse(args []string) error {
	if err := f.set.Parse(args); err != nil {
		return err
	}
	if rest := f.set.Args(); len(rest) > 0 {
		return fmt.Errorf("unexpected %q", rest[0])
	}
	switch {
	case f.help, f.version:
		return nil
	case f.udp == "" && f.tcp == "" && f.unixgram == "":
		return errors.New("at least one of --statsd.listen-udp, --statsd.listen-tcp and --statsd.listen-unixgram is needed")
	case f.readBuffer < 0 || f.maxSeries < 1:
		return errors.New("--statsd.read-buffer must not be negative, --statsd.max-series must be 1 or more")
	case f.relayPacket < 2 || f.relayPacket > 65507:
		return fmt.Errorf("--statsd.relay.packet-length %d must be between 2 and 65507", f.relayPacket)
	}
	if err := checkTelemetryPath(f.path, "/-/healthy", "/-/ready", "/-/reload", "/-/quit"); err != nil {
		return err
	}
	return f.checkWithoutMeaning()
}

// checkTelemetryPath wants a path that means itself as a pattern of [http.ServeMux], and
// is none of the exporter's other ones.
func checkTelemetryPath(name string, others ...string) error {
	switch {
	case name == "" || name[0] != '/':
		return fmt.Errorf("--web.telemetry-path %q must begin with a slash", name)
	case strings.ContainsAny(name, "{} \t"), strings.Contains(name, "//"), name != "/" && path.Clean(name) != strings.TrimSuffix(name, "/"):
		return fmt.Errorf("--web.telemetry-path %q must be a plain path, as /metrics", name)
	case slices.Contains(others, name):
		return fmt.Errorf("--web.telemetry-path %q: %s is another page of the exporter", name, name)
	}
	return nil
}

// checkWithoutMeaning holds the values of flags that mean nothing here to what
// they must be there.
func (f *statsdFlags) checkWithoutMeaning() error {
	for name := range statsdWithoutMeaning() {
		value := f.set.Lookup(name).Value.String()
		var err error
		switch name {
		case "debug.dump-fsm":
		case "statsd.cache-type":
			if value != "lru" && value != "random" {
				err = errors.New(`want "lru" or "random"`)
			}
		case "statsd.event-flush-interval":
			_, err = time.ParseDuration(value)
		default:
			_, err = strconv.ParseUint(value, 10, 64)
		}
		if err != nil {
			return fmt.Errorf("--%s %q: %w", name, value, err)
		}
	}
	return nil
}

func (f *statsdFlags) run(cmd *cobra.Command) error {
	out := cmd.OutOrStdout()
	switch {
	case f.help:
		fmt.Fprint(out, "usage: statsd_exporter [<flags>]\n\n"+f.set.FlagUsages())
		return nil
	case f.version:
		fmt.Fprintf(out, "statsd_exporter, version %s, as dragoman proxy %s does it\n", statsdVersion, command.Version())
		return nil
	}
	log, err := exporterLogger(cmd.ErrOrStderr(), f.level, f.format)
	if err != nil {
		return exit.Usage(err)
	}
	o, err := f.options()
	if err != nil {
		return exit.Usage(err)
	}
	o.Log = log
	if f.checkConfig {
		log.Info("Configuration check successful, exiting")
		return nil
	}
	for name := range statsdWithoutMeaning() {
		if f.set.Changed(name) {
			log.Info("this flag has no meaning here", "flag", "--"+name)
		}
	}
	return serveStatsd(cmd.Context(), o)
}

// options checks what the flags name.
func (f *statsdFlags) options() (statsdexporter.Options, error) {
	o := statsdexporter.Options{
		Listen: f.web, Path: f.path, Lifecycle: f.lifecycle, Version: statsdVersion,
		Source: statsd.Config{
			UDP: f.udp, TCP: f.tcp, Unixgram: f.unixgram, ReadBuffer: f.readBuffer, MappingFile: f.mapping,
			Relay:   statsd.Relay{Target: f.relay, Packet: f.relayPacket},
			Options: statsd.Options{MaxSeries: f.maxSeries, Styles: statsd.NoStyles},
		},
	}
	for style, on := range f.tags {
		if *on {
			o.Source.Options.Styles |= style
		}
	}
	for flag, address := range map[string]string{"web.listen-address": f.web, "statsd.listen-udp": f.udp, "statsd.listen-tcp": f.tcp, "statsd.relay.address": f.relay} {
		if address == "" {
			continue
		}
		if _, _, err := net.SplitHostPort(address); err != nil {
			return o, fmt.Errorf("--%s: %w", flag, err)
		}
	}
	mode, err := strconv.ParseUint(f.mode, 8, 12)
	if err != nil {
		return o, fmt.Errorf("--statsd.unixsocket-mode %q: want an octal number such as 755", f.mode)
	}
	o.Source.UnixgramMode = fs.FileMode(mode)
	if f.mapping == "" {
		return o, nil
	}
	o.Source.Mapping, o.Source.Options.Mapping, err = mappingfile.OpenOnce(f.mapping)
	return o, err
}

// exporterLogger writes as the flags --log.level and --log.format of Prometheus'
// exporters say.
func exporterLogger(w io.Writer, name, format string) (*slog.Logger, error) {
	level := &slog.LevelVar{}
	if err := level.UnmarshalText([]byte(name)); err != nil {
		return nil, fmt.Errorf("--log.level %q: want debug, info, warn or error", name)
	}
	o := &slog.HandlerOptions{Level: level}
	switch format {
	case "logfmt":
		return slog.New(slog.NewTextHandler(w, o)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, o)), nil
	default:
		return nil, fmt.Errorf("--log.format %q: want logfmt or json", format)
	}
}

// serveStatsd runs until SIGINT or SIGTERM; SIGHUP reads the mapping again.
func serveStatsd(ctx context.Context, o statsdexporter.Options) error {
	ctx, cancel := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	s, err := statsdexporter.Listen(ctx, o)
	if err != nil {
		return err
	}
	o.Log.Info("Accepting StatsD Traffic", "udp", o.Source.UDP, "tcp", o.Source.TCP, "unixgram", o.Source.Unixgram)
	o.Log.Info("Accepting Prometheus Requests", "addr", s.Address().String())
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range hangups {
			s.Reload()
		}
	}()
	defer func() {
		signal.Stop(hangups)
		close(hangups)
		<-done
	}()
	return s.Run(ctx)
}
