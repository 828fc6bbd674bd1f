package filtertest

import (
	"context"
	"crypto/tls"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"github.com/dragoman-mesh/dragoman/pkg/database"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/netloop"
)

// endLimit bounds what a filter may take to let the loops end.
const endLimit = 30 * time.Second

// Stand is a filter of a database that runs on a listener.
type Stand struct {
	// Read-only after construction.
	World   *World
	Log     *Log // of the filter
	Group   *netloop.Group
	tb      testing.TB
	builder Builder
	dials   *database.Dials
	prefix  string
	tracer  trace.Tracer

	ln     *netloop.Listener
	filter atomic.Value // filters.Network; all are of one type
}

// Builder is a filter's, with its metrics.
type Builder interface {
	filters.Builder
	filters.Drainer
	prometheus.Collector
}

// Options are those of a stand.
type Options struct {
	Builder  Builder
	Database *database.Builder // in Builder
	Metrics  string            // how the names of the filter's metrics begin
	World    *World
	Log      *Log         // of the builder
	Tracer   trace.Tracer // nil: nobody collects spans
}

// Start runs loops for a filter. Put it there before a client comes.
func Start(tb testing.TB, o Options) *Stand {
	tb.Helper()
	group, err := netloop.NewGroup(netloop.GroupOptions{Loops: 2})
	if err != nil {
		tb.Fatal(err)
	}
	s := &Stand{
		tb: tb, World: o.World, Log: o.Log, Group: group, builder: o.Builder, dials: o.Database.Dials, prefix: o.Metrics, tracer: o.Tracer,
	}
	group.Start()
	tb.Cleanup(s.end)
	return s
}

// end ends the loops, and looks at what the filter leaves behind.
func (s *Stand) end() {
	s.closeListener()
	ctx, cancel := context.WithTimeout(context.Background(), endLimit)
	defer cancel()
	if err := s.Group.Stop(ctx); err != nil {
		s.tb.Error(err)
	} else if n := s.dials.Open(); n != 0 {
		s.tb.Errorf("%d turns to connect are not given back", n)
	}
	if s.tb.Failed() {
		s.tb.Logf("log of the filter:\n%s", s.Log)
	}
}

// Metric reads one of the filter's metrics, by the end of its name and by labels.
func (s *Stand) Metric(name string, labels ...string) float64 {
	s.tb.Helper()
	return Metric(s.tb, s.builder, s.prefix+name, labels...)
}

// Drain has the filter come to its end with the proxy.
func (s *Stand) Drain(ctx context.Context) error { return s.builder.Drain(ctx) }

// HeldBytes is what the loops have in buffers.
func (s *Stand) HeldBytes() (n int) {
	s.tb.Helper()
	for _, l := range s.Group.Loops() {
		stats, err := l.ReadStats(Context(s.tb))
		if err != nil {
			s.tb.Fatal(err)
		}
		n += stats.HeldBytes
	}
	return n
}

// Listen puts a socket in front of the filter, in the place of the one before, and returns its address. cfg is for TLS that the filter begins; nil
// for none.
func (s *Stand) Listen(network, addr string, cfg *tls.Config) string {
	s.tb.Helper()
	s.closeListener()
	ln, err := netloop.Listen(s.Group, network, addr, netloop.ListenOptions{TLS: cfg, StartTLS: true},
		func(_ *netloop.Loop, c *netloop.Conn) netloop.Driver { return s.Filter().Accept(c) })
	if err != nil {
		s.tb.Fatal(err)
	}
	s.ln = ln
	return ln.Addr()
}

func (s *Stand) closeListener() {
	if s.ln != nil {
		s.ln.Close()
	}
}

// Filter is the one that serves new clients.
func (s *Stand) Filter() filters.Network { return s.filter.Load().(filters.Network) }

// Put builds a filter, which serves new clients from then on.
func (s *Stand) Put(cfg any) { s.PutWith(cfg, s.World) }

// PutWith is Put with another source of secrets.
func (s *Stand) PutWith(cfg any, secrets filters.SecretSource) {
	s.tb.Helper()
	s.filter.Store(s.build(cfg, secrets))
}

func (s *Stand) build(cfg any, secrets filters.SecretSource) filters.Network {
	s.tb.Helper()
	n, err := s.builder.Build(cfg, filters.Context{
		Listener: "default/orders", Clusters: s.World, Secrets: secrets, Loops: s.Group.Loops, Tracer: s.tracer,
	})
	if err != nil {
		s.tb.Fatal(err)
	}
	return n
}

// Swap puts another configuration in the place of the one before, as a listener does, and returns a channel that is closed when all have left that, and have
// been told so.
func (s *Stand) Swap(cfg any, r filters.Retirement) <-chan struct{} {
	s.tb.Helper()
	r.Next = s.build(cfg, s.World)
	return s.retire(s.filter.Swap(r.Next).(filters.Network), r)
}

// Retire takes the filter and its socket away. The channel is closed when all have left.
func (s *Stand) Retire(r filters.Retirement) <-chan struct{} {
	s.tb.Helper()
	s.closeListener()
	return s.retire(s.Filter(), r)
}

func (s *Stand) retire(old filters.Network, r filters.Retirement) <-chan struct{} {
	s.tb.Helper()
	s.comeRound()
	done := make(chan struct{})
	r.Done = func() {
		go func() {
			defer close(done)
			s.comeRound()
			s.comeRound() // the first may have been in the iteration that ended the last session, before its last words were written
		}()
	}
	old.Retire(r)
	return done
}

// comeRound waits until every loop has come round.
func (s *Stand) comeRound() {
	for _, l := range s.Group.Loops() {
		ctx, cancel := context.WithTimeout(context.Background(), endLimit)
		if err := l.Call(ctx, func() {}); err != nil && !errors.Is(err, netloop.ErrStopped) {
			s.tb.Errorf("a loop does not come round: %v", err)
		}
		cancel()
	}
}
