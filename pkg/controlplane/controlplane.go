package controlplane

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/dragoman-mesh/dragoman/pkg/controlplane/engine"
	"github.com/dragoman-mesh/dragoman/pkg/controlplane/trust"
	"github.com/dragoman-mesh/dragoman/pkg/exit"
	"github.com/dragoman-mesh/dragoman/pkg/inventory"
	"github.com/dragoman-mesh/dragoman/pkg/xds/server"
)

// NoAdmin as the address means that there is no admin server.
const NoAdmin = "off"

// Options of a ControlPlane.
type Options struct {
	Platform *Platform
	Auth     *trust.Authenticator
	TLS      *tls.Config // of the xDS port
	// XDSAddress and AdminAddress are bound by New, such as ":15010".
	XDSAddress   string
	AdminAddress string
	// WebhookAddress is where the API server asks; "" or NoAdmin: nowhere.
	WebhookAddress string
	WebhookTLS     *tls.Config
	// DrainTimeout is how long streams may take to go elsewhere at the end.
	DrainTimeout time.Duration
	Limits       server.Limits
	Traces       trace.TracerProvider // nil: none
	// Background runs beside everything, until the very end.
	Background []func(ctx context.Context) error
	Log        *slog.Logger
	Level      *slog.LevelVar
	// Engine are for tests; of the zero value all else is filled in.
	Engine engine.Options
}

// ControlPlane is one replica.
type ControlPlane struct {
	opts     Options
	store    *inventory.Store
	engine   *engine.Engine
	xds      *server.Server
	grpc     *grpc.Server
	registry *prometheus.Registry

	xdsListener     net.Listener
	adminListener   net.Listener // nil: off
	webhookListener net.Listener // nil: off

	serving atomic.Bool
	ending  atomic.Bool
}

// New puts a control plane together and binds its ports. Nothing is served yet.
func New(ctx context.Context, o Options) (*ControlPlane, error) {
	c := &ControlPlane{opts: o, store: o.Platform.Store, registry: prometheus.NewRegistry()}
	traces := o.Traces
	if traces == nil {
		traces = noop.NewTracerProvider()
	}
	eo := o.Engine
	eo.Store, eo.Status, eo.Log = c.store, o.Platform.Status, o.Log
	eo.Tracer = traces.Tracer("github.com/dragoman-mesh/dragoman/pkg/controlplane")
	c.engine = engine.New(eo)
	if err := c.bind(ctx); err != nil {
		return nil, err
	}
	g := newGate(o.Auth, c.engine)
	limits := o.Limits
	limits.Drain = cmp.Or(limits.Drain, o.DrainTimeout)
	c.xds = server.New(server.Options{Nodes: g, Observer: c.engine, Finder: c.engine, Logger: o.Log, Limits: limits})
	options := append(c.xds.GRPCOptions(), grpc.Creds(credentials.NewTLS(o.TLS)))
	c.grpc = grpc.NewServer(options...)
	c.xds.Register(c.grpc)
	c.registry.MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		c.engine, c.xds, g,
	)
	if c.webhookListener != nil {
		c.registry.MustRegister(o.Platform.Webhooks)
	}
	return c, nil
}

// bind takes the ports, all or none.
func (c *ControlPlane) bind(ctx context.Context) error {
	webhooks := c.opts.WebhookAddress
	if c.opts.Platform.Webhooks == nil {
		webhooks = NoAdmin
	}
	var lc net.ListenConfig
	var taken []net.Listener
	for _, port := range []struct {
		name, address string
		listener      *net.Listener
	}{{"xds", c.opts.XDSAddress, &c.xdsListener}, {"admin", c.opts.AdminAddress, &c.adminListener}, {"webhook", webhooks, &c.webhookListener}} {
		if port.address == NoAdmin || port.address == "" && port.name == "webhook" {
			continue
		}
		l, err := lc.Listen(ctx, "tcp", port.address)
		if err != nil {
			for _, l := range taken {
				_ = l.Close() // the first error counts
			}
			return bindError(port.name, port.address, err)
		}
		*port.listener, taken = l, append(taken, l)
	}
	return nil
}

func bindError(what, address string, err error) error {
	err = fmt.Errorf("binding the %s address %q: %w", what, address, err)
	if errors.Is(err, syscall.EADDRINUSE) {
		return exit.Temporary(err)
	}
	return exit.Usage(err)
}

// XDSAddr is the address bound, with the port that the system chose.
func (c *ControlPlane) XDSAddr() string { return c.xdsListener.Addr().String() }

// AdminAddr is the address bound; "": there is none.
func (c *ControlPlane) AdminAddr() string {
	if c.adminListener == nil {
		return ""
	}
	return c.adminListener.Addr().String()
}

