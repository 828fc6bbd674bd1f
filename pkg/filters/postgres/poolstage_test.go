package postgres

import (
	"bytes"
	"testing"

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
	for name, bye := range map[string][]byte{"with a word": message("E 57P01"), "without": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, pooled("transaction", 1))
			s.feed(s.client, startupPacket(t, begin))
			s.servers[0].TakeOutput()
			s.feed(s.servers[0], letIn)
			s.client.TakeOutput()
			s.script("c > Q select 1\ns < Q SET application_name TO 'one';\nc <")
			s.feed(s.servers[0], bye)
			s.script("s end\nc < E 08006\nc closed")
		})
		t.Run(name+", that was good before", func(t *testing.T) {
			t.Parallel()
			s := newStage(t, pooled("transaction", 1))
			s.feed(s.client, startupPacket(t, begin))
			s.servers[0].TakeOutput()
			s.feed(s.servers[0], letIn)
			s.client.TakeOutput()
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
