package filtertest

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/netloop"
)

// Script is what passes between a client, a filter and a server on a loop without sockets, where the test is client and server.
type Script struct {
	Loop           *netloop.Loop
	Filter         filters.Network
	Client, Server *netloop.Conn
	Pieces         int // what is sent arrives in pieces of so many bytes; 0: as it is
	// Bytes are what is sent for a text.
	Bytes func(text string) []byte
	// Next is the text of the next message that the filter has for a connection, "" if there is none.
	Next func(c *netloop.Conn) (text string, err error)
}

// Play does what lines say, one after the other:
//
//	c > TEXT             the client sends something
//	s < TEXT             the server gets it
//	s > TEXT, c < TEXT   and the other way
//	c <, s <             nothing comes
//	c closed, s closed   the filter has closed the connection
//	c end, s end         the peer hangs up
//	drain                the filter is retired, with a deadline of 10 s
//	wait 5s              time passes
func (s *Script) Play(tb testing.TB, lines string) {
	tb.Helper()
	for n, line := range strings.Split(strings.TrimSpace(lines), "\n") {
		line = strings.TrimSpace(line)
		who, what, _ := strings.Cut(line, " ")
		conn := map[string]*netloop.Conn{"c": s.Client, "s": s.Server}[who]
		verb, text, _ := strings.Cut(what, " ")
		switch {
		case who == "drain":
			s.Filter.Retire(filters.Retirement{Deadline: 10 * time.Second})
			s.Loop.Turn()
		case who == "wait":
			d, err := time.ParseDuration(what)
			if err != nil {
				tb.Fatal(err)
			}
			s.Loop.Advance(d)
		case verb == ">":
			Feed(s.Loop, conn, s.Bytes(text), s.Pieces)
		case verb == "end":
			conn.FeedEOF()
			s.Loop.Turn()
		case verb == "closed":
			conn.Feed(nil)
			if conn.Connected() {
				tb.Fatalf("line %d, %q: it is open", n+1, line)
			}
		case verb == "<":
			s.Loop.Turn()
			if got, err := s.Next(conn); err != nil || got != text {
				tb.Fatalf("line %d, %q: got %q, %v", n+1, line, got, err)
			}
		default:
			tb.Fatalf("line %d: %q is not understood", n+1, line)
		}
	}
}

// Feed makes bytes arrive, in pieces of so many; 0: as they are.
func Feed(l *netloop.Loop, c *netloop.Conn, b []byte, size int) {
	for ; size > 0 && len(b) > size; b = b[size:] {
		c.Feed(bytes.Clone(b[:size]))
	}
	c.Feed(bytes.Clone(b))
	l.Turn()
}
