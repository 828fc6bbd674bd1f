package mysql

import (
	"strings"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/mysqlproto"
	"github.com/dragoman-mesh/dragoman/pkg/netloop"
)

// crowd is a scene where one connects at a time, and has time.
func crowd(t *testing.T) *scene {
	t.Helper()
	cfg := config()
	cfg.Limits.MaxConnecting = 1
	s := newScene(t, cfg, 0)
	t.Cleanup(func() {
		if !t.Failed() && s.filter.b.Dials.Open() != 0 {
			t.Errorf("%d turns to connect are not given back", s.filter.b.Dials.Open())
		}
	})
	return s
}

// connected says how many connections to the server have been begun.
func (s *scene) connected(what string, want int) {
	s.tb.Helper()
	s.loop.Turn()
	if got := len(s.servers); got != want {
		s.tb.Fatalf("%s: %d connections to the server, want %d", what, got, want)
	}
}

// greets has a server greet, and looks whether the client hears it.
func (s *scene) greets(server int, client *netloop.Conn) {
	s.tb.Helper()
	s.feed(s.servers[server], hello(s.tb, mysqlproto.LocalFiles))
	if s.next(client) == nil {
		s.tb.Fatal("the client is not greeted")
	}
}

// entering looks whether a client's login is on its way to the server.
func (s *scene) entering(what string, server int, want bool) {
	s.tb.Helper()
	if got := s.next(s.servers[server]) != nil; got != want {
		s.tb.Fatalf("%s: the login has got to the server: %v, want %v", what, got, want)
	}
}

// lets has a server let a client in.
func (s *scene) lets(server int, client *netloop.Conn) {
	s.tb.Helper()
	s.feed(s.servers[server], okPacket(2, mysqlproto.StatusAutocommit))
	if b := s.next(client); len(b) == 0 || b[0] != 0 {
		s.tb.Fatalf("the client gets %q", b)
	}
}

// TestTurnUntilLogin: limits.maxConnecting counts logins until the server lets them in, not connections that it greets.
func TestTurnUntilLogin(t *testing.T) {
	t.Parallel()
	s := crowd(t)
	first, second := s.client, s.join()
	s.greets(0, first)
	s.connected("the first is greeted", 1)
	s.answer(first)
	s.entering("the first has answered", 0, true)
	s.connected("the first logs in", 1)
	s.lets(0, first)
	s.connected("the first is in", 2)
	s.feed(s.servers[1], hello(t, mysqlproto.LocalFiles))
	second.FeedEOF() // without an answer
	s.connected("the second is gone", 2)
}

// TestTurnOfASlowClient: one that does not answer the greeting keeps nobody from the server. When it does, it waits for others that log in at that
// moment, and goes before those who have not begun.
func TestTurnOfASlowClient(t *testing.T) {
	t.Parallel()
	s := crowd(t)
	slow, quick := s.client, s.join()
	s.greets(0, slow)
	s.loop.Advance(config().Limits.MaxWait + time.Second) // its own time, and none of its waiting
	s.connected("one is slow", 2)
	late := s.join()
	s.greets(1, quick)
	s.answer(quick)
	s.entering("the quick one has answered", 1, true)
	s.answer(slow)
	s.entering("the quick one logs in", 0, false)
	s.loop.Advance(config().Limits.MaxWait - time.Second)
	s.entering("the quick one still does", 0, false)
	s.lets(1, quick)
	s.entering("it is the slow one's turn", 0, true)
	s.connected("it is the slow one's turn", 2)
	s.lets(0, slow)
	s.connected("it is the late one's turn", 3)
	late.FeedEOF()
	s.loop.Turn()
}

// TestTurnWaitedFor: a slow client waits for limits.maxWait, and no longer.
func TestTurnWaitedFor(t *testing.T) {
	t.Parallel()
	s := crowd(t)
	slow, quick := s.client, s.join()
	s.greets(0, slow)
	s.loop.Advance(time.Second)
	s.greets(1, quick)
	s.answer(quick)
	s.answer(slow)
	s.loop.Advance(config().Limits.MaxWait + time.Second)
	if b := s.next(slow); len(b) == 0 || b[0] != 0xff || !strings.Contains(string(b), "limits.maxConnecting") {
		t.Errorf("the slow client gets %q", b)
	}
	s.entering("the quick one logs in", 1, true)
	s.lets(1, quick)
}

// TestTurnOfOneWhoLeaves: a client that goes, and a server that does, while a login waits for its second turn.
func TestTurnOfOneWhoLeaves(t *testing.T) {
	t.Parallel()
	for name, leave := range map[string]func(s *scene){
		"the client": func(s *scene) { s.client.FeedEOF() },
		"the server": func(s *scene) { s.servers[0].FeedEOF() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := crowd(t)
			quick := s.join()
			s.greets(0, s.client)
			s.loop.Advance(time.Second)
			s.greets(1, quick)
			s.answer(quick)
			s.answer(s.client)
			leave(s)
			s.loop.Turn()
			if got := s.filter.b.Dials.Open(); got != 1 {
				t.Errorf("%d turns, want that of the other", got)
			}
			s.entering("the other logs in", 1, true)
			s.lets(1, quick)
		})
	}
}

// TestSettingsWithoutAnswer: a server that has let the proxy in, and then says nothing to the settings of the document, is not waited for for ever.
func TestSettingsWithoutAnswer(t *testing.T) {
	t.Parallel()
	timeout := 2 * time.Second
	cfg := config()
	cfg.StatementTimeout = &timeout
	s := newScene(t, cfg, 0)
	s.greets(0, s.client)
	s.answer(s.client)
	s.entering("the client has answered", 0, true)
	s.feed(s.servers[0], okPacket(2, mysqlproto.StatusAutocommit))
	s.entering("a setting", 0, true)
	s.loop.Advance(time.Minute)
	if b := s.next(s.client); len(b) == 0 || b[0] != 0xff || !strings.Contains(string(b), "does not answer") {
		t.Errorf("the client gets %q", b)
	}
}
