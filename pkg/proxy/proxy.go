// Package proxy is the composition root of the proxy: it takes documents, or what
// a control plane sends, through the pipeline to running listeners, keeps doing
// so while they change, and ends without losing a request.
package proxy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.opentelemetry.io/otel/trace"

	"github.com/dragoman-mesh/dragoman/pkg/exit"
	"github.com/dragoman-mesh/dragoman/pkg/filters/standard"
	"github.com/dragoman-mesh/dragoman/pkg/listener"
	"github.com/dragoman-mesh/dragoman/pkg/netloop"
	"github.com/dragoman-mesh/dragoman/pkg/proxy/admin"
	"github.com/dragoman-mesh/dragoman/pkg/proxy/environment"
	"github.com/dragoman-mesh/dragoman/pkg/upstream"
	"github.com/dragoman-mesh/dragoman/pkg/upstream/secrets"
	"github.com/dragoman-mesh/dragoman/pkg/xds/client"
)

// Options of a Proxy.
type Options struct {
	// Source gives the documents to run, read for the environment that Detector
	// finds.
	Source   Source
	Detector environment.Detector
	// ControlPlane is where the configuration comes from instead; its Consumer
	// and Log are the proxy's own.
	ControlPlane *client.Options

	Zone string // where the process runs, for zone affinity

	AdminAddress  string        // "" or "off": no admin server
	AdminOptional bool          // a taken admin port is no reason not to run
	DrainTimeout  time.Duration // for connections at the end
	WarmTimeout   time.Duration // for clusters' first look at their endpoints; 5 s
	Poll          time.Duration // between looks at the files without a notification; 10 s
	Loops         int           // 0: as many as it takes

	// Tracer makes the spans that documents ask for; nil: nobody collects them.
	Tracer trace.Tracer

	Log   *slog.Logger
	Level *slog.LevelVar
}

// Proxy is one process' worth of listeners and clusters.
type Proxy struct {
	// read-only after construction
	opts      Options
	feed      feed
	log       *slog.Logger
	group     *netloop.Group
	filters   *standard.Registry
	listeners *listener.Set
	clusters  *upstream.Set
	registry  *prometheus.Registry
	quit      chan struct{} // has room for one
	leave     chan struct{} // has room for one

	state    state
	retiring atomic.Int32 // changes whose old filters still have connections

	pages releaser

	taking  sync.Mutex // held by take
	secrets *secrets.Live
	awaited atomic.Pointer[secrets.Store] // begun with, though not all that it names was there; nil: none
}

const defaultWarmTimeout = 5 * time.Second

// New builds a proxy. It binds nothing and reads no document yet.
func New(o Options) (*Proxy, error) {
	if o.WarmTimeout <= 0 {
		o.WarmTimeout = defaultWarmTimeout
	}
	if o.Level == nil {
		o.Level = &slog.LevelVar{}
	}
	group, err := netloop.NewGroup(netloop.GroupOptions{Loops: o.Loops})
	if err != nil {
		return nil, err
	}
	p := &Proxy{
		opts: o, log: o.Log, group: group,
		filters:  standard.Filters(o.Log),
		clusters: upstream.NewSet(upstream.Options{Log: o.Log}),
		registry: prometheus.NewRegistry(),
		quit:     make(chan struct{}, 1),
		pages:    releaser{log: o.Log},
		leave:    make(chan struct{}, 1),
		secrets:  &secrets.Live{},
	}
	if p.feed, err = newFeed(p, &o); err != nil {
		return nil, err
	}
	p.listeners = listener.NewSet(group, p.filters, o.Log)
	p.registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		newConfigMetrics(&p.state), newLoopMetrics(group), newListenerMetrics(p.listeners), p.clusters,
	)
	for _, b := range p.filters.Builders() {
		p.registry.MustRegister(b)
	}
	p.registry.MustRegister(p.feed.collectors()...)
	return p, nil
}

func newFeed(p *Proxy, o *Options) (feed, error) {
	if o.ControlPlane != nil {
		return newPlane(p, *o.ControlPlane)
	}
	return newDocuments(p, o), nil
}

// Gatherer gives all metrics of the process.
func (p *Proxy) Gatherer() prometheus.Gatherer { return p.registry }

// Reload looks at the documents and the environment again, soon.
func (p *Proxy) Reload() { p.feed.reload() }

// Quit makes Run drain and return.
func (p *Proxy) Quit() { poke(p.quit) }

// Leave is Quit for a proxy whose app may still need it: everybody is served
// until no client is left, or until the drain deadline.
func (p *Proxy) Leave() { poke(p.leave) }

