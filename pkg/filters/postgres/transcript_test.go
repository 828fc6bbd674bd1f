package postgres

import (
	"bytes"
	"testing"

	"github.com/dragoman-mesh/dragoman/pkg/netloop"
	"github.com/dragoman-mesh/dragoman/pkg/pgproto"
)

// TestTranscripts: what passes between a client, the filter and a server, with
// everything that is sent in one piece, and in small ones.
func TestTranscripts(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]string{
		"a query": `
			c > Q select 1
			s < Q select 1
			s > T columns
			s > D 1
			s > C SELECT 1
			s > Z I
			c < T columns
			c < D 1
			c < C SELECT 1
			c < Z I
			c > X
			s < X
			s end
			c closed`,
		"drained when idle": `
			drain
			c < E 57P01
			c closed
			s < X
			s closed`,
		"drained behind the answer": `
			c > Q select 1
			s < Q select 1
			drain
			c <
			s > C SELECT 1
			s > Z I
			c < C SELECT 1
			c < Z I
			c < E 57P01
			c closed
			s < X`,
		"drained behind the transaction": `
			c > Q begin
			s < Q begin
			s > Z T
			c < Z T
			drain
			c <
			c > Q insert
			s < Q insert
			s > Z T
			c < Z T
			c > Q commit
			s < Q commit
			s > Z I
			c < Z I
			c < E 57P01
			c closed`,
		"what is sent ahead is not begun": `
			c > Q select 1
			s < Q select 1
			drain
			c > Q select 2
			c > Q select 3
			s > Z I
			c < Z I
			s < Q select 2
			s > Z I
			c < Z I
			c < E 57P01
			s < X
			c closed`,
		"a pipeline comes to its Sync": `
			c > P one
			s < P one
			drain
			c > B one
			c > E one
			c > S
			s < B one
			s < E one
			s < S
			s > 1
			s > 2
			s > C SELECT 1
			s > Z I
			c < 1
			c < 2
			c < C SELECT 1
			c < Z I
			c < E 57P01`,
		"COPY that has begun comes to its end": `
			c > Q copy t from stdin
			s < Q copy t from stdin
			drain
			s > G 0
			c < G 0
			c > d row
			c > c
			s < d row
			s < c
			s > C COPY 1
			s > Z I
			c < C COPY 1
			c < Z I
			c < E 57P01`,
		"the deadline": `
			c > Q begin
			s < Q begin
			s > Z T
			c < Z T
			drain
			wait 9s
			c <
			wait 2s
			c < E 57P01
			c closed
			s closed`,
		"the server goes": `
			c > Q select 1
			s < Q select 1
			s end
			c < E 08006
			c closed
			s closed`,
		"the server says why it goes": `
			s > E 57P01
			s end
			c < E 57P01
			c <
			c closed`,
		"the client says goodbye before it is answered": `
			c > Q insert
			c > X
			c end
			c closed
			s < Q insert
			s < X
			s > C INSERT 0 1
			s > Z I
			s end
			s closed`,
		"the client goes": `
			c > Q begin
			s < Q begin
			s > Z T
			c < Z T
			c end
			s < X
			c closed`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, pieces := range []int{0, 1, 3} {
				s := newStage(t, config())
				s.pieces = pieces
				s.open()
				s.script(script)
			}
		})
	}
}

// TestCutInTheMiddle: where the client is in the middle of a message, no error of
// ours is put there.
func TestCutInTheMiddle(t *testing.T) {
	t.Parallel()
	s := newStage(t, config())
	s.open()
	s.script("c > Q select 1\ns < Q select 1")
	half := message("D a long row")[:9]
	s.feed(s.servers[0], half)
	s.servers[0].FeedEOF()
	s.loop.Turn()
	if got := string(s.client.TakeOutput()); got != string(half) || s.client.Connected() {
		t.Errorf("the client gets %q", got)
	}
}

