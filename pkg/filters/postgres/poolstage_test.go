package postgres

import (
	"bytes"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/netloop"
	"github.com/dragoman-mesh/dragoman/pkg/pgproto"
)

// TestPoolCopyFailsAtASlowServer: a client that sends faster than its server takes
// is read from again when the server has given up the COPY and works for nobody.
func TestPoolCopyFailsAtASlowServer(t *testing.T) {
	t.Parallel()
	s := newStage(t, pooled("transaction", 1))
	s.feed(s.client, hello(t))
	server := s.servers[0]
	server.TakeOutput()
	s.feed(server, pgproto.AppendReadyForQuery(pgproto.AppendAuthentication(nil, pgproto.AuthOK, nil), pgproto.TxIdle))
	s.script("c > Q copy t from stdin\ns < Q copy t from stdin\ns > G \x00\x00\x01\x00\x00")
	server.StallOutput(true)
	row := pgproto.AppendMessage(nil, pgproto.TypeCopyData, bytes.Repeat([]byte("x"), 64<<10))
	for range 64 {
		s.feed(s.client, row)
	}
	if !s.client.Paused() {
		t.Fatal("the client is read from, although its server takes nothing")
	}
	s.feed(server, append(message("E 22P02"), pgproto.AppendReadyForQuery(nil, pgproto.TxIdle)...))
	s.feed(s.client, message("c"))
	server.StallOutput(false)
	s.loop.Turn()
	server.TakeOutput()
	s.client.TakeOutput()
	s.script(`
		c > Q select 1
		s < Q select 1
		s > C SELECT 1
		s > Z I
		c < C SELECT 1
		c < Z I`)
}

// TestPoolServerEndsDuringSettings: a server that ends while it is given a session's
// settings has done nothing for the session. If it was good before, the session goes
// on at another; else its client is told.
func TestPoolServerEndsDuringSettings(t *testing.T) {
	t.Parallel()
	begin := pgproto.Startup{Kind: pgproto.StartupMessage, Version: pgproto.Version30, Params: []pgproto.Param{{Name: "user", Value: "app"}, {Name: "application_name", Value: "one"}}}
	letIn := pgproto.AppendParameterStatus(pgproto.AppendAuthentication(nil, pgproto.AuthOK, nil), "application_name", "")
	letIn = pgproto.AppendReadyForQuery(letIn, pgproto.TxIdle)
	admitted := func(t *testing.T) *stage {
		s := newStage(t, pooled("transaction", 1))
		s.feed(s.client, startupPacket(t, begin))
		s.servers[0].TakeOutput()
		s.feed(s.servers[0], letIn)
		s.client.TakeOutput()
		return s
	}
	for name, bye := range map[string][]byte{"with a word": message("E 57P01"), "without": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := admitted(t)
			s.script("c > Q select 1\ns < Q SET application_name TO 'one';\nc <")
			s.feed(s.servers[0], bye)
			s.script("s end\nc < E 08006\nc closed")
		})
		t.Run(name+", that was good before", func(t *testing.T) {
			t.Parallel()
			s := admitted(t)
			s.script("c > Q select 0\ns < Q SET application_name TO 'one';")
			s.feed(s.servers[0], pgproto.AppendParameterStatus(nil, "application_name", "one"))
			s.script("s > C SET\ns > Z I\ns < Q select 0\ns > C SELECT 1\ns > Z I\nc < C SELECT 1\nc < Z I")
			other := s.loop.Pipe(nil, netloop.Downstream)
			other.SetDriver(s.filter.Accept(other))
			first := s.client
			s.client = other
			s.feed(other, hello(t))
			other.TakeOutput()
			s.script("c > Q select 2\ns < Q SET application_name TO '';\nc <")
			s.feed(s.servers[0], bye)
			s.script("s end\nc <")
			if len(s.servers) != 2 {
				t.Fatalf("%d connections to servers", len(s.servers))
			}
			s.servers[1].TakeOutput()
			s.feed(s.servers[1], letIn)
			s.script("s < Q select 2\ns > C SELECT 1\ns > Z I\nc < C SELECT 1\nc < Z I")
			s.client = first
			s.script("c <")
		})
	}
}

// begin takes the stage of a pool through the login of a client, and of the first
// connection to a server. It returns what the client is told.
func (s *stage) begin(packet []byte) (told []byte) {
	s.tb.Helper()
	s.feed(s.client, packet)
	s.letIn()
	return s.client.TakeOutput()
}

