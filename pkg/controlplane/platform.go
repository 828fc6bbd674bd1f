package controlplane

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"

	"github.com/dragoman-mesh/dragoman/pkg/controlplane/files"
	"github.com/dragoman-mesh/dragoman/pkg/controlplane/trust"
	"github.com/dragoman-mesh/dragoman/pkg/exit"
	"github.com/dragoman-mesh/dragoman/pkg/inventory"
	"github.com/dragoman-mesh/dragoman/pkg/kube"
	"github.com/dragoman-mesh/dragoman/pkg/kube/webhook"
	"github.com/dragoman-mesh/dragoman/pkg/proxy/watch"
)

// FromFiles is a platform of documents in files and folders; dir is where the
// authority is kept, nodes are handed to auth whenever they change. Documents
// that are wrong are an error now, and not only when the control plane runs.
func FromFiles(paths []string, nodesFile, dir string, auth *trust.Authenticator, log *slog.Logger) (*Platform, error) {
	if _, err := files.Load(paths, nodesFile); err != nil {
		return nil, exit.Usage(err)
	}
	source := files.New(files.Options{Paths: paths, NodesFile: nodesFile, OnNodes: auth.SetNodes, Log: log})
	return &Platform{
		Store: inventory.NewStore(), Source: source, Status: &statusLog{log: log}, Authority: trust.NewFolder(dir),
		Problems: func() []string {
			problems, _ := source.Problems()
			return problems
		},
		Reload: source.Reload,
	}, nil
}

// KubernetesOptions say which cluster, and who this replica is.
type KubernetesOptions struct {
	Kubeconfig, Context string // "": the cluster in which the process runs
	Replica             kube.Replica
	Injection           Injection
	Log                 *slog.Logger
}

// Injection says what pods get.
type Injection struct {
	Image string
	// Mode is native, classic, or auto: what the API server's version knows.
	Mode string
	// ControlPlane is the address that proxies call.
	ControlPlane string
	// User is the user that proxies run as; 0: whom the platform chooses.
	User int64
}

// ModeAuto leaves the mode of injection to the API server's version.
const ModeAuto = "auto"

// FromKubernetes is a platform of an API server's objects.
func FromKubernetes(o KubernetesOptions) (*Platform, error) {
	kube.LogTo(o.Log)
	config, err := kube.Config(o.Kubeconfig, o.Context)
	if err != nil {
		return nil, exit.Usage(err)
	}
	clients, err := kube.NewClients(config)
	if err != nil {
		return nil, exit.Usage(err)
	}
	source := kube.NewSource(clients, kube.SourceOptions{Logger: o.Log})
	sink := kube.NewStatus(clients, source, o.Replica, o.Log)
	authority := kube.NewCAStore(clients, source, o.Replica, o.Log)
	leader := kube.NewLeader(clients, o.Replica, kube.LeaderOptions{Logger: o.Log})
	store := inventory.NewStore()
	webhooks, err := o.webhooks(clients, store)
	if err != nil {
		return nil, err
	}
	return &Platform{
		Store: store, Source: source, Status: sink, Authority: authority, Webhooks: webhooks,
		Reviewer: kube.NewReviewer(clients, store),
		Problems: source.Problems,
		Tasks: []func(context.Context) error{
			sink.Run,
			func(ctx context.Context) error { return leader.Run(ctx, sink.Lead, authority.Lead) },
		},
	}, nil
}

