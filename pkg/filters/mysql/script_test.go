package mysql

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/mysqlproto"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// TestScripts: where a session is ended and where not, in whatever pieces bytes
// arrive.
func TestScripts(t *testing.T) {
	t.Parallel()
	timeout := 2 * time.Second
	withTimeout := config()
	withTimeout.StatementTimeout = &timeout
	tests := []struct {
		name, script string
		cfg          *resource.MySQLFilter
	}{
		{"an idle session is ended at once", `
			drain
			c < err 1053
			s < quit
			c closed
			s closed`, nil},
		{"a transaction comes to its end", `
			c > query begin
			s < query begin
			s > ok tx
			c < ok tx
			drain
			c <
			c > query commit
			s < query commit
			s > ok
			c < ok
			c < err 1053
			s < quit
			c closed`, nil},
		{"what is sent ahead of the drain is answered, what comes later is not begun", `
			c > query a + query b
			s < query a
			s < query b
			drain
			c > query c
			s <
			s > ok
			c < ok
			s <
			s > ok
			c < ok
			c < err 1053
			s < quit
			c > query d
			s <
			wait 6s
			c closed`, nil},
		{"after an error the server is asked", `
			c > query begin
			s < query begin
			s > ok tx
			c < ok tx
			c > query selec
			s < query selec
			s > err 1064
			c < err 1064
			drain
			s < ping
			c > query commit
			s <
			s > ok tx
			c <
			s < query commit
			s > ok
			c < ok
			c < err 1053`, nil},
		{"after an error outside of a transaction", `
			c > query selec
			s < query selec
			s > err 1064
			c < err 1064
			drain
			s < ping
			c > query next
			s > ok
			c < err 1053
			s < quit
			c closed`, nil},
		{"an upload comes to its end", `
			c > query load
			s < query load
			s > file
			c < file
			c > data one
			s < data one
			drain
			c > data two + data
			s < data two
			s < data
			c <
			s > ok
			c < ok
			c < err 1053`, nil},
		{"an upload that the server ends with an error comes to its end", `
			c > query load
			s < query load
			s > file
			c < file
			drain
			s > err 1148
			c < err 1148
			c > data one
			s < data one
			c > data
			s < data
			s < ping
			s > ok
			c < err 1053
			s < quit
			c closed`, nil},
		{"a client that goes in the middle of an upload", `
			c > query load
			s < query load
			s > file
			c < file
			c > data one
			s < data one
			c end
			s <
			s closed`, nil},
		{"the deadline", `
			c > query begin
			s < query begin
			s > ok tx
			c < ok tx
			drain
			wait 11s
			c < err 1053
			c closed
			s closed`, nil},
		{"settings are made again", `
			c > reset + query a
			s < reset
			s <
			s > ok
			c < ok
			s < query SET SESSION max_execution_time=2000
			s > ok
			c <
			s < query a
			s > ok
			c < ok`, withTimeout},
		{"settings are refused", `
			c > reset
			s < reset
			s > ok
			c < ok
			s < query SET SESSION max_execution_time=2000
			s > err 1193
			c < err 1193
			c closed
			s closed`, withTimeout},
		{"a drain in the middle of settings", `
			c > reset
			s < reset
			s > ok
			c < ok
			s < query SET SESSION max_execution_time=2000
			drain
			c <
			s > ok
			c < err 1053
			s < quit`, withTimeout},
		{"a command of ours waits for those before it", `
			c > query a + close 1 + dump x + query b
			s < query a
			s < close 1
			c <
			s > ok
			c < ok
			c < err 1235
			s < query b
			s > ok
			c < ok`, nil},
		{"a command of ours behind one without an answer", `
			c > close 1 + dump x + query b
			s < close 1
			c < err 1235
			s < query b`, nil},
		{"goodbye", `
			c > query a + quit
			s < query a
			s < quit
			c end
			s > ok
			s end
			s closed`, nil},
		{"the server's last words", `
			s > err 1927
			c < err 1927
			s end
			c closed`, nil},
		{"the server goes", `
			c > query a
			s < query a
			s end
			c < err 1053
			c closed`, nil},
	}
	for _, tc := range tests {
		for _, pieces := range []int{0, 1, 3} {
			t.Run(fmt.Sprint(tc.name, ", pieces of ", pieces), func(t *testing.T) {
				t.Parallel()
				cfg := tc.cfg
				if cfg == nil {
					cfg = config()
				}
				s := newScene(t, cfg, pieces)
				s.open()
				s.script(tc.script)
			})
		}
	}
}

// TestKeysBesideTheLoop logs in by a method that needs some milliseconds of computing.
func TestKeysBesideTheLoop(t *testing.T) {
	t.Parallel()
	s := newScene(t, config(), 0)
	server := s.servers[0]
	s.feed(server, hello(t, 0))
	s.next(s.client)
	answer := mysqlproto.HandshakeResponse{Capabilities: bareCaps, User: "app", AuthPlugin: mysqlproto.PluginNative}
	payload, err := answer.AppendTo(nil)
	if err != nil {
		t.Fatal(err)
	}
	s.feed(s.client, mysqlproto.AppendPacket(nil, 1, payload))
	s.next(server)
	wish := mysqlproto.AuthSwitch{Plugin: mysqlproto.PluginParsec, Data: bytes.Repeat([]byte{7}, 32)}
	s.feed(server, mysqlproto.AppendPacket(nil, 2, wish.AppendTo(nil)))
	if b := s.next(server); len(b) != 0 {
		t.Fatalf("the server gets %q", b)
	}
	s.feed(server, mysqlproto.AppendPacket(nil, 4, append([]byte("\x01P\x00"), bytes.Repeat([]byte{1}, 18)...)))
	var signed []byte
	eventually(t, "the signature", func() bool { signed = s.next(server); return signed != nil })
	if len(signed) != 32+64 {
		t.Errorf("the server gets %d bytes", len(signed))
	}
	s.feed(server, okPacket(6, mysqlproto.StatusAutocommit))
	eventually(t, "the client to be let in", func() bool { return bytes.HasPrefix(s.next(s.client), []byte{0}) })
}

// FuzzPieces: what becomes of what a client says does not depend on the pieces in
// which it arrives.
func FuzzPieces(f *testing.F) {
	for _, seed := range []string{
		"query a + query b", "query a + dump x + ping", "close 1 + reset + query kill 7", "query /* x */ kill 7 + quit", "data + query", "query load + data x + data",
	} {
		var all []byte
		for part := range strings.SplitSeq(seed, " + ") {
			all = append(all, packetOf(part)...)
		}
		f.Add(all, uint8(1))
		f.Add(all, uint8(3))
	}
	f.Fuzz(func(t *testing.T, b []byte, pieces uint8) {
		if len(b) > 1<<10 || bytes.ContainsRune(b, rune(mysqlproto.ComChangeUser)) { // that has a scramble
			return
		}
		var heard [2]string
		for i, size := range []int{0, int(pieces)} {
			s := newScene(t, config(), 0)
			s.open()
			s.pieces = size
			s.feed(s.client, b)
			s.pieces = 0
			heard[i] = fmt.Sprintf("%q %q", s.answerAll(), s.client.TakeOutput())
		}
		if heard[0] != heard[1] {
			t.Errorf("at once: %s\nin pieces: %s", heard[0], heard[1])
		}
	})
}
