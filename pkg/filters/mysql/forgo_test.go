package mysql

import (
	"crypto/tls"
	"testing"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/internal/filtertest"
	"github.com/dragoman-mesh/dragoman/pkg/mysqlproto"
)

// TestForgoneServer: a login that its session has given up for another server goes to its end as that first server wants it, without TLS here,
// though the other is spoken to with TLS.
func TestForgoneServer(t *testing.T) {
	t.Parallel()
	s := newScene(t, config(), 0)
	x := (*session)(s.client.Driver().(*greeter))
	x.Part.Cluster.(*filtertest.Cluster).Lead(&tls.Config{MinVersion: tls.VersionTLS12}, "10.0.0.2:3306")
	x.start.Again("another is better")
	s.connected("the session goes to another server", 2)
	s.feed(s.servers[0], hello(t, 0))
	r, wantsTLS, err := mysqlproto.ParseHandshakeResponse(s.next(s.servers[0]))
	if err != nil || wantsTLS || r.User != dbtest.NativeUser {
		t.Errorf("the first server gets %+v, TLS: %v, %v", r, wantsTLS, err)
	}
}

// TestForgoneLogins: somebody who knocks all the time has the proxy log in at a slow server a few times at once, and not more.
func TestForgoneLogins(t *testing.T) {
	t.Parallel()
	s := newScene(t, config(), 0)
	knock := func() (entering int) {
		from := len(s.servers)
		for range 2 * maxForgone {
			s.join().FeedEOF()
			s.loop.Turn()
		}
		for _, server := range s.servers[from:] {
			s.feed(server, hello(t, 0))
			if s.next(server) != nil {
				entering++
				defer s.feed(server, okPacket(2, mysqlproto.StatusAutocommit))
			}
		}
		return entering
	}
	for range 2 {
		if got := knock(); got != maxForgone {
			t.Errorf("%d logins are under way, want %d", got, maxForgone)
		}
	}
}
