package kube

import (
	"fmt"
	"log/slog"

	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
)

// Clients speak to one API server.
type Clients struct {
	Typed    kubernetes.Interface
	Metadata metadata.Interface // only the metadata of objects
	Dynamic  dynamic.Interface  // the kinds of this project
}

// Config finds the API server: that of a kubeconfig file and one of its contexts
// ("": the current one), or, without a file, that of the cluster in which the
// program runs.
func Config(kubeconfig, context string) (*rest.Config, error) {
	if kubeconfig == "" {
		cfg, err := rest.InClusterConfig()
		if err != nil {
			return nil, fmt.Errorf("finding the API server (outside a cluster name a kubeconfig file with --kubeconfig, or documents with -f): %w", err)
		}
		return cfg, nil
	}
	cfg, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(
		&clientcmd.ClientConfigLoadingRules{ExplicitPath: kubeconfig},
		&clientcmd.ConfigOverrides{CurrentContext: context},
	).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("reading kubeconfig %q: %w", kubeconfig, err)
	}
	return cfg, nil
}

// NewClients makes clients of a configuration, which stays as it is.
func NewClients(cfg *rest.Config) (*Clients, error) {
	cfg = rest.CopyConfig(cfg)
	if cfg.QPS == 0 {
		// Reviews and writes have bounds of their own, and a thousand watches that
		// start together should; the API server is fair among its clients.
		cfg.QPS = -1
	}
	cfg.UserAgent = "dragoman-controlplane"
	// The API server warns at every look at the deprecated kind Endpoints.
	cfg.WarningHandlerWithContext = rest.NoWarnings{}

	typed := rest.CopyConfig(cfg)
	typed.ContentType = "application/vnd.kubernetes.protobuf"
	typed.AcceptContentTypes = typed.ContentType + ",application/json"
	t, err := kubernetes.NewForConfig(typed)
	if err != nil {
		return nil, fmt.Errorf("making a client for %s: %w", cfg.Host, err)
	}
	m, err := metadata.NewForConfig(metadata.ConfigFor(cfg))
	if err != nil {
		return nil, fmt.Errorf("making a client for %s: %w", cfg.Host, err)
	}
	d, err := dynamic.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("making a client for %s: %w", cfg.Host, err)
	}
	return &Clients{Typed: t, Metadata: m, Dynamic: d}, nil
}

// LogTo sends what client-go logs, which it does through a global of the
// process, to a logger. To be called once, where the program is put together.
func LogTo(logger *slog.Logger) { klog.SetSlogLogger(logger.With("component", "client-go")) }

// NativeSidecars reports whether the API server's version has init containers
// that stay: 1.29 and later.
func NativeSidecars(c *Clients) (bool, error) {
	v, err := c.Typed.Discovery().ServerVersion()
	if err != nil {
		return false, fmt.Errorf("asking the API server for its version: %w", err)
	}
	number, err := version.ParseGeneric(v.GitVersion)
	if err != nil {
		return false, fmt.Errorf("the API server's version %q: %w", v.GitVersion, err)
	}
	return number.AtLeast(version.MajorMinor(1, 29)), nil
}
