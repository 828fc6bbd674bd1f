// Package postgres is the terminal network filter for PostgreSQL: an app logs in
// at the proxy with whatever it has, and the proxy at the environment's server
// with that environment's user, password, database and TLS.
//
// A session of the app has one connection to a server, from its login to its
// end. After the login messages are passed on as they are; of each the head is
// looked at, so that it is known when no transaction is under way, which is when
// a session can be ended without harm.
//
// See README.md for what becomes of each part of the protocol.
package postgres

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	semconv "go.opentelemetry.io/otel/semconv/v1.37.0"

	"github.com/dragoman-mesh/dragoman/pkg/database"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/netloop"
	"github.com/dragoman-mesh/dragoman/pkg/sqlroute"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// Builder makes the PostgreSQL filters of a process, and keeps what outlives a
// configuration: counters, derived keys, and whom a cancel request is for.
type Builder struct {
	log     *slog.Logger
	keys    *keyCache
	cancels *cancelMap
	metrics *metrics
	dials   *database.Dials

	startLimit time.Duration // a client may take so long to say who it is
	loginLimit time.Duration // a server may take so long to let the proxy in
	otherLimit time.Duration // it is waited so long for others than credentials that a server refuses

	mu      sync.Mutex // guards below
	live    map[*Filter]struct{}
	gates   map[gateKey]*database.Gate
	budgets map[gateKey]*budget
	pools   map[poolKey]*pool
}

// gateKey is whom the number of sessions is limited to.
type gateKey struct{ listener, cluster string }

// NewBuilder returns a builder that logs to log.
func NewBuilder(log *slog.Logger) *Builder {
	return &Builder{
		log: log, keys: newKeyCache(), cancels: newCancelMap(), metrics: newMetrics(), dials: database.NewDials("postgres"),
		startLimit: 30 * time.Second, loginLimit: 20 * time.Second, otherLimit: database.OtherLimit,
		live: map[*Filter]struct{}{}, gates: map[gateKey]*database.Gate{}, budgets: map[gateKey]*budget{}, pools: map[poolKey]*pool{},
	}
}

// Build makes a filter of a *resource.PostgresFilter.
func (b *Builder) Build(cfg any, ctx filters.Context) (filters.Network, error) {
	conf, ok := cfg.(*resource.PostgresFilter)
	if !ok {
		return nil, fmt.Errorf("building a postgres filter for listener %q: configuration is a %T", ctx.Listener, cfg)
	}
	cluster, ok := ctx.Clusters.Cluster(conf.Cluster)
	if !ok {
		return nil, fmt.Errorf("building a postgres filter for listener %q: no cluster %q", ctx.Listener, conf.Cluster)
	}
	log := ctx.Log
	if log == nil {
		log = b.log
	}
	f := &Filter{
		b: b, conf: conf, ctx: ctx, cluster: cluster, log: log.With("listener", ctx.Listener, "cluster", conf.Cluster),
		locals: map[*netloop.Loop]*local{}, route: sqlroute.New(cluster, conf.Target),
		rotation: database.NewRotation(b.otherLimit, ctx.Secrets, &conf.Login),
	}
	f.unwatch = f.route.Watch(f.rolesMoved)
	f.tracing = database.NewTracing(database.TracingOptions{
		Tracer: ctx.Tracer, Config: conf.Tracing, System: semconv.DBSystemNamePostgreSQL, Environment: ctx.Environment, Listener: ctx.Listener, Log: f.log,
	})
	b.mu.Lock()
	defer b.mu.Unlock()
	b.live[f] = struct{}{}
	key := gateKey{ctx.Listener, conf.Cluster}
	if b.gates[key] == nil {
		b.gates[key] = &database.Gate{}
	}
	f.gate = b.gates[key]
	f.gate.Resize(conf.Limits.MaxSessions)
	if conf.Pool != nil {
		if b.budgets[key] == nil {
			b.budgets[key] = newBudget()
		}
		f.budget = b.budgets[key]
		f.budget.resize(conf.Pool.Size)
	}
	return f, nil
}

func (b *Builder) filters() []*Filter {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Collect(maps.Keys(b.live))
}

func (b *Builder) forget(f *Filter) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.live, f)
}

// Drain asks every session to end at the next boundary of a transaction, and
// cuts what is left when ctx is done.
func (b *Builder) Drain(ctx context.Context) error {
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(time.Minute)
	}
	for _, f := range b.filters() {
		f.each(func(s *session) { s.drain(time.Until(deadline)) })
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		n := 0
		for _, f := range b.filters() {
			n += f.open()
		}
		if n == 0 {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			for _, f := range b.filters() {
				f.each((*session).cut)
			}
			return fmt.Errorf("closing %d sessions of PostgreSQL: %w", n, ctx.Err())
		}
	}
}

var (
	_ filters.Builder = (*Builder)(nil)
	_ filters.Drainer = (*Builder)(nil)
	_ filters.Mover   = (*Filter)(nil)
)
