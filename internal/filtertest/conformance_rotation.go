package filtertest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// testRotationInStorm: a password is rotated while many clients connect. None is refused, whichever of server and file is the first to have the new one, and the
// server does not see one wrong password of each, for which it might lock the user out.
func testRotationInStorm(t *testing.T, p *Protocol) {
	const clients, atOnce, connecting = 200, 80, 8
	for _, order := range []string{"the server first", "the file first", "user and password one by one"} {
		t.Run(order, func(t *testing.T) {
			t.Parallel()
			server := p.Server(t)
			f := p.Start(t, p.Config(func(c *resource.DatabaseFilter) {
				c.Limits = resource.DatabaseLimits{MaxSessions: atOnce, MaxWaiting: clients, MaxWait: 50 * time.Second, MaxConnecting: connecting}
			}), 40*time.Second, server.Addr())
			change := func() { server.SQL(fmt.Sprintf(p.Statements.Password, "rotated")) }
			then := func() { f.World.Set("password", "rotated") }
			switch order {
			case "the server first":
				change()
			case "the file first":
				f.World.Set("password", "rotated")
				then = change
			default:
				f.World.Set("user", "u_nobody")
				then = func() { f.World.Set("user", p.User) }
			}
			before := p.Refusals(server)
			var wg sync.WaitGroup
			for i := range clients {
				wg.Go(func() {
					if err := visit(f); err != nil {
						t.Errorf("client %d: %v", i, err)
					}
				})
			}
			Eventually(t, "a login to be refused", func() bool { return p.Refusals(server) > before })
			Eventually(t, "sessions to wait", func() bool { return f.Metric("downstream_connections") >= atOnce })
			then()
			wg.Wait()
			if n := p.Refusals(server) - before; n > atOnce/2 {
				t.Errorf("the server has refused %d logins", n)
			}
			Eventually(t, "all sessions to end", func() bool { return f.Metric("downstream_connections") == 0 })
		})
	}
}

// testRotationBeforeTurn: who waits for its turn to connect logs in with the credentials that are there when it comes.
func testRotationBeforeTurn(t *testing.T, p *Protocol) {
	const clients = 10
	server := p.Server(t)
	f := p.Start(t, p.Config(func(c *resource.DatabaseFilter) {
		c.Limits = resource.DatabaseLimits{MaxSessions: clients, MaxWaiting: clients, MaxWait: 50 * time.Second, MaxConnecting: 1}
	}), 40*time.Second, server.Addr())
	f.World.Set("user", "u_nobody")
	before := p.Refusals(server)
	server.Freeze()
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			if err := visit(f); err != nil {
				t.Errorf("client %d: %v", i, err)
			}
		})
	}
	Eventually(t, "all to wait", func() bool { return f.Metric("downstream_connections") == clients })
	f.World.Set("user", p.User)
	server.Thaw()
	wg.Wait()
	if n := p.Refusals(server) - before; n > 1 {
		t.Errorf("the server has refused %d logins, want one at the most: that which had begun", n)
	}
}

// visit opens a session, asks for something and ends it.
func visit(f *Fixture) error {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	s, err := f.Open(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	var v string
	if v, err = s.Value(ctx, "select 1"); err == nil && v != "1" {
		err = fmt.Errorf("1 is %q", v)
	}
	return err
}
