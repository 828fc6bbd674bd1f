package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dragoman-mesh/dragoman/cmd/internal/command"
	flags "github.com/dragoman-mesh/dragoman/cmd/internal/settings"
	"github.com/dragoman-mesh/dragoman/pkg/controlplane"
	"github.com/dragoman-mesh/dragoman/pkg/controlplane/engine"
	"github.com/dragoman-mesh/dragoman/pkg/controlplane/trust"
	"github.com/dragoman-mesh/dragoman/pkg/exit"
	"github.com/dragoman-mesh/dragoman/pkg/kube"
	"github.com/dragoman-mesh/dragoman/pkg/proxy/environment"
	"github.com/dragoman-mesh/dragoman/pkg/traces"
	"github.com/dragoman-mesh/dragoman/pkg/translate"
	"github.com/dragoman-mesh/dragoman/pkg/xds/server"
)

func newRun() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "run [-f FILE...]",
		Short: "Serve proxies",
		Long: "Serve proxies what Kubernetes has, or with -f what documents in files and\n" +
			"folders say, and follow the changes. Files hold mesh objects, and Services,\n" +
			"EndpointSlices, Secrets, ConfigMaps, Pods and Namespaces as plain Kubernetes\n" +
			"YAML. A change of files that is refused leaves all as it was; the log and\n" +
			"/config_dump say why.",
		Args: command.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := newSettings(cmd)
			if err != nil {
				return err
			}
			return serve(cmd.Context(), s, cmd)
		},
	}
	runFlags(cmd.Flags())
	return cmd
}

func runFlags(f *pflag.FlagSet) {
	f.String("config", "", "bootstrap `file` with the values of flags (YAML, TOML or JSON)")
	f.StringArrayP("file", "f", nil, "`file` or folder with documents instead of Kubernetes; may be given several times")
	f.String("kubeconfig", "", "`file` that says where the API server is; default: the cluster in which this runs")
	f.String("kubeconfig-context", "", "`name` of a context in it; default: the current one")
	f.String("namespace", "", "`name` of the own namespace; default: that of the service account")
	f.String("replica", "", "`name` that no other replica has; default: the host's")
	f.String("xds-address", ":15010", "`address` of the xDS server (TLS)")
	f.String("admin-address", "127.0.0.1:15014", "`address` of the admin server; off: none")
	f.String("webhook-address", controlplane.NoAdmin, "`address` at which the API server asks about pods and mesh objects (TLS); off: it does not")
	f.String("proxy-image", "dragoman-proxy:dev", "`image` of the proxies that pods get")
	f.String("proxy-mode", controlplane.ModeAuto, "how they stand in the pod: native (an init container that stays), classic (a container), or auto: native where the cluster knows it")
	f.Int("proxy-user", 65532, "user and group that they run as; 0: whom the platform chooses, as OpenShift does")
	f.String("proxy-control-plane", "", "`address` of the control plane that they call; default: port 15010 of its Service")
	f.StringSlice("names", nil, "DNS `names` and addresses of the certificate; default: dragoman-controlplane in the own namespace, localhost, 127.0.0.1, ::1")
	f.String("trust-dir", "", "`folder` for the authority, without Kubernetes; proxies need its "+trust.BundleFile)
	f.String("cluster-domain", translate.ClusterDomain, "DNS `suffix` of the cluster, for Services that gRPC clients name")
	f.String("nodes-file", "", "`file` with the proxies outside Kubernetes: their tokens, names and labels")
	f.String("client-ca-file", "", "`file` with the authorities of client certificates (PEM); default: there are none")
	f.String("drain-timeout", "10s", "time for proxies to go elsewhere at the end")
	f.Int("max-streams", 0, "streams, and connections, at a time; 0: 20000")
	f.String("max-connection-age", "30m", "age at which a proxy is told to connect again, 10% more or less")
	f.String("otlp-endpoint", "", "`URL` of a collector of spans, as http://host:4317; default: as OTEL_EXPORTER_OTLP_ENDPOINT says")
	flags.LogFlags(f)
}

// gcPercent is what GOGC is by default: a third less memory than with Go's own
// 100, for a tenth more CPU.
const gcPercent = 50

