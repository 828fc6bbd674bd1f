package mysqlproto_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/dragoman-mesh/dragoman/pkg/mysqlproto"
)

// walk lets a Framer walk through b, given in pieces of the given size, and tells what it saw.
func walk(b []byte, size, limit int, rows bool) string {
	var f mysqlproto.Framer
	var seen bytes.Buffer
	for len(b) > 0 {
		piece := b[:min(size, len(b))]
		b = b[len(piece):]
		for {
			n, step := f.Next(piece, rows)
			piece = piece[n:]
			switch step {
			case mysqlproto.StepHead:
				fmt.Fprintf(&seen, "%v ", f.Head())
				if limit > 0 {
					f.Gather(limit)
				}
				continue
			case mysqlproto.StepPayload:
				fmt.Fprintf(&seen, "%q ", f.Payload())
				continue
			}
			break
		}
	}
	fmt.Fprintf(&seen, "boundary %v", f.AtBoundary())
	return seen.String()
}

// FuzzFramer asserts that what a Framer sees does not depend on how the stream is cut, and that packets it sees are those that were made.
func FuzzFramer(f *testing.F) {
	f.Add(packets("\x03SELECT 1||x"), uint8(3), uint8(4))
	f.Add([]byte("\xff\xff\xff\x00"), uint8(1), uint8(0))
	f.Fuzz(func(t *testing.T, b []byte, size, limit uint8) {
		for _, rows := range []bool{false, true} {
			want := walk(b, len(b)+1, int(limit), rows)
			for _, by := range []int{1, 2, int(size)%9 + 3} {
				if got := walk(b, by, int(limit), rows); got != want {
					t.Fatalf("in pieces of %d: %s\nat once: %s", by, got, want)
				}
			}
		}
		packet := mysqlproto.AppendPacket(nil, size, b)
		seq, payload, n, err := mysqlproto.ParsePacket(packet, len(b))
		if err != nil || seq != size || n != len(packet) || !bytes.Equal(payload, b) {
			t.Fatalf("%q comes back as %q, %d, %v", b, payload, n, err)
		}
	})
}

// FuzzPayloads asserts that what is parsed from a payload is the same when it is written and parsed again, for every kind of payload.
func FuzzPayloads(f *testing.F) {
	greeting := mysqlproto.Greeting{ServerVersion: "x", Scramble: []byte(testScramble), AuthPlugin: "p", Capabilities: usual}
	g, err := greeting.AppendTo(nil)
	if err != nil {
		f.Fatal(err)
	}
	response := mysqlproto.HandshakeResponse{Capabilities: usual, User: "u", Auth: []byte("a"), Database: "d", AuthPlugin: "p", Attrs: []byte("\x01n\x01v")}
	r, err := response.AppendTo(nil)
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{
		string(g), string(r), "\x11joe\x00\x01ad\x00\x2d\x00p\x00", "\xfep\x00data", "\x00\x00\x00\x02\x40\x00\x00\x00\x05\x01\x03\x02\x01d", "\xfe\x00\x00\x00\x00", "\xff\x15\x04#28000no",
		"\x00\x06\x00\x04\x01a\x01b",
	} {
		f.Add([]byte(s))
	}
	empty := cmpopts.EquateEmpty()
	f.Fuzz(func(t *testing.T, b []byte) {
		same := func(what string, a, b any, err error) {
			if diff := cmp.Diff(a, b, empty); diff != "" || err != nil {
				t.Fatalf("%s: %v (-first +again):\n%s", what, err, diff)
			}
		}
		if g, err := mysqlproto.ParseGreeting(b); err == nil {
			if written, err := g.AppendTo(nil); err == nil {
				again, err := mysqlproto.ParseGreeting(written)
				g.Capabilities |= mysqlproto.SecureConnection
				same("greeting", g, again, err)
			}
		}
		if r, tls, err := mysqlproto.ParseHandshakeResponse(b); err == nil && !tls {
			written, err := r.AppendTo(nil)
			if err != nil {
				t.Fatal(err)
			}
			again, _, err := mysqlproto.ParseHandshakeResponse(written)
			r.Capabilities |= mysqlproto.SecureConnection
			same("response", r, again, err)
		}
		caps := mysqlproto.SecureConnection | mysqlproto.PluginAuth | mysqlproto.ConnectAttrs
		if u, err := mysqlproto.ParseChangeUser(b, caps); err == nil {
			written, err := u.AppendTo(nil, caps)
			if err != nil {
				t.Fatal(err)
			}
			again, err := mysqlproto.ParseChangeUser(written, caps)
			same("change of user", u, again, err)
		}
		if s, err := mysqlproto.ParseAuthSwitch(b); err == nil {
			if written := s.AppendTo(nil); !bytes.Equal(written, b) {
				t.Fatalf("switch %q is written as %q", b, written)
			}
		}
		if ok, err := mysqlproto.ParseOK(b); err == nil {
			again, err := mysqlproto.ParseOK(ok.AppendTo(nil))
			same("OK", ok, again, err)
		}
		if e, err := mysqlproto.ParseEOF(b); err == nil {
			again, err := mysqlproto.ParseEOF(e.AppendTo(nil))
			same("EOF", e, again, err)
		}
		if e, err := mysqlproto.ParseError(b); err == nil {
			if written := e.AppendTo(nil); !bytes.Equal(written, b) {
				t.Fatalf("error %q is written as %q", b, written)
			}
		}
		if attrs, err := mysqlproto.ParseAttrs(b); err == nil {
			again, err := mysqlproto.ParseAttrs(mysqlproto.AppendAttrs(nil, attrs))
			same("attributes", attrs, again, err)
		}
	})
}

