package filtertest

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/internal/nettest"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// Conformance runs the tests that a filter of any database passes.
func Conformance(t *testing.T, p *Protocol) {
	for name, test := range map[string]func(*testing.T, *Protocol){
		"Hold": testHold, "Limit": testLimit, "ConnectStormEnds": testConnectStormEnds, "SecondEndpoint": testSecondEndpoint, "NoRoom": testNoRoom,
		"WrongPassword": testWrongPassword, "NoDatabase": testNoDatabase, "Rotation": testRotation, "RotationInStorm": testRotationInStorm,
		"RotationBeforeTurn": testRotationBeforeTurn,
		"SessionsStay":       testSessionsStay, "ChangeWhileHeld": testChangeWhileHeld,
		"DrainUnderLoad": testDrainUnderLoad, "Drain": testDrain, "Deadline": testDeadline, "Cut": testCut, "Shutdown": testShutdown,
		"IdleTimeout": testIdleTimeout,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, p)
		})
	}
}

// told looks whether a client was refused in such words.
func told(t *testing.T, what string, f *Fixture, words ...string) {
	t.Helper()
	_, err := f.Client("select 1")
	for _, want := range words {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", what, err, want)
		}
	}
}

// come has a client ask for something, which need not be answered soon.
func come(f *Fixture, sql string) (answer <-chan string) {
	came := make(chan string, 1)
	go func() {
		got, err := f.Client(sql)
		if err != nil {
			got = err.Error()
		}
		came <- got
	}()
	return came
}

// testHold: a client is held until what is missing is there, and then let in; or told what is missing.
func testHold(t *testing.T, p *Protocol) {
	server := p.Server(t)
	f := p.start(t)
	came := come(f, "select 1")
	Eventually(t, "the client to come", func() bool { return f.Metric("downstream_connections") == 1 })
	f.World.At(Main).Lead(nil, server.Addr())
	if got := <-came; got != "1" {
		t.Errorf("a client that was held: %s", got)
	}
	impatient := p.Config(func(c *resource.DatabaseFilter) {
		c.Limits.MaxWait, c.Login.Password.Name = 200*time.Millisecond, "nowhere"
	})
	told(t, "without a secret", p.Start(t, impatient, 0, server.Addr()), "credentials for the database are not there")
	g := p.Start(t, impatient, 0)
	g.World.Set("nowhere", "x")
	told(t, "without an endpoint", g, "no server of the database is known in this environment: its name does not resolve")
}

// testLimit: sessions above the limit wait for their turn, and not for ever.
func testLimit(t *testing.T, p *Protocol) {
	server := p.Server(t)
	limited := func(l resource.DatabaseLimits) *Fixture {
		return p.Start(t, p.Config(func(c *resource.DatabaseFilter) { c.Limits = l }), 0, server.Addr())
	}
	f := limited(resource.DatabaseLimits{MaxSessions: 2, MaxWait: 20 * time.Second, MaxWaiting: 1})
	first, _ := f.Connect(), f.Connect()
	third := come(f, "select 1")
	Eventually(t, "one to wait", func() bool { return f.Metric("queued_total") == 1 })
	told(t, "one too many", f, "too many clients wait")
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	if got := <-third; got != "1" {
		t.Errorf("the one that waited: %s", got)
	}
	g := limited(resource.DatabaseLimits{MaxSessions: 1, MaxWait: 100 * time.Millisecond, MaxWaiting: 10})
	g.Connect()
	told(t, "after the wait", g, "are in use", p.Full)
}

// testConnectStormEnds: who waits for its turn to log in longer than limits.maxWait is told so.
func testConnectStormEnds(t *testing.T, p *Protocol) {
	stop := make(chan struct{})
	addr := nettest.Serve(t, func(net.Conn) { <-stop })
	f := p.Start(t, p.Config(func(c *resource.DatabaseFilter) { c.Limits.MaxConnecting, c.Limits.MaxWait = 1, 300*time.Millisecond }), 0, addr)
	t.Cleanup(func() { close(stop) })
	f.Knock()
	Eventually(t, "the first client's turn", func() bool { return f.dials.Open() == 1 })
	told(t, "the second", f, "too many sessions begin")
	if got := f.Metric("upstream_connect_queue_left_total"); got != 1 {
		t.Errorf("%v have left the queue, want 1", got)
	}
}

// testSecondEndpoint: one that cannot be reached is passed by.
func testSecondEndpoint(t *testing.T, p *Protocol) {
	f := p.start(t, nettest.Nobody(t), p.Server(t).Addr())
	for range 3 {
		f.Must("select 1")
	}
}

// testNoRoom: a server that has no room for one more session is passed by while another has; else the app hears what it says.
func testNoRoom(t *testing.T, p *Protocol) {
	full := p.Small(t)
	f := p.start(t, full.Addr())
	var err error
	for n := 0; err == nil; n++ {
		var s dbtest.Session
		if s, err = f.Open(Context(t)); err == nil {
			t.Cleanup(func() { _ = s.Close() })
		}
		if n > 20 {
			t.Fatal("there is room for any number")
		}
	}
	if !strings.Contains(strings.ToLower(err.Error()), "too many") {
		t.Errorf("where there is no other: %v", err)
	}
	g := p.start(t, full.Addr(), p.Server(t).Addr())
	for range 6 {
		g.Connect()
	}
}

// testWrongPassword: the server's own error reaches the app, and the log says whose password it is. One that has been changed meanwhile is tried.
func testWrongPassword(t *testing.T, p *Protocol) {
	f := p.Start(t, p.usual(), 300*time.Millisecond, p.Server(t).Addr())
	f.World.Set("password", "wrong one")
	told(t, "with a wrong password", f, p.Denied)
	if log := f.Log.String(); !strings.Contains(log, "the environment's credentials") || strings.Contains(log, "wrong one") {
		t.Error("no hint in the log")
	}
	f.World.Set("password", dbtest.Password)
	f.Must("select 1")
}

// testNoDatabase: a database that is not at the server is the server's own error, and the log says whose name that is.
func testNoDatabase(t *testing.T, p *Protocol) {
	for name, hint := range map[string]string{"nowhere": "the environment's database", "": "the app asks for"} {
		f := p.Start(t, p.Config(func(c *resource.DatabaseFilter) { c.Login.Database = name }), 0, p.Server(t).Addr())
		_, err := f.Client("select 1")
		if log := f.Log.String(); err == nil || !strings.Contains(log, hint) {
			t.Errorf("database %q: %v; no hint in the log: %s", name, err, log)
		}
	}
}

// testRotation: a password that is changed while the proxy logs in with the old one is read again, once.
func testRotation(t *testing.T, p *Protocol) {
	f := p.start(t, p.Server(t).Addr())
	f.World.Set("password", Stale)
	f.PutWith(p.usual(), Rotating{World: f.World})
	f.Must("select 1")
	if !strings.Contains(f.Log.String(), "others are there by now") {
		t.Error("the old password was not tried")
	}
}

// testIdleTimeout: a session that is quiet is ended, and none that works.
func testIdleTimeout(t *testing.T, p *Protocol) {
	f := p.Start(t, p.Config(func(c *resource.DatabaseFilter) { c.Limits.IdleTimeout = 4 * time.Second }), 0, p.Server(t).Addr())
	conn := f.Connect()
	execute(t, conn, fmt.Sprintf(p.Statements.Sleep, 5))
	Eventually(t, "the session to end", func() bool { return f.Metric("closed_total", "idle_timeout") == 1 })
	p.ended(t, "a session that is quiet", conn, "select 1", p.Codes.Idle)
}
