package postgres

import (
	"bytes"
	"testing"

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
