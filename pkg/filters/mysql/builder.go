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
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	semconv "go.opentelemetry.io/otel/semconv/v1.37.0"

	"github.com/dragoman-mesh/dragoman/pkg/database"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/mysqlproto"
	"github.com/dragoman-mesh/dragoman/pkg/netloop"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// Builder makes the filters for MySQL of a process, and keeps what outlives a
// configuration: counters, and whom a KILL is for.
type Builder struct {
	*database.Builder
	log     *slog.Logger
	threads *threadMap
	forgone atomic.Int32 // logins under way that nobody waits for

	startLimit time.Duration // a client may take so long to say who it is
	loginLimit time.Duration // a server may take so long to let the proxy in
	otherLimit time.Duration // it is waited so long for others than credentials that a server refuses
}

// NewBuilder returns a builder that logs to log.
func NewBuilder(log *slog.Logger) *Builder {
	return &Builder{
		Builder: database.NewBuilder(database.MetricsOptions{
			Filter: "mysql", LostCancel: "failed",
			Queries:      "Queries and executions of prepared statements.",
			Transactions: "Responses of a server after which no transaction was open.",
			Errors:       "Errors that clients were told, by their number and the class of their SQLSTATE.",
			Cancels:      "KILL that the filter has brought to a server itself, by what became of it.",
			Latency:      "From a command to the end of its response.",
			Wait:         "From the accept to the server's greeting: a turn, credentials and a connection.",
		}, semconv.DBSystemNameMySQL, "MySQL"),
		log: log, threads: newThreadMap(),
		startLimit: 30 * time.Second, loginLimit: 20 * time.Second, otherLimit: database.OtherLimit,
	}
}

// Build makes a filter of a *resource.MySQLFilter.
func (b *Builder) Build(cfg any, ctx filters.Context) (filters.Network, error) {
	conf, ok := cfg.(*resource.MySQLFilter)
	if !ok {
		return nil, fmt.Errorf("building a mysql filter for listener %q: configuration is a %T", ctx.Listener, cfg)
	}
	f, err := b.NewFilter(database.FilterOptions{Conf: &conf.DatabaseFilter, Context: ctx, Log: b.log, OtherLimit: b.otherLimit})
	if err != nil {
		return nil, fmt.Errorf("building a mysql filter for listener %q: %w", ctx.Listener, err)
	}
	return &Filter{Filter: f, b: b}, nil
}

// Filter serves one listener in one configuration.
type Filter struct {
	*database.Filter
	b *Builder
}

// Accept implements filters.Network.
func (f *Filter) Accept(c *netloop.Conn) netloop.Driver {
	s := &session{b: f.b}
	f.Join(&s.Session, s, c)
	s.begin()
	return (*greeter)(s)
}

// Refusal is what a client above the listener's own limit is told.
func (*Filter) Refusal() []byte {
	return errorPacket(0, mysqlproto.ErrnoTooManyConnections, "", "dragoman: too many connections at this listener")
}

var (
	_ filters.Builder = (*Builder)(nil)
	_ filters.Drainer = (*Builder)(nil)
	_ filters.Network = (*Filter)(nil)
	_ filters.Mover   = (*Filter)(nil)
)
