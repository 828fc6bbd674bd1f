package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dragoman-mesh/dragoman/cmd/internal/command"
	"github.com/dragoman-mesh/dragoman/pkg/exit"
	"github.com/dragoman-mesh/dragoman/pkg/proxy/nginxexporter"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// nginxVersion is the one of nginx-prometheus-exporter whose flags these are, with
// those of 0.x.
const nginxVersion = "1.5.3"

// nginxFlags are the exporter's own command line.
type nginxFlags struct {
	help, version, plus, verify, proxyProtocol, systemd, nginxOnly bool

	listen, uris                      []string
	path, caFile, certFile, keyFile   string
	webConfig, constLabels            string
	labels                            map[string]string
	timeout                           time.Duration
	level, format, retries, retryWait string

	set *pflag.FlagSet
}

func newNginxExporter() *cobra.Command {
	return &cobra.Command{
		Use:                "nginx-exporter [nginx-prometheus-exporter's flags]",
		Short:              "Do what nginx-prometheus-exporter does, from its own flags and variables",
		Long:               "Do what nginx-prometheus-exporter does, from its own flags and variables, those of\n0.x and of 1.x.\n\n" + newNginxFlags().set.FlagUsages(),
		DisableFlagParsing: true, // one dash is as good as two
		RunE: func(cmd *cobra.Command, args []string) error {
			f := newNginxFlags()
			if err := f.parse(args, os.LookupEnv); err != nil {
				return exit.Usage(fmt.Errorf("%w; see %s --help", err, cmd.CommandPath()))
			}
			return f.run(cmd)
		},
	}
}

func newNginxFlags() *nginxFlags {
	f := &nginxFlags{set: pflag.NewFlagSet("nginx-exporter", pflag.ContinueOnError)}
	set := f.set
	set.SetOutput(io.Discard)
	set.SortFlags = false
	set.BoolVarP(&f.help, "help", "h", false, "show this")
	set.BoolVar(&f.version, "version", false, "show the version")
	set.StringArrayVar(&f.listen, "web.listen-address", []string{":9113"}, "`address` on which metrics are shown, or unix: and a path; may be given several times (LISTEN_ADDRESS)")
	set.StringVar(&f.path, "web.telemetry-path", "/metrics", "`path` of the metrics (TELEMETRY_PATH)")
	set.BoolVar(&f.nginxOnly, "web.nginx-metrics-only", false, "show nothing about the exporter itself (NGINX_METRICS_ONLY)")
	set.StringArrayVar(&f.uris, "nginx.scrape-uri", []string{"http://127.0.0.1:8080/stub_status"},
		"`URI` of nginx' stub_status, or unix:SOCKET:PATH; may be given several times (SCRAPE_URI)")
	set.BoolVar(&f.verify, "nginx.ssl-verify", true, "check nginx' certificate, as 0.4.2 does by default (SSL_VERIFY)")
	set.StringVar(&f.caFile, "nginx.ssl-ca-cert", "", "`file` of the authorities that nginx' certificate is checked with (SSL_CA_CERT)")
	set.StringVar(&f.certFile, "nginx.ssl-client-cert", "", "`file` of the certificate that nginx is shown (SSL_CLIENT_CERT)")
	set.StringVar(&f.keyFile, "nginx.ssl-client-key", "", "`file` of its key (SSL_CLIENT_KEY)")
	set.DurationVar(&f.timeout, "nginx.timeout", 5*time.Second, "`time` that nginx has to answer (TIMEOUT)")
	set.StringToStringVar(&f.labels, "prometheus.const-label", nil, "`label=value` of all series; may be given several times (CONST_LABELS)")
	set.StringVar(&f.constLabels, "prometheus.const-labels", "", "the same, with commas between several")
	set.StringVar(&f.retries, "nginx.retries", "0", "taken, without a meaning here: nginx need not be there at the start")
	set.StringVar(&f.retryWait, "nginx.retry-interval", "5s", "the same")
	set.StringVar(&f.level, "log.level", "info", "debug, info, warn or error")
	set.StringVar(&f.format, "log.format", "logfmt", "logfmt or json")
	set.BoolVar(&f.plus, "nginx.plus", false, "refused: NGINX Plus' API is not read")
	set.BoolVar(&f.proxyProtocol, "nginx.proxy-protocol", false, "refused")
	set.BoolVar(&f.systemd, "web.systemd-socket", false, "refused")
	set.StringVar(&f.webConfig, "web.config.file", "", "refused: let a proxy speak TLS")
	return f
}

// nginxVariables are the flags' variables.
func nginxVariables() map[string]string {
	return map[string]string{
		"web.listen-address": "LISTEN_ADDRESS", "web.telemetry-path": "TELEMETRY_PATH", "web.nginx-metrics-only": "NGINX_METRICS_ONLY",
		"nginx.scrape-uri": "SCRAPE_URI", "nginx.ssl-verify": "SSL_VERIFY", "nginx.ssl-ca-cert": "SSL_CA_CERT",
		"nginx.ssl-client-cert": "SSL_CLIENT_CERT", "nginx.ssl-client-key": "SSL_CLIENT_KEY", "nginx.timeout": "TIMEOUT",
		"prometheus.const-labels": "CONST_LABELS", "nginx.plus": "NGINX_PLUS", "nginx.proxy-protocol": "PROXY_PROTOCOL",
		"nginx.retries": "NGINX_RETRIES", "nginx.retry-interval": "NGINX_RETRY_INTERVAL", "web.config.file": "CONFIG_FILE", "web.systemd-socket": "SYSTEMD_SOCKET",
	}
}

