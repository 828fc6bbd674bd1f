package engine

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/dragoman-mesh/dragoman/pkg/inventory"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
	"github.com/dragoman-mesh/dragoman/pkg/translate"
	"github.com/dragoman-mesh/dragoman/pkg/xds/server"
)

// StatusSink is told what became of objects.
type StatusSink interface {
	// SetStatus is called from the engine's goroutine whenever something has
	// changed, with a value that is not changed afterwards. It must not block.
	SetStatus(ref inventory.Ref, status inventory.Status)
}

// Options of an Engine. Only Store is needed; a zero value has its default.
type Options struct {
	Store  *inventory.Store
	Status StatusSink
	Tracer trace.Tracer
	Log    *slog.Logger
	// Domain is the cluster's, for gRPC clients' names of Services; cluster.local.
	Domain string
	// HoldOff is how long changes are gathered after the first; 2 ms.
	HoldOff time.Duration
	// Linger is how long what no node needs any more is kept, for nodes that come
	// back; 30 s.
	Linger time.Duration
	// PodWait is how long a node waits for its pod to be known; 5 s.
	PodWait time.Duration
	// StatusEvery is the least time between two looks at what nodes made of
	// objects; 200 ms.
	StatusEvery time.Duration
}

func (o *Options) fill() {
	if o.HoldOff == 0 {
		o.HoldOff = 2 * time.Millisecond
	}
	if o.Linger == 0 {
		o.Linger = 30 * time.Second
	}
	if o.PodWait == 0 {
		o.PodWait = 5 * time.Second
	}
	if o.StatusEvery == 0 {
		o.StatusEvery = 200 * time.Millisecond
	}
	if o.Domain == "" {
		o.Domain = translate.ClusterDomain
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Status == nil {
		o.Status = discard{}
	}
	if o.Tracer == nil {
		o.Tracer = noop.NewTracerProvider().Tracer("")
	}
}

// statusShare is how many times longer than the last report took the engine does
// something else before the next.
const statusShare = 20

type discard struct{}

func (discard) SetStatus(inventory.Ref, inventory.Status) {}

// Engine is the decider. Make it, make the server with it as Observer, and then
// Run it.
type Engine struct {
	opts    Options
	server  *server.Server
	metrics *metrics

	tasks chan func()
	done  chan struct{} // closed when Run has ended

	mu sync.Mutex
	// mu guards below
	heard      map[*server.Node]struct{} // of whom there is news for the status
	converging map[time.Time]convergence // by when the change was observed
	refusing   map[server.Key]struct{}   // resources that some node has refused

	// Run's goroutine only
	nodes     map[*server.Node]*node
	byPod     index[inventory.Key]
	byPlace   index[string] // by namespace
	kinds     map[string]*kind
	variants  map[variantKey]*variant
	byObject  map[inventory.Ref]map[*variant]struct{}
	byRef     map[inventory.Ref]map[*variant]struct{}
	places    map[string]*place
	good      map[inventory.Ref]mesh.Object // the last document of each object that had no error
	resources map[server.Key]*published
	awaited   map[inventory.Key]chan struct{} // pods that nodes wait for
	status    statusBook
	bare      barePods
}

// New returns an engine that is not running.
func New(o Options) *Engine {
	o.fill()
	return &Engine{
		opts: o, metrics: newMetrics(),
		tasks: make(chan func()), done: make(chan struct{}),
		heard: map[*server.Node]struct{}{}, converging: map[time.Time]convergence{},
		refusing: map[server.Key]struct{}{},
		nodes:    map[*server.Node]*node{}, byPod: index[inventory.Key]{}, byPlace: index[string]{},
		kinds: map[string]*kind{}, variants: map[variantKey]*variant{},
		byObject: map[inventory.Ref]map[*variant]struct{}{}, byRef: map[inventory.Ref]map[*variant]struct{}{},
		places: map[string]*place{}, good: map[inventory.Ref]mesh.Object{}, resources: map[server.Key]*published{},
		awaited: map[inventory.Key]chan struct{}{}, status: newStatusBook(), bare: newBarePods(),
	}
}

// Run decides until ctx is done. What is in the store when it begins must be
// complete: the first nodes are answered from it.
func (e *Engine) Run(ctx context.Context, s *server.Server) {
	defer close(e.done)
	e.server = s
	e.take(ctx)
	sweep := time.NewTicker(max(e.opts.Linger/2, time.Millisecond))
	defer sweep.Stop()
	status := time.NewTimer(e.opts.StatusEvery)
	defer status.Stop()
	var holdOff <-chan time.Time // nil: nothing waits
	for {
		select {
		case <-ctx.Done():
			return
		case task := <-e.tasks:
			task()
		case <-e.opts.Store.Changed():
			if holdOff == nil {
				holdOff = time.After(e.opts.HoldOff)
			}
		case <-holdOff:
			holdOff = nil
			e.take(ctx)
		case <-sweep.C:
			e.sweep(time.Now())
		case now := <-status.C:
			e.report()
			e.observeConvergence(now)
			status.Reset(max(e.opts.StatusEvery, statusShare*time.Since(now)))
		}
	}
}

// do has the engine's goroutine call f, and waits for it. It reports false if
// that has not happened.
func (e *Engine) do(ctx context.Context, f func()) bool {
	finished := make(chan struct{})
	task := func() {
		defer close(finished)
		f()
	}
	select {
	case e.tasks <- task:
	case <-ctx.Done():
		return false
	case <-e.done:
		return false
	}
	<-finished
	return true
}

// index finds nodes by something that several may have in common.
type index[K comparable] map[K]map[*node]struct{}

func (x index[K]) add(k K, n *node) {
	if x[k] == nil {
		x[k] = map[*node]struct{}{}
	}
	x[k][n] = struct{}{}
}

func (x index[K]) remove(k K, n *node) {
	delete(x[k], n)
	if len(x[k]) == 0 {
		delete(x, k)
	}
}