// webhooks gives those of a cluster.
func (o *KubernetesOptions) webhooks(clients *kube.Clients, store *inventory.Store) (*webhook.Handler, error) {
	mode := webhook.Mode(o.Injection.Mode)
	switch o.Injection.Mode {
	case string(webhook.Native), string(webhook.Classic):
	case ModeAuto:
		native, err := kube.NativeSidecars(clients)
		if err != nil {
			return nil, exit.Temporary(err)
		}
		mode = webhook.Classic
		if native {
			mode = webhook.Native
		}
	default:
		return nil, exit.Usage(fmt.Errorf("--proxy-mode %q: want auto, native or classic", o.Injection.Mode))
	}
	injector := &webhook.Injector{
		Store: store, Closed: []string{o.Replica.Namespace, "kube-system", "kube-public", "kube-node-lease"},
		Defaults: webhook.Defaults{
			Image: o.Injection.Image, Mode: mode, ControlPlane: o.Injection.ControlPlane, User: o.Injection.User,
			CAConfigMap: kube.CAConfigMap, CAKey: kube.CAKey,
		},
	}
	return webhook.NewHandler(injector, &webhook.Validator{Store: store}, o.Log), nil
}

// WithNodes adds the proxies outside Kubernetes of a nodes file.
func (p *Platform) WithNodes(file string, auth *trust.Authenticator, log *slog.Logger) {
	nodes := files.New(files.Options{NodesFile: file, OnNodes: auth.SetNodes, Log: log})
	p.Source = &both{p.Source, nodes, make(chan struct{})}
	p.Reload = nodes.Reload
	others := p.Problems
	p.Problems = func() []string {
		problems, _ := nodes.Problems()
		return append(others(), problems...)
	}
}

// both is a source of two that fill different parts of an inventory.
type both struct {
	one, other Source
	synced     chan struct{}
}

// Synced implements Source.
func (b *both) Synced() <-chan struct{} { return b.synced }

// Run implements Source.
func (b *both) Run(ctx context.Context, into *inventory.Store) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var running sync.WaitGroup
	for _, s := range []Source{b.one, b.other} {
		running.Go(func() {
			if err := s.Run(ctx, into); err != nil {
				stop(err)
			}
		})
	}
	running.Go(func() {
		for _, s := range []Source{b.one, b.other} {
			select {
			case <-s.Synced():
			case <-ctx.Done():
				return
			}
		}
		close(b.synced)
	})
	running.Wait()
	if err := context.Cause(ctx); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// statusLog is where the status of objects goes that come from files.
type statusLog struct {
	log *slog.Logger

	// Engine's goroutine only.
	said map[inventory.Ref][]inventory.Condition
}

// SetStatus implements engine.StatusSink: what turns is logged, counts are not.
func (s *statusLog) SetStatus(ref inventory.Ref, status inventory.Status) {
	if s.said == nil {
		s.said = map[inventory.Ref][]inventory.Condition{}
	}
	for i, c := range status.Conditions {
		old := s.said[ref]
		if len(old) > i && old[i].Status == c.Status && old[i].Reason == c.Reason {
			continue
		}
		level := slog.LevelInfo
		if c.Status == inventory.StatusFalse {
			level = slog.LevelWarn
		}
		s.log.Log(context.Background(), level, "condition of an object", "kind", ref.Kind.String(), "object", ref.String(),
			"condition", c.Type, "status", string(c.Status), "reason", c.Reason, "message", c.Message)
	}
	s.said[ref] = status.Conditions
}

// ClientCAs follows a file with the authorities of client certificates and tells
// auth of them. The function it gives does so until its context is done.
func ClientCAs(file string, auth *trust.Authenticator, log *slog.Logger) (func(context.Context) error, error) {
	read := func() error {
		pool, err := readPool(file)
		if err == nil {
			auth.SetClients(pool)
		}
		return err
	}
	changes := watch.New([]string{file}, watch.Options{Log: log}, func() {
		if err := read(); err != nil {
			log.Error("authorities of client certificates refused, all stays as it was", "error", err)
		}
	})
	if err := read(); err != nil {
		return nil, exit.Usage(err)
	}
	return func(ctx context.Context) error {
		changes.Run(ctx)
		return nil
	}, nil
}

var errNoCertificate = errors.New("holds no certificate (PEM)")

func readPool(file string) (*x509.CertPool, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading the authorities of client certificates: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s: %w", file, errNoCertificate)
	}
	return pool, nil
}