// parse reads flags, with one dash or two, and variables for those that are not
// given.
func (f *nginxFlags) parse(args []string, lookup func(string) (string, bool)) error {
	args = twoDashes(args)
	for i, a := range args {
		// --no-nginx.ssl-verify, as kingpin has it.
		if flag, ok := strings.CutPrefix(a, "--no-"); ok && f.set.Lookup(flag) != nil {
			args[i] = "--" + flag + "=false"
		}
	}
	if err := f.set.Parse(args); err != nil {
		return err
	}
	if f.help || f.version {
		return nil
	}
	// Go's own flags took "-nginx.ssl-verify true" for the flag, and the rest for
	// nothing.
	if rest := slices.DeleteFunc(f.set.Args(), func(s string) bool { return s == "true" }); len(rest) > 0 {
		return fmt.Errorf("unexpected %q", rest[0])
	}
	for _, name := range slices.Sorted(maps.Keys(nginxVariables())) {
		variable := nginxVariables()[name]
		value, ok := lookup(variable)
		if !ok || value == "" || f.set.Changed(name) {
			continue
		}
		for line := range strings.Lines(value) {
			if err := f.set.Set(name, strings.TrimSuffix(line, "\n")); err != nil {
				return fmt.Errorf("%s: %w", variable, err)
			}
		}
	}
	return f.check()
}

func (f *nginxFlags) check() error {
	switch {
	case f.plus:
		return errors.New("--nginx.plus: the API of NGINX Plus is not read here")
	case f.proxyProtocol:
		return errors.New("--nginx.proxy-protocol is not spoken here")
	case f.webConfig != "" || f.systemd:
		return errors.New("--web.config.file and --web.systemd-socket are not supported")
	case !strings.HasPrefix(f.path, "/"):
		return fmt.Errorf("--web.telemetry-path %q must begin with a slash", f.path)
	case f.timeout <= 0:
		return errors.New("--nginx.timeout must be longer than 0")
	case (f.certFile == "") != (f.keyFile == ""):
		return errors.New("--nginx.ssl-client-cert and --nginx.ssl-client-key need each other")
	}
	for _, uri := range f.uris {
		if !strings.HasPrefix(uri, "http://") && !strings.HasPrefix(uri, "https://") && !strings.HasPrefix(uri, "unix:") {
			return fmt.Errorf("--nginx.scrape-uri %q is not a URI of http, https or unix", uri)
		}
	}
	for _, address := range f.listen {
		if _, _, err := net.SplitHostPort(address); err != nil && !strings.HasPrefix(address, "unix:") {
			return fmt.Errorf("--web.listen-address: %w", err)
		}
	}
	for pair := range strings.SplitSeq(f.constLabels, ",") {
		if pair == "" {
			continue
		}
		name, value, ok := strings.Cut(pair, "=")
		if !ok {
			return fmt.Errorf("--prometheus.const-labels: %q is not label=value", pair)
		}
		if f.labels == nil {
			f.labels = map[string]string{}
		}
		f.labels[strings.TrimSpace(name)] = strings.TrimSpace(value)
	}
	return nil
}

func (f *nginxFlags) options() nginxexporter.Options {
	o := nginxexporter.Options{
		Listen: f.listen, Path: f.path, URIs: f.uris, Timeout: f.timeout, Labels: f.labels, NginxOnly: f.nginxOnly, Version: nginxVersion,
	}
	switch {
	case !f.verify:
		o.TLS = &resource.MetricsTLS{InsecureSkipVerify: true, CertFile: f.certFile, KeyFile: f.keyFile}
	case f.caFile != "" || f.certFile != "":
		o.TLS = &resource.MetricsTLS{CAFile: f.caFile, CertFile: f.certFile, KeyFile: f.keyFile}
	}
	return o
}

func (f *nginxFlags) run(cmd *cobra.Command) error {
	switch {
	case f.help:
		fmt.Fprint(cmd.OutOrStdout(), "usage: nginx-prometheus-exporter [<flags>]\n\n"+f.set.FlagUsages())
		return nil
	case f.version:
		fmt.Fprintf(cmd.OutOrStdout(), "nginx-prometheus-exporter, version %s, as dragoman proxy %s does it\n", nginxVersion, command.Version())
		return nil
	}
	log, err := exporterLogger(cmd.ErrOrStderr(), f.level, f.format)
	if err != nil {
		return exit.Usage(err)
	}
	o := f.options()
	o.Log = log
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(1) // a second thread for a page of this size only costs the time to wake it
	}
	ctx, cancel := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	return serveNginx(ctx, o)
}

func serveNginx(ctx context.Context, o nginxexporter.Options) error {
	s, err := nginxexporter.Listen(ctx, o)
	if err != nil {
		return err
	}
	for _, a := range s.Addresses() {
		o.Log.Info("Listening on", "address", a.String())
	}
	return s.Run(ctx)
}
