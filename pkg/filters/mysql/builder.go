// Package mysql is the terminal network filter for MySQL and MariaDB: an app logs
// in at the proxy with whatever it has, and the proxy at the environment's server
// with that environment's user, password, database and TLS.
//
// The server speaks first in this protocol: the proxy connects as soon as the
// app has, and what it tells the app is the server's greeting with another
// scramble. A session of the app has one connection to a server, from its
// beginning to its end. After the login packets are passed on as they are; of
// each the head is looked at, so that it is known when no transaction is under
// way, which is when a session can be ended without harm.
//
// See README.md for what becomes of each part of the protocol.
package mysql

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

// Builder makes the filters for MySQL of a process, and keeps what outlives a
// configuration: counters, and whom a KILL is for.
type Builder struct {
	log     *slog.Logger
	threads *threadMap
	metrics *metrics
	dials   *database.Dials

	startLimit time.Duration // a client may take so long to say who it is
	loginLimit time.Duration // a server may take so long to let the proxy in
	otherLimit time.Duration // it is waited so long for others than credentials that a server refuses

	mu    sync.Mutex // guards below
	live  map[*Filter]struct{}
	gates map[gateKey]*database.Gate
}

// gateKey is whom the number of sessions is limited to.
type gateKey struct{ listener, cluster string }

// NewBuilder returns a builder that logs to log.
func NewBuilder(log *slog.Logger) *Builder {
	return &Builder{
		log: log, threads: newThreadMap(), metrics: newMetrics(), dials: database.NewDials("mysql"),
		startLimit: 30 * time.Second, loginLimit: 20 * time.Second, otherLimit: database.OtherLimit,
		live: map[*Filter]struct{}{}, gates: map[gateKey]*database.Gate{},
	}
}

// Build makes a filter of a *resource.MySQLFilter.
func (b *Builder) Build(cfg any, ctx filters.Context) (filters.Network, error) {
	conf, ok := cfg.(*resource.MySQLFilter)
	if !ok {
		return nil, fmt.Errorf("building a mysql filter for listener %q: configuration is a %T", ctx.Listener, cfg)
	}
	cluster, ok := ctx.Clusters.Cluster(conf.Cluster)
	if !ok {
		return nil, fmt.Errorf("building a mysql filter for listener %q: no cluster %q", ctx.Listener, conf.Cluster)
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
	f.tracing = database.NewTracing(database.TracingOptions{
		Tracer: ctx.Tracer, Config: conf.Tracing, System: semconv.DBSystemNameMySQL, Environment: ctx.Environment, Listener: ctx.Listener, Log: f.log,
	})
	f.unwatch = f.route.Watch(f.rolesMoved)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.live[f] = struct{}{}
	key := gateKey{ctx.Listener, conf.Cluster}
	if b.gates[key] == nil {
		b.gates[key] = &database.Gate{}
	}
	f.gate = b.gates[key]
	f.gate.Resize(conf.Limits.MaxSessions)
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
			return fmt.Errorf("closing %d sessions of MySQL: %w", n, ctx.Err())
		}
	}
}

var (
	_ filters.Builder = (*Builder)(nil)
	_ filters.Drainer = (*Builder)(nil)
	_ filters.Mover   = (*Filter)(nil)
)
