package database

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	semconv "go.opentelemetry.io/otel/semconv/v1.37.0"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/netloop"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// echo is a session of a protocol without words: a server lets everybody in that
// connects, and nothing is ever under way.
type echo struct {
	Session
	notes []string
}

func (s *echo) note(what string) { s.notes = append(s.notes, what) }

func (s *echo) Cut() {
	s.note("cut")
	s.Finish()
}

func (s *echo) TryLeave() { s.Depart(nil) }

func (s *echo) GoOnAt(next *Part) bool {
	if !s.Part.SameTarget(next.Filter) || !s.Stays(next) {
		return false
	}
	s.MoveTo(next)
	return true
}

func (s *echo) Quiet()         { s.note("quiet") }
func (s *echo) Over()          { s.note("over") }
func (s *echo) Forget()        { s.note("forgotten") }
func (s *echo) Underway() bool { return s.Up != nil }
func (s *echo) Dial()          { s.Up = s.To.Dial(s.Part.Loop, (*echoUp)(s)) }

func (s *echo) Drop() {
	if s.Up != nil {
		Forsake(s.Up)
		s.Up = nil
	}
}

func (s *echo) Refuse(r Refusal) {
	s.note(r.Why.String())
	s.Finish()
}

type (
	echoDown echo
	echoUp   echo
)

func (u *echoUp) Connected(*netloop.Conn) {
	u.Entry.Accept()
	u.LetIn()
}
func (*echoUp) Data(_ *netloop.Conn, b []byte) int { return len(b) }
func (*echoUp) Drained(*netloop.Conn)              {}
func (*echoUp) EOF(c *netloop.Conn)                { c.Close() }
func (u *echoUp) Closed(_ *netloop.Conn, err error) {
	u.LostUp(err)
	u.Settle()
}
func (*echoDown) Data(_ *netloop.Conn, b []byte) int { return len(b) }
func (*echoDown) Drained(*netloop.Conn)              {}
func (*echoDown) EOF(c *netloop.Conn)                { c.Close() }
func (d *echoDown) Closed(_ *netloop.Conn, err error) {
	s := (*echo)(d)
	s.LostDown(err)
	if !s.Is(Ended) && s.Abandoned() {
		s.Up.Close()
	}
	s.Settle()
}

// place is a cluster of one endpoint at most, and the source of it and of the
// login.
type place struct {
	endpoint *filters.Endpoint
	reports  []filters.Outcome
}

func (*place) Name() string                                    { return "main" }
func (*place) Refresh(string)                                  {}
func (*place) Secret(name string) (string, error)              { return name, nil }
func (p *place) Report(_ *filters.Endpoint, o filters.Outcome) { p.reports = append(p.reports, o) }
func (p *place) Cluster(string) (filters.Cluster, bool)        { return p, true }

func (p *place) Table() *filters.Table {
	t := &filters.Table{}
	if p.endpoint != nil {
		t.Shards = []filters.Shard{{Primary: p.endpoint}}
	}
	return t
}

func someplace() *place {
	e := &filters.Endpoint{Network: "tcp", Address: "127.0.0.1:1"}
	e.SetHealthy(true)
	return &place{endpoint: e}
}

func newEchoes() *Builder {
	return NewBuilder(MetricsOptions{Filter: "echo"}, semconv.DBSystemNameOtherSQL, "Echo")
}

