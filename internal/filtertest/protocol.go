package filtertest

import (
	"context"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// Protocol is what [Conformance] has to know of a database's filter.
type Protocol struct {
	// User is whom the filter logs in as.
	User string
	// Server starts a real one.
	Server func(testing.TB) *dbtest.Server
	// Small starts one that has room for a few sessions.
	Small func(testing.TB) *dbtest.Server
	// Config is the configuration that most tests use, with a change.
	Config func(change func(*resource.DatabaseFilter)) any
	// Start runs a filter in front of the addresses. Others than credentials that a server refuses are waited for as long as otherLimit, 0 for as long as
	// usual.
	Start func(tb testing.TB, cfg any, otherLimit time.Duration, addresses ...string) *Fixture

	Codes      Codes
	Statements Statements
	// Refusals is how many logins a server has refused for their password.
	Refusals func(*dbtest.Server) int
	// Denied is what a client prints of a server's refusal of User's password, and Full what it prints where there is no room for it.
	Denied, Full string
	// Unasked: the driver shows an error that came while it had asked for nothing.
	Unasked bool
}

// Codes are those of errors.
type Codes struct {
	Retired string // the session's environment is no more
	Class   string // of Retired
	Idle    string // the session was quiet for too long
	Syntax  string // the statement is none
}

// Statements are those in which the dialects differ.
type Statements struct {
	Session      string // tells one session at the server from another
	Sleep        string // for so many seconds, as a format
	Lock, Unlock string // for one session at a time
	Await        string // waits for that, and keeps nothing
	Password     string // gives User another password, as a format
}

// Fixture is a filter with clients.
type Fixture struct {
	*Stand
	// Client runs statements by the protocol's own client program, and returns what they print.
	Client func(sql string) (string, error)
	// Open opens a session by a driver.
	Open func(ctx context.Context) (dbtest.Session, error)
	// Knock begins a session and waits for nothing.
	Knock func()
	// Work has an app work here.
	Work func(ctx context.Context, w *dbtest.Work) error
}

// Must runs statements that have to succeed.
func (f *Fixture) Must(sql string) string {
	f.tb.Helper()
	out, err := f.Client(sql)
	if err != nil {
		f.tb.Fatal(err)
	}
	return out
}

// Connect opens a session, which ends with the test.
func (f *Fixture) Connect() dbtest.Session {
	f.tb.Helper()
	s, err := f.Open(Context(f.tb))
	if err != nil {
		f.tb.Fatal(err)
	}
	f.tb.Cleanup(func() { _ = s.Close() })
	return s
}

// Context ends before a test hangs.
func Context(tb testing.TB) context.Context {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	tb.Cleanup(cancel)
	return ctx
}

// TwoEnvironments has f's world lead to dev, and by the cluster "prod" to prod. Each has a table env with its name, and a table log for dbtest.Work.
func TwoEnvironments(w *World, dev, prod *dbtest.Server) {
	for name, s := range map[string]*dbtest.Server{"dev": dev, "prod": prod} {
		s.SQL("create table log (worker int, n int, part int)")
		s.SQL("create table env as select '" + name + "' as name")
	}
	w.At(Main).Lead(nil, dev.Addr())
	w.Add("prod").Lead(nil, prod.Addr())
}

// twoEnvironments starts a filter that leads to dev, and what it is to have instead.
func (p *Protocol) twoEnvironments(t *testing.T) (f *Fixture, dev, prod *dbtest.Server, next any) {
	t.Helper()
	dev, prod = p.Server(t), p.Server(t)
	f = p.start(t)
	TwoEnvironments(f.World, dev, prod)
	return f, dev, prod, p.Config(func(c *resource.DatabaseFilter) { c.Cluster = "prod" })
}

// start runs a filter with the configuration that most tests use.
func (p *Protocol) start(t *testing.T, addresses ...string) *Fixture {
	t.Helper()
	return p.Start(t, p.usual(), 0, addresses...)
}

func (p *Protocol) usual() any { return p.Config(func(*resource.DatabaseFilter) {}) }

// execute runs what has to succeed.
func execute(t *testing.T, s dbtest.Session, sql string) {
	t.Helper()
	if err := s.Exec(Context(t), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func value(t *testing.T, s dbtest.Session, sql string) string {
	t.Helper()
	v, err := s.Value(Context(t), sql)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return v
}

// ended looks whether a session was told, before it asked for sql, that it is over.
func (p *Protocol) ended(t *testing.T, what string, s dbtest.Session, sql, code string) {
	t.Helper()
	err := s.Exec(Context(t), sql)
	if err == nil || p.Unasked && dbtest.Code(err) != code {
		t.Errorf("%s: %v, want an error of code %s", what, err, code)
	}
}

// ask runs a statement beside the test, and returns when the server is busy with it.
func ask(t *testing.T, s dbtest.Session, at *dbtest.Server, sql string) (answer <-chan error) {
	t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- s.Exec(context.Background(), sql) }()
	Eventually(t, "the statement to run: "+sql, func() bool { return at.Running(sql) })
	return ended
}

// awaitLeft waits for the end of a retirement.
func awaitLeft(t *testing.T, left <-chan struct{}) {
	t.Helper()
	select {
	case <-left:
	case <-time.After(endLimit):
		t.Fatal("sessions do not leave")
	}
}