// TestVersions: later versions of the protocol and their keys of many bytes are
// passed on, and what the server makes of them too.
func TestVersions(t *testing.T) {
	t.Parallel()
	s := newStage(t, config())
	s.feed(s.client, startupPacket(t, pgproto.Startup{
		Kind: pgproto.StartupMessage, Version: pgproto.Version32,
		Params: []pgproto.Param{{Name: "user", Value: "app"}, {Name: "_pq_.later", Value: "1"}},
	}))
	server := s.servers[0]
	packet, _, err := pgproto.ParseStartup(server.TakeOutput(), limits())
	if later, _ := packet.Get("_pq_.later"); err != nil || packet.Version != pgproto.Version32 || later != "1" {
		t.Errorf("the server gets %+v, %v", packet, err)
	}
	b := pgproto.AppendNegotiateProtocolVersion(nil, pgproto.Version30, []string{"_pq_.later"})
	b = pgproto.AppendAuthentication(b, pgproto.AuthOK, nil)
	key := bytes.Repeat([]byte("k"), 256) // the most that there is
	b = pgproto.AppendBackendKeyData(b, 9, key)
	s.feed(server, b)
	if got := s.client.TakeOutput(); string(got) != string(b) {
		t.Errorf("the client gets %q", got)
	}
	if _, _, ok := s.builder.cancels.find(cancelID{9, string(key)}); !ok {
		t.Error("the key is not known")
	}
	c := s.loop.Pipe(nil, netloop.Downstream)
	c.SetDriver(s.filter.Accept(c))
	request := startupPacket(t, pgproto.Startup{Kind: pgproto.CancelRequest, PID: 9, Key: key})
	s.feed(c, request)
	if got := s.servers[len(s.servers)-1].TakeOutput(); len(s.servers) != 2 || !bytes.Equal(got, request) {
		t.Errorf("the server is asked to cancel with %q", got)
	}
}

// TestPoolVersions: a pool speaks version 3.0 to servers, whoever comes first.
func TestPoolVersions(t *testing.T) {
	t.Parallel()
	s := newStage(t, pooled("transaction", 1))
	s.feed(s.client, startupPacket(t, pgproto.Startup{
		Kind: pgproto.StartupMessage, Version: pgproto.Version32,
		Params: []pgproto.Param{{Name: "user", Value: "app"}, {Name: "_pq_.later", Value: "1"}},
	}))
	server := s.servers[0]
	packet, _, err := pgproto.ParseStartup(server.TakeOutput(), limits())
	if _, asked := packet.Get("_pq_.later"); err != nil || asked || packet.Version != pgproto.Version30 {
		t.Errorf("the server gets %+v, %v", packet, err)
	}
	s.feed(server, pgproto.AppendReadyForQuery(pgproto.AppendAuthentication(nil, pgproto.AuthOK, nil), pgproto.TxIdle))
	typ, payload, _, err := pgproto.ParseMessage(s.client.TakeOutput(), limits())
	newest, unknown, _ := pgproto.ParseNegotiateProtocolVersion(payload)
	if err != nil || typ != pgproto.TypeNegotiateProtocolVersion || newest != pgproto.Version32 || len(unknown) != 1 {
		t.Errorf("the client gets %q %q, %v", typ, payload, err)
	}
}

// FuzzStartup: whatever a client and a server say, in whatever pieces, the filter
// neither panics nor holds on to what is over.
func FuzzStartup(f *testing.F) {
	f.Add(hello(f), []byte("R\x00\x00\x00\x08\x00\x00\x00\x00Z\x00\x00\x00\x05I"), byte(3), false)
	f.Add([]byte("\x00\x00\x00\x08\x04\xd2\x16\x2f"), []byte("N"), byte(0), true)
	f.Add(append(hello(f), message("Q select 1")...), append(pgproto.AppendAuthentication(nil, pgproto.AuthMD5, []byte("salt")), 'E', 0, 0, 0, 4), byte(1), false)
	f.Fuzz(func(t *testing.T, client, server []byte, pieces byte, auth bool) {
		cfg := config()
		if auth {
			cfg = withAppAuth(cfg)
		}
		s := newStage(t, cfg)
		s.pieces = int(pieces)
		s.world.Set("app", "x")
		s.feed(s.client, client)
		if len(s.servers) > 0 {
			s.feed(s.servers[0], server)
		}
		s.client.FeedEOF()
		s.loop.Turn()
		for _, c := range s.servers {
			c.FeedEOF()
		}
		s.loop.Advance(s.builder.startLimit * 3)
		if n := s.filter.Open(); n != 0 {
			t.Errorf("%d sessions are left", n)
		}
		if n := len(s.builder.cancels.byID); n != 0 {
			t.Errorf("%d keys are left", n)
		}
	})
}
