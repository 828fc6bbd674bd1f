// Package postgres is the terminal network filter for PostgreSQL: an app logs in
// at the proxy with whatever it has, and the proxy at the environment's server
// with that environment's user, password, database and TLS.
//
// A session of the app has one connection to a server, from its login to its
// end, or shares a pool of them with others. After the login messages are passed on as they are; of each the head is
// looked at, so that it is known when no transaction is under way, which is when
// a session can be ended without harm.
//
// See README.md for what becomes of each part of the protocol.
package postgres

import (
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	semconv "go.opentelemetry.io/otel/semconv/v1.37.0"

	"github.com/dragoman-mesh/dragoman/pkg/database"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// Builder makes the PostgreSQL filters of a process, and keeps what outlives a
// configuration: counters, derived keys, pools, and whom a cancel request is for.
type Builder struct {
	*database.Builder
	log       *slog.Logger
	keys      *keyCache
	cancels   *cancelMap
	framing   *framing
	poolDescs poolDescs
	poolStats database.PerLoop[poolStats]

	startLimit time.Duration // a client may take so long to say who it is
	loginLimit time.Duration // a server may take so long to let the proxy in
	otherLimit time.Duration // it is waited so long for others than credentials that a server refuses

	mu      sync.Mutex // guards below
	budgets map[database.GateKey]*budget
	pools   map[poolKey]*pool
}

// NewBuilder returns a builder that logs to log.
func NewBuilder(log *slog.Logger) *Builder {
	return &Builder{
		Builder: database.NewBuilder(database.MetricsOptions{
			Filter: "postgres", LostCancel: "unknown",
			Queries:      "Queries, executions of prepared statements and function calls.",
			Transactions: "Answers of a server after which no transaction was open.",
			Errors:       "Errors that clients were told, by their SQLSTATE and its class.",
			Cancels:      "Requests to cancel, by what became of them.",
			Latency:      "From a request to the answer that the server is ready for another.",
			Wait:         "From the end of a client's own part of the login to the server's letting in.",
		}, semconv.DBSystemNamePostgreSQL, "PostgreSQL"),
		log: log, keys: newKeyCache(), cancels: newCancelMap(), framing: newFraming(), poolDescs: newPoolDescs(),
		startLimit: 30 * time.Second, loginLimit: 20 * time.Second, otherLimit: database.OtherLimit,
		budgets: map[database.GateKey]*budget{}, pools: map[poolKey]*pool{},
	}
}

// Build makes a filter of a *resource.PostgresFilter.
func (b *Builder) Build(cfg any, ctx filters.Context) (filters.Network, error) {
	conf, ok := cfg.(*resource.PostgresFilter)
	if !ok {
		return nil, fmt.Errorf("building a postgres filter for listener %q: configuration is a %T", ctx.Listener, cfg)
	}
	f := &Filter{b: b, conf: conf}
	var err error
	f.Filter, err = b.NewFilter(database.FilterOptions{
		Conf: &conf.DatabaseFilter, Context: ctx, Log: b.log, OtherLimit: b.otherLimit,
		Part: func(p *database.Part) database.LoopPart { return &local{Part: p, filter: f} },
	})
	if err != nil {
		return nil, fmt.Errorf("building a postgres filter for listener %q: %w", ctx.Listener, err)
	}
	if conf.Pool != nil {
		f.budget = b.budgetOf(f.GateKey())
		f.budget.resize(conf.Pool.Size)
	}
	return f, nil
}

func (b *Builder) budgetOf(key database.GateKey) *budget {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.budgets[key] == nil {
		b.budgets[key] = newBudget()
	}
	return b.budgets[key]
}

// Describe implements prometheus.Collector.
func (b *Builder) Describe(ch chan<- *prometheus.Desc) {
	b.Builder.Describe(ch)
	for _, desc := range b.poolDescs.all() {
		ch <- desc
	}
}

// Collect implements prometheus.Collector.
func (b *Builder) Collect(ch chan<- prometheus.Metric) {
	b.Builder.Collect(ch)
	for name, all := range b.poolStats.ByListener() {
		b.poolDescs.collect(&database.Collection[poolStats]{To: ch, Listener: name, All: all})
	}
}

var (
	_ filters.Builder = (*Builder)(nil)
	_ filters.Drainer = (*Builder)(nil)
	_ filters.Network = (*Filter)(nil)
	_ filters.Mover   = (*Filter)(nil)
)
