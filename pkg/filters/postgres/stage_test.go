package postgres

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/internal/filtertest"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/netloop"
	"github.com/dragoman-mesh/dragoman/pkg/pgproto"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// stage is a filter on a loop without sockets: the test is client and server.
type stage struct {
	tb      testing.TB
	loop    *netloop.Loop
	filter  *Filter
	builder *Builder
	world   *filtertest.World
	client  *netloop.Conn
	servers []*netloop.Conn
	pieces  int // what is fed arrives in pieces of so many bytes; 0: as it is
}

func newStage(tb testing.TB, cfg *resource.PostgresFilter) *stage {
	tb.Helper()
	s := &stage{tb: tb, loop: netloop.NewTestLoop()}
	s.world = filtertest.NewWorld(dbtest.MD5User, "10.0.0.1:5432")
	s.builder = NewBuilder(slog.New(slog.DiscardHandler))
	s.loop.OnDial = func(c *netloop.Conn, _, _ string) { s.servers = append(s.servers, c) }
	s.filter = s.build(cfg)
	s.client = s.loop.Pipe(nil, netloop.Downstream)
	s.client.SetDriver(s.filter.Accept(s.client))
	return s
}

func (s *stage) build(cfg *resource.PostgresFilter) *Filter {
	s.tb.Helper()
	n, err := s.builder.Build(cfg, filters.Context{
		Listener: "test", Clusters: s.world, Secrets: s.world, Loops: func() []*netloop.Loop { return []*netloop.Loop{s.loop} },
	})
	if err != nil {
		s.tb.Fatal(err)
	}
	return n.(*Filter)
}

// feed makes bytes arrive, in pieces.
func (s *stage) feed(c *netloop.Conn, b []byte) { filtertest.Feed(s.loop, c, b, s.pieces) }

// script plays a filtertest.Script, on a session that is open, with the latest
// server. Its texts are messages: a type, and the payload, which ends with a zero
// byte where the type's does; an error is shown by its SQLSTATE, as in "E 57P01".
func (s *stage) script(lines string) {
	s.tb.Helper()
	heard := map[*netloop.Conn][]byte{}
	play := filtertest.Script{Loop: s.loop, Filter: s.filter, Client: s.client, Server: s.servers[len(s.servers)-1], Pieces: s.pieces, Bytes: message}
	play.Next = func(c *netloop.Conn) (string, error) {
		heard[c] = append(heard[c], c.TakeOutput()...)
		if len(heard[c]) == 0 {
			return "", nil
		}
		typ, payload, size, err := pgproto.ParseMessage(heard[c], limits())
		if err != nil {
			return "", fmt.Errorf("%w in %q", err, heard[c])
		}
		heard[c] = heard[c][size:]
		return shown(typ, payload), nil
	}
	play.Play(s.tb, lines)
}

// message makes one of a line.
func message(line string) []byte {
	typ, text, _ := strings.Cut(line, " ")
	switch {
	case typ == "E" && len(text) == 5:
		return fatal(text, "x", "")
	case strings.Contains("QPBDCE", typ):
		text += "\x00"
	}
	return pgproto.AppendMessage(nil, typ[0], []byte(text))
}

// shown is the line of a message.
func shown(typ byte, payload []byte) string {
	text := strings.TrimRight(string(payload), "\x00")
	if state := pgproto.NoticeState(payload); typ == pgproto.TypeErrorResponse && state != nil {
		text = string(state)
	}
	return strings.TrimSpace(fmt.Sprintf("%c %s", typ, text))
}

// open takes the stage through the login, by MD5.
func (s *stage) open() {
	s.tb.Helper()
	s.feed(s.client, hello(s.tb))
	if len(s.servers) != 1 {
		s.tb.Fatalf("%d connections to servers", len(s.servers))
	}
	server := s.servers[0]
	packet, _, err := pgproto.ParseStartup(server.TakeOutput(), limits())
	if err != nil || packet.User() != dbtest.MD5User || packet.Database() != dbtest.Database {
		s.tb.Fatalf("the server gets %+v, %v", packet, err)
	}
	s.feed(server, pgproto.AppendAuthentication(nil, pgproto.AuthMD5, []byte("salt")))
	_, payload, _, err := pgproto.ParseMessage(server.TakeOutput(), limits())
	if got, _ := pgproto.ParsePassword(payload); err != nil || got != pgproto.MD5Password(dbtest.MD5User, dbtest.Password, []byte("salt")) {
		s.tb.Fatalf("the server gets the password %q, %v", got, err)
	}
	b := pgproto.AppendAuthentication(nil, pgproto.AuthOK, nil)
	b = pgproto.AppendBackendKeyData(b, 7, []byte("keys"))
	s.feed(server, pgproto.AppendReadyForQuery(b, pgproto.TxIdle))
	if got := s.client.TakeOutput(); !bytes.Equal(got, pgproto.AppendReadyForQuery(b, pgproto.TxIdle)) {
		s.tb.Fatalf("the client gets %q", got)
	}
}

// withAppAuth asks apps for the password "app", by MD5.
func withAppAuth(cfg *resource.PostgresFilter) *resource.PostgresFilter {
	cfg.AppAuth = &resource.AppAuth{Password: resource.SecretKey{Name: "app"}}
	cfg.AppAuthMethod = resource.PostgresMD5
	return cfg
}