// FuzzAuth asserts that no server gets the password over a link that can be read.
func FuzzAuth(f *testing.F) {
	f.Add([]byte("\xfemysql_clear_password\x00"), []byte("\x01\x04"), []byte("\x00\x00\x00\x00\x00\x00\x00"))
	f.Add([]byte("\xfesha256_password\x00"+testScramble+"\x00"), []byte("\x01\x04"), []byte("\x01key"))
	f.Add([]byte("\x01\x04"), []byte("\x01key"), []byte{})
	f.Fuzz(func(t *testing.T, a, b, c []byte) {
		auth := mysqlproto.NewAuth(mysqlproto.AuthConfig{User: "u", Password: "a secret", Allow: everyMethod, Random: zeros{}})
		_, out, err := auth.Begin(mysqlproto.PluginCachingSHA2, []byte(testScramble))
		if err != nil || bytes.Contains(out, []byte("secret")) {
			t.Fatalf("%q, %v", out, err)
		}
		for _, payload := range [][]byte{a, b, c} {
			if len(payload) > 1 && payload[0] == 'P' && payload[1] > 1 {
				continue // rounds of PBKDF2 that a fuzzer has no time for
			}
			out, _, done, err := auth.Step(nil, payload)
			if bytes.Contains(out, []byte("secret")) {
				t.Fatalf("the password is shown: %q", out)
			}
			if err != nil || done {
				return
			}
		}
	})
}

// zeros is a source of bytes that are not random.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

// FuzzTracker asserts that what a Tracker says does not depend on how the stream is cut, nor on whether rows are passed by.
func FuzzTracker(f *testing.F) {
	f.Add([]byte("\x03"), packets("\x01|\x03def|\x01a|\xfe\x00\x00\x02\x00\x00\x00"), uint8(3), true)
	f.Add([]byte("\x03\x0e"), packets("\x01|\x03def|\xfe\x00\x00\x02\x00|\x01a|\xfe\x00\x00\x02\x00|\x00\x00\x00\x02\x00\x00\x00"), uint8(3), false)
	f.Add([]byte("\x16\x17\x1c"), packets("\x00\x01\x00\x00\x00\x01\x00\x01\x00\x00\x00\x00|a|b"), uint8(3), true)
	f.Fuzz(func(t *testing.T, commands, server []byte, size uint8, modern bool) {
		if len(commands) > 20 {
			return
		}
		caps := mysqlproto.MariaDBCacheMetadata
		if modern {
			caps |= mysqlproto.DeprecateEOF
		}
		run := func(size int, pass bool) string {
			tr := mysqlproto.NewTracker(caps, mysqlproto.StatusAutocommit)
			var out, in mysqlproto.Framer
			for _, c := range commands {
				say(tr, &out, command(mysqlproto.Command(c), "x"))
			}
			states, err := hear(tr, &in, server, size, pass)
			if tr.Idle() && (tr.Outstanding() > 0 || tr.InTransaction() || tr.Uploading()) {
				t.Fatal("idle, though something is under way")
			}
			return fmt.Sprintf("%s, %v, finally %s", strings.Join(states, "; "), err, state(tr))
		}
		want := run(len(server)+1, false)
		for _, by := range []int{1, int(size)%9 + 2, len(server) + 1} {
			if got := run(by, true); got != want {
				t.Fatalf("in pieces of %d: %s\nat once: %s", by, got, want)
			}
		}
	})
}