// WebhookAddr is the address bound; "": there is none.
func (c *ControlPlane) WebhookAddr() string {
	if c.webhookListener == nil {
		return ""
	}
	return c.webhookListener.Addr().String()
}

// Ready reports whether nodes are served, and why not.
func (c *ControlPlane) Ready() (ok bool, reason string) {
	switch {
	case c.ending.Load():
		return false, "ending"
	case !c.serving.Load():
		return false, "what there is is being read"
	}
	return true, ""
}

// Run serves until ctx is done, and then hands the nodes over.
func (c *ControlPlane) Run(ctx context.Context) error {
	// What runs beside outlives ctx, and ends in the order of stop.
	alive, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stop(nil)
	var running sync.WaitGroup
	defer running.Wait()
	defer stop(nil)
	admin := c.serveAdmin(&running)
	defer admin()
	start := func(ctx context.Context, tasks []func(context.Context) error) {
		for _, task := range tasks {
			running.Go(func() {
				if err := task(ctx); err != nil && ctx.Err() == nil {
					stop(err)
				}
			})
		}
	}
	start(alive, c.opts.Background)
	running.Go(func() {
		if err := c.opts.Platform.Source.Run(alive, c.store); err != nil && alive.Err() == nil {
			stop(err)
		}
	})
	select {
	case <-ctx.Done():
		_ = c.xdsListener.Close() // nothing is served yet
		c.handOver()
		return nil
	case <-alive.Done():
		_ = c.xdsListener.Close() // the cause counts
		c.handOver()
		return context.Cause(alive)
	case <-c.opts.Platform.Source.Synced():
	}
	tasks, endTasks := context.WithCancel(alive)
	defer endTasks()
	start(tasks, c.opts.Platform.Tasks)
	running.Go(func() { c.engine.Run(alive, c.xds) })
	running.Go(func() {
		if err := c.grpc.Serve(c.xds.Limit(c.xdsListener)); err != nil {
			stop(fmt.Errorf("serving xDS: %w", err))
		}
	})
	defer c.serveWebhooks(&running)()
	c.serving.Store(true)
	c.opts.Log.Info("serving", "xds", c.XDSAddr(), "admin", c.AdminAddr(), "webhooks", c.WebhookAddr())
	select {
	case <-ctx.Done():
	case <-alive.Done():
	}
	c.ending.Store(true)
	endTasks()
	forgotten := time.After(min(forgetTime, c.opts.DrainTimeout))
	c.handOver()
	if c.webhookListener != nil {
		select {
		case <-forgotten:
		case <-alive.Done():
		}
	}
	return context.Cause(alive)
}

// forgetTime is for how long a replica that ends may still be asked by the API
// server: nodes hear of the end of a Service's endpoint one after the other.
const forgetTime = 5 * time.Second

// handOver sends the nodes elsewhere, not all at once.
func (c *ControlPlane) handOver() {
	began := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), c.opts.DrainTimeout)
	defer cancel()
	var stopping sync.WaitGroup
	stopping.Go(c.grpc.GracefulStop)
	if err := c.xds.Shutdown(ctx); err != nil {
		c.opts.Log.Warn("some streams had to be cut", "error", err)
	}
	c.grpc.Stop()
	stopping.Wait()
	c.opts.Log.Info("streams handed over", "took", time.Since(began).Round(time.Millisecond).String())
}

// serveAdmin serves the admin port until the function it gives is called.
func (c *ControlPlane) serveAdmin(running *sync.WaitGroup) (end func()) {
	return c.serveHTTP(running, "admin", c.adminListener, c.adminHandler())
}

// serveWebhooks serves the API server until the function it gives is called. That
// is after the proxies have gone elsewhere, and forgetTime at least.
func (c *ControlPlane) serveWebhooks(running *sync.WaitGroup) (end func()) {
	if c.webhookListener == nil {
		return func() {}
	}
	return c.serveHTTP(running, "webhook", tls.NewListener(c.webhookListener, c.opts.WebhookTLS), c.opts.Platform.Webhooks)
}

func (c *ControlPlane) serveHTTP(running *sync.WaitGroup, name string, l net.Listener, h http.Handler) (end func()) {
	if l == nil {
		return func() {}
	}
	s := &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, IdleTimeout: time.Minute,
		ErrorLog: slog.NewLogLogger(c.opts.Log.Handler(), slog.LevelDebug),
	}
	running.Go(func() {
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			c.opts.Log.Error("a server ended", "server", name, "error", err)
		}
	})
	return func() {
		const patience = 3 * time.Second
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			_ = s.Close() // the deadline is over, nothing is left to wait for
		}
	}
}