func echoes(t *testing.T, b *Builder, at *place, limits resource.DatabaseLimits) *Filter {
	t.Helper()
	limits.MaxWait, limits.MaxWaiting, limits.MaxConnecting = 2*time.Second, 10, 10
	f, err := b.NewFilter(FilterOptions{
		Conf:    &resource.DatabaseFilter{Cluster: "main", Login: resource.DatabaseLogin{Username: resource.SecretKey{Name: "u"}}, SlowQuery: -1, Limits: limits},
		Context: filters.Context{Listener: "test", Clusters: at, Secrets: at}, Log: slog.New(slog.DiscardHandler), OtherLimit: time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// comes makes a client arrive. Servers are connected to at once.
func comes(loop *netloop.Loop, f *Filter) *echo {
	s := &echo{}
	c := loop.Pipe((*echoDown)(s), netloop.Downstream)
	f.Join(&s.Session, s, c)
	e := &Entry{}
	e.Begin(&s.Session, s)
	e.Queue()
	loop.Turn()
	return s
}

// retiring retires a filter, and says whether it is done.
func retiring(f *Filter, next filters.Network, deadline time.Duration) *bool {
	done := new(bool)
	f.Retire(filters.Retirement{Next: next, Deadline: deadline, Done: func() { *done = true }})
	return done
}

// network is a filter as the listener knows it.
type network struct{ *Filter }

func (network) Accept(*netloop.Conn) netloop.Driver { return nil }

func wantNotes(t *testing.T, s *echo, want string) {
	t.Helper()
	if got := strings.Join(s.notes, " "); got != want {
		t.Errorf("the session was told %q, want %q", got, want)
	}
}

// TestSessionsGoOn at a filter of the same builder that has their endpoint, and
// there they are counted; the filter that they leave is done.
func TestSessionsGoOn(t *testing.T) {
	t.Parallel()
	loop, b, at := netloop.NewTestLoop(), newEchoes(), someplace()
	old := echoes(t, b, at, resource.DatabaseLimits{})
	first, second := comes(loop, old), comes(loop, old)
	next := echoes(t, b, at, resource.DatabaseLimits{})
	done := retiring(old, network{next}, time.Minute)
	loop.Turn()
	if old.Open() != 0 || next.Open() != 2 || !*done {
		t.Errorf("%d sessions are left, %d have moved, done: %v", old.Open(), next.Open(), *done)
	}
	wantNotes(t, first, "")
	first.Down.Close()
	second.Down.Close()
	loop.Turn()
	wantNotes(t, second, "over forgotten")
	if b.Open() != 0 || at.endpoint.Sessions() != 0 {
		t.Errorf("%d sessions are open, %d at the endpoint", b.Open(), at.endpoint.Sessions())
	}
}

// TestSessionsEnd where nothing takes their filter's place: no filter at all, one
// that another builder has made, one that has been retired itself.
func TestSessionsEnd(t *testing.T) {
	t.Parallel()
	at := someplace()
	tests := map[string]func(*Builder) filters.Network{
		"nothing":         func(*Builder) filters.Network { return nil },
		"another builder": func(*Builder) filters.Network { return network{echoes(t, newEchoes(), at, resource.DatabaseLimits{})} },
		"retired": func(b *Builder) filters.Network {
			f := echoes(t, b, at, resource.DatabaseLimits{})
			retiring(f, nil, 0)
			return network{f}
		},
	}
	for name, next := range tests {
		loop, b := netloop.NewTestLoop(), newEchoes()
		f := echoes(t, b, at, resource.DatabaseLimits{})
		s := comes(loop, f)
		done := retiring(f, next(b), time.Minute)
		loop.Turn()
		s.Down.Close() // who lingers
		loop.Turn()
		if !*done || b.Open() != 0 {
			t.Errorf("%s: done: %v, %d sessions", name, *done, b.Open())
		}
		wantNotes(t, s, "over forgotten")
	}
}

// TestEntryWaits for an endpoint, and is refused when that takes too long.
func TestEntryWaits(t *testing.T) {
	t.Parallel()
	loop, b, at := netloop.NewTestLoop(), newEchoes(), &place{}
	f := echoes(t, b, at, resource.DatabaseLimits{})
	s := comes(loop, f)
	loop.Advance(time.Second)
	wantNotes(t, s, "")
	loop.Advance(time.Second)
	wantNotes(t, s, "no_endpoint over forgotten")
	lucky := comes(loop, f)
	at.endpoint = someplace().endpoint
	loop.Advance(time.Second)
	if lucky.Entry != nil || lucky.Up == nil {
		t.Error("the session does not begin when there is an endpoint")
	}
}

// TestTurnAtTheGateIsOfOnePlace: a session that is let in and, before it hears of
// that, goes on under another configuration, begins once.
func TestTurnAtTheGateIsOfOnePlace(t *testing.T) {
	t.Parallel()
	loop, b, at := netloop.NewTestLoop(), newEchoes(), someplace()
	dials := 0
	loop.OnDial = func(*netloop.Conn, string, string) { dials++ }
	one := resource.DatabaseLimits{MaxSessions: 1}
	old := echoes(t, b, at, one)
	comes(loop, old)
	waits := comes(loop, old)
	if waits.Up != nil {
		t.Fatal("two sessions where one may be")
	}
	next := echoes(t, b, at, one)
	retiring(old, network{next}, time.Minute)
	next.gate.Resize(2) // its word comes after that of the retirement
	loop.Turn()
	if waits.Entry != nil || dials != 2 {
		t.Errorf("%d connects for two sessions", dials)
	}
	if third := comes(loop, next); third.Up != nil {
		t.Error("a third session where two may be")
	}
	waits.Down.Close()
	if loop.Turn(); dials != 3 {
		t.Error("a place at the gate is lost")
	}
}

// TestIdleSessionsAreTold once they have been quiet for long enough.
func TestIdleSessionsAreTold(t *testing.T) {
	t.Parallel()
	loop, b := netloop.NewTestLoop(), newEchoes()
	s := comes(loop, echoes(t, b, someplace(), resource.DatabaseLimits{IdleTimeout: 8 * time.Second}))
	loop.Advance(7 * time.Second)
	wantNotes(t, s, "")
	loop.Advance(time.Second)
	wantNotes(t, s, "quiet")
}

// TestSlowQueries are logged as the configuration says that the session is under by
// now.
func TestSlowQueries(t *testing.T) {
	t.Parallel()
	loop, b, at := netloop.NewTestLoop(), newEchoes(), someplace()
	old, next := echoes(t, b, at, resource.DatabaseLimits{}), echoes(t, b, at, resource.DatabaseLimits{})
	old.Conf.SlowQuery = time.Second
	s := comes(loop, old)
	w, needed := old.Watch("")
	if _, other := next.Watch(""); !needed || other {
		t.Fatalf("watched: %v where slowQuery is set, %v where not", needed, other)
	}
	s.Queries = &w
	query := func(took time.Duration) {
		s.Began = loop.Now()
		loop.Advance(took)
		s.Answered(loop.Now(), false)
	}
	query(time.Second - 1)
	query(time.Second)
	retiring(old, network{next}, time.Minute)
	loop.Turn()
	query(time.Minute)
	if n := s.Part.Stats.SlowQueries.Load(); n != 1 || s.Part.Filter != next {
		t.Errorf("%d slow queries, want 1", n)
	}
}