// Ready says whether the process serves. The text is the reason why not, or
// what should be known although it does; else it is empty.
func (p *Proxy) Ready() (ok bool, text string) {
	ok, text = p.state.ready()
	if text != "" && text != initializing {
		return ok, text
	}
	now := p.feed.standing()
	if waiting := cmp.Or(now.waiting, p.lacking()); waiting != "" {
		return false, waiting
	}
	return ok, cmp.Or(text, now.note)
}

// Listeners shows what is listened on.
func (p *Proxy) Listeners() []listener.Status { return p.listeners.Status() }

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Run starts everything, keeps it up until ctx is done, and then drains. The
// error says why it could not start, or what went wrong in the end.
func (p *Proxy) Run(ctx context.Context) error {
	p.group.Start()
	err := p.serve(ctx)
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
	defer cancel()
	p.clusters.Close()
	return errors.Join(err, p.group.Stop(stop))
}

// stopTime bounds the end of loops that hang.
const stopTime = 5 * time.Second

func (p *Proxy) serve(ctx context.Context) error {
	server, err := p.startAdmin(ctx)
	if err != nil {
		return err
	}
	defer server.close(ctx)
	defer p.pages.stop()
	feeding, cancel := context.WithCancel(ctx)
	defer cancel()
	fed := make(chan error, 1)
	go func() { fed <- p.feed.run(feeding) }()
	left := p.opts.DrainTimeout
	select {
	case err = <-fed:
	case <-p.quit:
		cancel()
		err = <-fed
	case <-p.leave:
		left = p.outlast(ctx)
		cancel()
		err = <-fed
	}
	if err != nil {
		return err
	}
	p.drain(ctx, left)
	return nil
}

const (
	// goneFor is how long there must be no client for the app to be taken for gone.
	goneFor  = time.Second
	goneTick = 100 * time.Millisecond
	// finishTime is for the requests of an app that outlasts the drain deadline.
	finishTime = 5 * time.Second
)

// outlast goes on serving until the app is gone or the drain deadline passes:
// where both are told to end at once, the app may need its port once more. It
// returns the time that is left for what runs.
func (p *Proxy) outlast(ctx context.Context) time.Duration {
	p.log.Info("waiting for the app to end", "timeout", p.opts.DrainTimeout.String())
	p.state.drain()
	tick := time.NewTicker(goneTick)
	defer tick.Stop()
	deadline := time.NewTimer(p.opts.DrainTimeout)
	defer deadline.Stop()
	for alone := time.Duration(0); alone < goneFor; alone += goneTick {
		select {
		case <-ctx.Done():
			return p.opts.DrainTimeout
		case <-p.quit:
			return p.opts.DrainTimeout
		case <-deadline.C:
			p.log.Warn("the app is still connected at the drain deadline")
			return finishTime
		case <-tick.C:
		}
		if p.clients() > 0 {
			alone = -goneTick
		}
	}
	return p.opts.DrainTimeout
}

// clients counts the connections of all listeners.
func (p *Proxy) clients() int {
	n := 0
	for _, l := range p.listeners.Status() {
		n += l.Connections
	}
	return n
}

// drain closes the ports and lets what runs end, within a limit.
func (p *Proxy) drain(ctx context.Context, within time.Duration) {
	p.log.Info("draining", "timeout", within.String())
	p.state.drain()
	p.listeners.StopAccepting()
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), within)
	defer cancel()
	if err := p.filters.Drain(limit); err != nil {
		p.log.Warn("connections were closed at the drain deadline", "error", err)
	}
	p.log.Info("drained")
}

// startError takes what stopped the start and says no code for a mistake in
// the configuration.
func startError(err error) error {
	if exit.Code(err) != exit.CodeInternal {
		return err
	}
	return exit.Usage(err)
}

// adminServer is an admin.Server or none.
type adminServer struct{ *admin.Server }

func (s adminServer) close(ctx context.Context) {
	if s.Server == nil {
		return
	}
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	s.Close(limit)
}

func (p *Proxy) startAdmin(ctx context.Context) (adminServer, error) {
	if p.opts.AdminAddress == "" || p.opts.AdminAddress == "off" {
		return adminServer{}, nil
	}
	s, err := admin.Listen(ctx, p.opts.AdminAddress, p.adminOptions())
	if err != nil && p.opts.AdminOptional {
		p.log.Warn("running without an admin server", "error", err)
		return adminServer{}, nil
	}
	if err != nil {
		return adminServer{}, bindExit(err)
	}
	p.log.Info("admin server listening", "address", s.Addr())
	return adminServer{s}, nil
}

func bindExit(err error) error {
	taken := &listener.BindError{Err: err}
	if taken.Taken() {
		return exit.Temporary(fmt.Errorf("%w: another process has it; --admin-address takes another one, or off", err))
	}
	return exit.Usage(fmt.Errorf("starting the admin server: %w", err))
}