// letIn is the latest server's answer to the login.
func (s *stage) letIn() {
	s.tb.Helper()
	server := s.servers[len(s.servers)-1]
	server.TakeOutput()
	b := pgproto.AppendParameterStatus(pgproto.AppendAuthentication(nil, pgproto.AuthOK, nil), "application_name", "")
	s.feed(server, pgproto.AppendReadyForQuery(b, pgproto.TxIdle))
}

// join has another client take the stage, which is let in with what is known.
func (s *stage) join(packet []byte) (told []byte) {
	s.tb.Helper()
	s.client = s.loop.Pipe(nil, netloop.Downstream)
	s.client.SetDriver(s.filter.Accept(s.client))
	s.feed(s.client, packet)
	return s.client.TakeOutput()
}

// cancel makes a request to cancel arrive, with the key that a client was told.
func (s *stage) cancel(told []byte) {
	s.tb.Helper()
	for len(told) > 0 {
		typ, payload, n, err := pgproto.ParseMessage(told, limits())
		if err != nil {
			s.tb.Fatal(err)
		}
		if told = told[n:]; typ != pgproto.TypeBackendKeyData {
			continue
		}
		pid, key, err := pgproto.ParseBackendKeyData(payload)
		if err != nil {
			s.tb.Fatal(err)
		}
		c := s.loop.Pipe(nil, netloop.Downstream)
		c.SetDriver(s.filter.Accept(c))
		s.feed(c, startupPacket(s.tb, pgproto.Startup{Kind: pgproto.CancelRequest, PID: pid, Key: key}))
		return
	}
	s.tb.Fatal("no key was told")
}

// TestPoolCancelWhileSetting: what is cancelled while its connection is given the
// session's settings is not begun, and the connection serves others.
func TestPoolCancelWhileSetting(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ ask, answer string }{
		"a query":    {"c > Q select 1", "c < E 57014\nc < Z I"},
		"a pipeline": {"c > P one\nc > E\nc > S", "c < E 57014"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, pooled("transaction", 1))
			told := s.begin(startupPacket(t, pgproto.Startup{Kind: pgproto.StartupMessage, Version: pgproto.Version30, Params: []pgproto.Param{{Name: "user", Value: "app"}, {Name: "application_name", Value: "one"}}}))
			s.script(tc.ask + "\ns < Q SET application_name TO 'one';")
			s.cancel(told)
			s.script("c <")
			s.feed(s.servers[0], pgproto.AppendParameterStatus(nil, "application_name", "one"))
			s.script("s > C SET\ns > Z I\n" + tc.answer)
			if name == "a pipeline" {
				s.script("s < S\ns > Z I\nc < Z I")
			}
			s.join(hello(t))
			s.script("c > Q select 2\ns < Q SET application_name TO '';")
		})
	}
}

// TestPoolRetiredWhileWaiting: who waits for a connection of a pool that is over is
// told so at once.
func TestPoolRetiredWhileWaiting(t *testing.T) {
	t.Parallel()
	s := newStage(t, pooled("transaction", 1))
	s.begin(hello(t))
	s.script("c > Q begin\ns < Q begin\ns > C BEGIN\ns > Z T")
	s.join(hello(t))
	s.script("c > Q select 1\nc <\ndrain\nc < E 57P01\nc closed")
}

// TestPoolOfThreeLoops: a loop that has no connection gets one that another does not
// use, though the loop that was asked first has none to give.
func TestPoolOfThreeLoops(t *testing.T) {
	t.Parallel()
	for range 10 { // who is asked first is left to chance
		stages := []*stage{newStage(t, pooled("transaction", 2)), newStage(t, pooled("transaction", 2)), newStage(t, pooled("transaction", 2))}
		for _, s := range stages[1:] { // loops of one filter
			s.client.Close()
			s.filter = stages[0].filter
			s.client = s.loop.Pipe(nil, netloop.Downstream)
			s.client.SetDriver(s.filter.Accept(s.client))
		}
		keeps, idle, late := stages[0], stages[1], stages[2]
		keeps.begin(hello(t))
		keeps.script("c > Q listen x\ns < Q listen x\ns > C LISTEN\ns > Z I\nc < C LISTEN\nc < Z I")
		idle.feed(idle.client, hello(t)) // what servers say is known
		idle.feed(idle.client, message("Q select 1"))
		idle.letIn()
		idle.script("s < Q select 1\ns > C SELECT 1\ns > Z I")
		late.feed(late.client, hello(t))
		late.client.TakeOutput()
		late.feed(late.client, message("Q select 1"))
		for range 5 {
			for _, s := range stages {
				s.loop.Turn()
				s.loop.Advance(time.Second)
			}
		}
		if len(late.servers) != 1 {
			t.Fatalf("%d connections were begun", len(late.servers))
		}
	}
}