// serve runs a control plane until it is told to end. The first SIGINT or
// SIGTERM hands the proxies over, the second ends the process at once; SIGHUP has
// it look at its files again.
func serve(ctx context.Context, s *settings, cmd *cobra.Command) error {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	o, err := s.options(cmd)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	provider, err := traces.Open(ctx, traces.Options{Service: "dragoman-controlplane", Endpoint: s.Text("otlp-endpoint"), Log: o.Log})
	if err != nil {
		return exit.Usage(err)
	}
	defer func() {
		if err := provider.Close(); err != nil {
			o.Log.Warn("spans are lost", "error", err)
		}
	}()
	o.Traces = provider
	issuer, err := trust.Open(ctx, trust.Options{Store: o.Platform.Authority, Names: s.names(), Log: o.Log})
	switch {
	case errors.Is(err, trust.ErrKept), errors.Is(err, fs.ErrPermission):
		return exit.Usage(err)
	case err != nil:
		return exit.Temporary(err)
	}
	o.TLS, o.WebhookTLS = issuer.ServerConfig(o.Auth.Clients), issuer.WebhookConfig()
	o.Background = append(o.Background, func(ctx context.Context) error {
		issuer.Run(ctx)
		return nil
	})
	c, err := controlplane.New(ctx, *o)
	if err != nil {
		return err
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	go obey(signals, o.Log, o.Platform.Reload, cancel)
	return c.Run(ctx)
}

func obey(signals <-chan os.Signal, log *slog.Logger, reload, end func()) {
	ending := false
	for s := range signals {
		switch {
		case s == syscall.SIGHUP:
			if reload != nil {
				reload()
			}
		case ending:
			log.Warn("ending at once", "signal", s.String())
			os.Exit(exit.CodeInternal) // asked for: nothing is waited for
		default:
			log.Info("ending", "signal", s.String())
			ending = true
			end()
		}
	}
}

// options makes the options that settings say.
func (s *settings) options(cmd *cobra.Command) (*controlplane.Options, error) {
	drain, err := s.Duration("drain-timeout")
	if err != nil {
		return nil, exit.Usage(err)
	}
	age, err := s.Duration("max-connection-age")
	if err != nil {
		return nil, exit.Usage(err)
	}
	if n := s.Number("max-streams"); n < 0 {
		return nil, exit.Usage(fmt.Errorf("--max-streams %d: want 0 or more", n))
	}
	if n := s.Number("proxy-user"); n < 0 || n > math.MaxInt32 { // Kubernetes takes no higher one
		return nil, exit.Usage(fmt.Errorf("--proxy-user %d: want the number of a user that is not root, up to %d, or 0", n, math.MaxInt32))
	}
	o := &controlplane.Options{
		XDSAddress: s.Text("xds-address"), AdminAddress: s.Text("admin-address"),
		WebhookAddress: s.Text("webhook-address"), DrainTimeout: drain,
		Engine: engine.Options{Domain: s.Text("cluster-domain")},
		Limits: server.Limits{
			Streams: s.Number("max-streams"), Connections: s.Number("max-streams"), ConnectionAge: age,
		},
	}
	o.Log, o.Level, err = s.Logger(cmd.ErrOrStderr())
	if err != nil {
		return nil, err
	}
	if err := s.platform(o); err != nil {
		return nil, err
	}
	if file := s.Text("client-ca-file"); file != "" {
		follow, err := controlplane.ClientCAs(file, o.Auth, o.Log)
		if err != nil {
			return nil, err
		}
		o.Background = append(o.Background, follow)
	}
	return o, nil
}

var errTrustDir = errors.New("--trust-dir is missing: a folder that keeps the authority over restarts")

// platform chooses between files and Kubernetes.
func (s *settings) platform(o *controlplane.Options) error {
	nodes := s.Text("nodes-file")
	if paths := s.List("file"); len(paths) > 0 {
		if s.Text("trust-dir") == "" {
			return exit.Usage(errTrustDir)
		}
		o.Auth = trust.NewAuthenticator(nil, nil)
		var err error
		o.Platform, err = controlplane.FromFiles(paths, nodes, s.Text("trust-dir"), o.Auth, o.Log)
		return err
	}
	platform, err := controlplane.FromKubernetes(controlplane.KubernetesOptions{
		Kubeconfig: s.Text("kubeconfig"), Context: s.Text("kubeconfig-context"),
		Replica: kube.Replica{Name: s.replica(), Namespace: s.namespace()}, Log: o.Log,
		Injection: controlplane.Injection{
			Image: s.Text("proxy-image"), Mode: s.Text("proxy-mode"), User: int64(s.Number("proxy-user")),
			ControlPlane: cmp.Or(s.Text("proxy-control-plane"), service+"."+s.namespace()+".svc:15010"),
		},
	})
	if err != nil {
		return err
	}
	o.Platform = platform
	o.Auth = trust.NewAuthenticator(platform.Reviewer, nil)
	if nodes != "" {
		platform.WithNodes(nodes, o.Auth, o.Log)
	}
	return nil
}

func (s *settings) replica() string {
	if name := s.Text("replica"); name != "" {
		return name
	}
	host, err := os.Hostname()
	if err != nil {
		return fmt.Sprintf("controlplane-%d", os.Getpid())
	}
	return host
}

// service is the control plane's.
const service = "dragoman-controlplane"

// defaultNamespace is where the manifests put a control plane.
const defaultNamespace = "dragoman-system"

func (s *settings) namespace() string {
	if name := s.Text("namespace"); name != "" {
		return name
	}
	if b, err := os.ReadFile(environment.ServiceAccountNamespace); err == nil {
		if name := strings.TrimSpace(string(b)); name != "" {
			return name
		}
	}
	return defaultNamespace
}

// names are those of the certificate.
func (s *settings) names() []string {
	if names := s.List("names"); len(names) > 0 {
		return names
	}
	full := service + "." + s.namespace() + ".svc"
	return []string{full, full + ".cluster.local", service + "." + s.namespace(), service, "localhost", "127.0.0.1", "::1"}
}
