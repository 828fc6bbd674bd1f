package mysql

import (
	"bytes"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"testing"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/internal/filtertest"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/mysqlproto"
	"github.com/dragoman-mesh/dragoman/pkg/netloop"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// scene is a filter on a loop without sockets: the test is client and server.
type scene struct {
	tb      testing.TB
	loop    *netloop.Loop
	filter  *Filter
	client  *netloop.Conn
	servers []*netloop.Conn
	heard   map[*netloop.Conn][]byte
	pieces  int // what is fed arrives in pieces of so many bytes; 0: as it is
}

func newScene(tb testing.TB, cfg *resource.MySQLFilter, pieces int) *scene {
	tb.Helper()
	s := &scene{tb: tb, loop: netloop.NewTestLoop(), pieces: pieces, heard: map[*netloop.Conn][]byte{}}
	w := filtertest.NewWorld(dbtest.NativeUser, "10.0.0.1:3306")
	s.loop.OnDial = func(c *netloop.Conn, _, _ string) { s.servers = append(s.servers, c) }
	n, err := NewBuilder(slog.New(slog.DiscardHandler)).Build(cfg, filters.Context{
		Listener: "test", Clusters: w, Secrets: w, Loops: func() []*netloop.Loop { return []*netloop.Loop{s.loop} },
	})
	if err != nil {
		tb.Fatal(err)
	}
	s.filter = n.(*Filter)
	s.client = s.join()
	return s
}

// join has a client connect.
func (s *scene) join() *netloop.Conn {
	c := s.loop.Pipe(nil, netloop.Downstream)
	c.SetDriver(s.filter.Accept(c))
	return c
}

// feed makes bytes arrive, in pieces.
func (s *scene) feed(c *netloop.Conn, b []byte) { filtertest.Feed(s.loop, c, b, s.pieces) }

// next is the next packet that the filter has sent; nil if there is none.
func (s *scene) next(c *netloop.Conn) []byte {
	s.tb.Helper()
	s.loop.Turn()
	s.heard[c] = append(s.heard[c], c.TakeOutput()...)
	_, payload, n, err := mysqlproto.ParsePacket(s.heard[c], mysqlproto.MaxHandshake)
	if err != nil {
		if len(s.heard[c]) > 0 {
			s.tb.Fatalf("%v in %q", err, s.heard[c])
		}
		return nil
	}
	s.heard[c] = s.heard[c][n:]
	return payload
}

// open takes the session through the login, and the settings if there are any.
func (s *scene) open() {
	s.tb.Helper()
	if len(s.servers) != 1 {
		s.tb.Fatalf("%d connections to servers", len(s.servers))
	}
	server := s.servers[0]
	s.feed(server, hello(s.tb, mysqlproto.LocalFiles))
	g, err := mysqlproto.ParseGreeting(s.next(s.client))
	if err != nil || bytes.Equal(g.Scramble, []byte("abcdefghijklmnopqrst")) || g.ServerVersion != "8.0.1" {
		s.tb.Fatalf("the client gets %+v, %v", g, err)
	}
	s.answer(s.client)
	r, _, err := mysqlproto.ParseHandshakeResponse(s.next(server))
	if err != nil || r.User != dbtest.NativeUser || r.Database != dbtest.Database ||
		!mysqlproto.CheckResponse(mysqlproto.PluginNative, dbtest.Password, []byte("abcdefghijklmnopqrst"), r.Auth) {
		s.tb.Fatalf("the server gets %+v, %v", r, err)
	}
	s.feed(server, okPacket(2, mysqlproto.StatusAutocommit))
	for s.next(server) != nil {
		s.feed(server, okPacket(1, mysqlproto.StatusAutocommit))
	}
	if b := s.next(s.client); len(b) == 0 || b[0] != 0 {
		s.tb.Fatalf("the client gets %q", b)
	}
}

// answer has a client answer the greeting.
func (s *scene) answer(c *netloop.Conn) {
	s.tb.Helper()
	r := mysqlproto.HandshakeResponse{Capabilities: bareCaps | mysqlproto.LocalFiles, User: "app", Auth: []byte("whatever"), AuthPlugin: mysqlproto.PluginNative, Database: "placeholder"}
	payload, err := r.AppendTo(nil)
	if err != nil {
		s.tb.Fatal(err)
	}
	s.feed(c, mysqlproto.AppendPacket(nil, 1, payload))
}

// commands of a script, by name.
func commandOf(name string) mysqlproto.Command {
	return map[string]mysqlproto.Command{
		"query": mysqlproto.ComQuery, "ping": mysqlproto.ComPing, "quit": mysqlproto.ComQuit, "reset": mysqlproto.ComResetConnection,
		"close": mysqlproto.ComStmtClose, "dump": mysqlproto.ComBinlogDump,
	}[name]
}

// script plays a filtertest.Script. Its texts are:
//
//	query select 1   a command; several that are sent are divided by " + "
//	data xyz         the content of a file
//	ok, ok tx        the answer of a server, without and with a transaction
//	err 1064         its error
//	file             it asks for a file
func (s *scene) script(lines string) {
	s.tb.Helper()
	play := filtertest.Script{Loop: s.loop, Filter: s.filter, Client: s.client, Server: s.servers[0], Pieces: s.pieces}
	play.Bytes = func(text string) (all []byte) {
		for part := range strings.SplitSeq(text, " + ") {
			all = append(all, packetOf(part)...)
		}
		return all
	}
	play.Next = func(c *netloop.Conn) (string, error) { return shown(s.next(c), c == s.servers[0]), nil }
	play.Play(s.tb, lines)
}

func packetOf(text string) []byte {
	name, arg, _ := strings.Cut(text, " ")
	switch name {
	case "ok":
		status := mysqlproto.StatusAutocommit
		if arg == "tx" {
			status |= mysqlproto.StatusInTransaction
		}
		return okPacket(1, status)
	case "err":
		errno, _ := strconv.Atoi(arg)
		return errorPacket(1, uint16(errno), mysqlproto.StateGeneral, "wrong")
	case "file":
		return mysqlproto.AppendPacket(nil, 1, []byte("\xfb/a"))
	case "data":
		return mysqlproto.AppendPacket(nil, 2, []byte(arg))
	}
	return mysqlproto.AppendPacket(nil, 0, append([]byte{byte(commandOf(name))}, arg...))
}

func shown(payload []byte, toServer bool) string {
	switch {
	case payload == nil:
		return ""
	case toServer:
		for _, name := range []string{"query", "ping", "quit", "reset", "close", "dump"} {
			if len(payload) > 0 && payload[0] == byte(commandOf(name)) {
				return strings.TrimSpace(name + " " + string(payload[1:]))
			}
		}
		return strings.TrimSpace("data " + string(payload))
	case payload[0] == 0xff:
		e, err := mysqlproto.ParseError(payload)
		if err != nil {
			return err.Error()
		}
		return fmt.Sprint("err ", e.Errno)
	case payload[0] == 0xfb:
		return "file"
	}
	ok, err := mysqlproto.ParseOK(payload)
	switch {
	case err != nil:
		return err.Error()
	case ok.Status&mysqlproto.StatusInTransaction != 0:
		return "ok tx"
	}
	return "ok"
}

// answerAll says OK to each command until there is none, and returns all that the
// server has got.
func (s *scene) answerAll() (got []byte) {
	server, at := s.servers[0], 0
	for {
		s.loop.Turn()
		got = append(got, server.TakeOutput()...)
		_, payload, n, err := mysqlproto.ParsePacket(got[at:], mysqlproto.MaxHandshake)
		if err != nil {
			return got
		}
		at += n
		switch c := mysqlproto.Command(payload[0]); c {
		case mysqlproto.ComQuit, mysqlproto.ComStmtClose, mysqlproto.ComStmtSendLongData:
		default:
			s.feed(server, okPacket(1, mysqlproto.StatusAutocommit))
		}
	}
}
