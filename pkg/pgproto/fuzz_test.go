package pgproto_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/pkg/pgproto"
)

// FuzzStartup asserts that a start-up packet is the same when it comes in pieces, and when it is written again.
func FuzzStartup(f *testing.F) {
	for _, s := range []string{
		"\x00\x00\x00\x1d\x00\x03\x00\x00user\x00joe\x00database\x00x\x00\x00more", "\x00\x00\x00\x09\x00\x03\x00\x02\x00", "\x00\x00\x00\x08\x04\xd2\x16\x2f",
		"\x00\x00\x00\x10\x04\xd2\x16\x2e\x00\x00\x00\x07abcd", "\x16\x03\x01", "GET / HTTP/1.1", "\x00\x00\x27\x11",
	} {
		f.Add([]byte(s))
	}
	lim := pgproto.Limits{MaxStartup: 200}
	f.Fuzz(func(t *testing.T, b []byte) {
		want, n, wantErr := pgproto.ParseStartup(b, &lim)
		for end := range b {
			got, m, err := pgproto.ParseStartup(b[:end], &lim)
			switch {
			case errors.Is(err, pgproto.ErrIncomplete) && (wantErr != nil || end < max(n, 1)):
			case err != nil && wantErr != nil: // found out early
			case err == nil && m == n && cmp.Equal(want, got):
			default:
				t.Fatalf("of %d bytes the first %d give %v, %v; all give %v, %v", len(b), end, got, err, want, wantErr)
			}
		}
		if wantErr != nil || want.Kind == pgproto.DirectTLS {
			return
		}
		if again, err := want.AppendTo(nil); err != nil || !bytes.Equal(again, b[:n]) {
			t.Fatalf("%q is written again as %q, %v", b[:n], again, err)
		}
	})
}

// walk lets a Framer walk through b, given in pieces of the given size, and tells what it saw. Payloads are gathered up to limit bytes.
func walk(b []byte, size, limit int, stop *pgproto.TypeSet) string {
	lim := pgproto.Limits{MaxMessage: 1000}
	var f pgproto.Framer
	var seen bytes.Buffer
	for len(b) > 0 {
		piece := b[:min(size, len(b))]
		b = b[len(piece):]
		for {
			n, step, err := f.Next(piece, stop, &lim)
			if err != nil {
				fmt.Fprintf(&seen, "%v", err)
				return seen.String()
			}
			piece = piece[n:]
			switch step {
			case pgproto.StepHead:
				fmt.Fprintf(&seen, "%q %d ", f.Head().Type, f.Head().Len)
				if limit > 0 {
					f.Gather(limit)
				}
				continue
			case pgproto.StepPayload:
				fmt.Fprintf(&seen, "%q ", f.Payload())
				continue
			}
			break
		}
	}
	fmt.Fprintf(&seen, "boundary %v", f.AtBoundary())
	return seen.String()
}

// FuzzFramer asserts that what a Framer sees does not depend on how the stream is cut.
func FuzzFramer(f *testing.F) {
	f.Add([]byte("Z\x00\x00\x00\x05IC\x00\x00\x00\x0dSELECT 1\x00D\x00\x00\x00\x04"), uint8(3), uint8(4))
	f.Add([]byte("D\x00\x00\x00\x03"), uint8(1), uint8(0))
	f.Fuzz(func(t *testing.T, b []byte, size, limit uint8) {
		some := pgproto.Types('Z', 'C', 0, 'E')
		for _, stop := range []*pgproto.TypeSet{nil, &some} {
			want := walk(b, len(b)+1, int(limit), stop)
			for _, by := range []int{1, 2, int(size)%9 + 3} {
				if got := walk(b, by, int(limit), stop); got != want {
					t.Fatalf("in pieces of %d: %s\nat once: %s", by, got, want)
				}
			}
		}
	})
}

// FuzzPayloads asserts that what is parsed from a payload is the same when it is written and parsed again, for every kind of payload.
func FuzzPayloads(f *testing.F) {
	for _, s := range []string{
		"SERROR\x00VERROR\x00C42601\x00Mx\x00Hy\x00\x00", "SELECT 1\x00", "n\x00v\x00", "\x00\x00\x00\x07abcd", "\x00\x03\x00\x02\x00\x00\x00\x01_pq_.x\x00", "I",
		"s\x00select $1\x00\x00\x01\x00\x00\x00\x17", "p\x00s\x00\x00\x00\x00\x00\x00\x00", "Ss\x00",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		again := func(typ byte, message []byte, exact bool) []byte {
			payload := payloadOf(t, message, typ)
			if exact && !bytes.Equal(payload, b) {
				t.Fatalf("%q is written again as %q", b, payload)
			}
			return payload
		}
		if n, err := pgproto.ParseNotice(b); err == nil {
			m, err := pgproto.ParseNotice(again('E', n.AppendError(nil), false))
			if diff := cmp.Diff(n, m); diff != "" || err != nil {
				t.Fatalf("notice: %v %s", err, diff)
			}
		}
		pgproto.NoticeState(b)
		if s, err := pgproto.ParseReadyForQuery(b); err == nil {
			again('Z', pgproto.AppendReadyForQuery(nil, s), true)
		}
		if name, value, err := pgproto.ParseParameterStatus(b); err == nil {
			again('S', pgproto.AppendParameterStatus(nil, name, value), true)
		}
		if pid, key, err := pgproto.ParseBackendKeyData(b); err == nil {
			again('K', pgproto.AppendBackendKeyData(nil, pid, key), true)
		}
		if v, unknown, err := pgproto.ParseNegotiateProtocolVersion(b); err == nil {
			again('v', pgproto.AppendNegotiateProtocolVersion(nil, v, unknown), v.Major() != 3)
		}
		if tag, err := pgproto.ParseCommandComplete(b); err == nil && tag.Rows < -1 {
			t.Fatalf("tag %v", tag)
		}
		if sql, err := pgproto.ParseQuery(b); err == nil {
			again('Q', pgproto.AppendQuery(nil, string(sql)), true)
		}
		if s, err := pgproto.ParseParse(b); err == nil {
			again('P', s.AppendParse(nil), true)
		}
		if s, err := pgproto.ParseBind(b); err == nil {
			again('B', s.AppendBind(nil), true)
		}
		if kind, name, err := pgproto.ParseTarget(b); err == nil {
			again('C', pgproto.AppendTarget(nil, 'C', kind, name), true)
		}
		if p, err := pgproto.ParsePassword(b); err == nil {
			again('p', pgproto.AppendPassword(nil, p), true)
		}
		if code, data, err := pgproto.ParseAuthentication(b); err == nil {
			again('R', pgproto.AppendAuthentication(nil, code, data), true)
		}
		if v, err := pgproto.ParseVerifier(string(b)); err == nil {
			if w, err := pgproto.ParseVerifier(v.String()); err != nil || !cmp.Equal(v, w) {
				t.Fatalf("verifier %v is written as %v, %v", v, w, err)
			}
		}
	})
}

// FuzzAuth asserts that no server gets the password in clear, or a login without having shown that it knows the password.
func FuzzAuth(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x0aSCRAM-SHA-256\x00\x00"), []byte("\x00\x00\x00\x0br="+testNonce+"x,s=QQ==,i=1"), []byte("\x00\x00\x00\x0cv=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="), []byte("\x00\x00\x00\x00"))
	f.Add([]byte("\x00\x00\x00\x03"), []byte("\x00\x00\x00\x00"), []byte{}, []byte{})
	f.Fuzz(func(t *testing.T, a, b, c, d []byte) {
		auth := pgproto.NewAuth(pgproto.AuthConfig{User: "u", Password: "a secret", Allow: pgproto.MethodSCRAM | pgproto.MethodSCRAMPlus, Binding: []byte("x"), Nonce: testNonce, MaxIterations: 10})
		for _, payload := range [][]byte{a, b, c, d} {
			out, done, err := auth.Step(nil, payload)
			if bytes.Contains(out, []byte("a secret")) {
				t.Fatalf("the password is shown: %q", out)
			}
			if done {
				t.Fatalf("logged in by %q", [][]byte{a, b, c, d})
			}
			if err != nil {
				return
			}
		}
	})
}

// FuzzAuthServer asserts that no client gets in without the password.
func FuzzAuthServer(f *testing.F) {
	f.Add([]byte("SCRAM-SHA-256\x00\x00\x00\x00\x1bn,,n=,r=rOprNGfwEbeRWgbNEkqO"), []byte("c=biws,r=rOprNGfwEbeRWgbNEkqOx,p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="))
	f.Add([]byte("x\x00"), []byte{})
	f.Fuzz(func(t *testing.T, a, b []byte) {
		for _, method := range []pgproto.Methods{pgproto.MethodCleartext, pgproto.MethodMD5, pgproto.MethodSCRAM} {
			config := pgproto.AuthServerConfig{Method: method, User: "u", Password: testVerifier, Binding: []byte("x")}
			if method != pgproto.MethodSCRAM {
				config.Password = "a secret that no fuzzer finds"
			}
			s, err := pgproto.NewAuthServer(config)
			if err != nil {
				t.Fatal(err)
			}
			for _, payload := range [][]byte{a, b} {
				_, done, err := s.Step(nil, payload)
				if done {
					t.Fatalf("%v lets %q, %q in", method, a, b)
				}
				if err != nil {
					break
				}
			}
		}
	})
}

// FuzzTracker asserts that whatever both sides say, in whatever order, a Tracker that has seen every question answered, each with
// ReadyForQuery, ends up idle; and that it never is while it knows of a question.
func FuzzTracker(f *testing.F) {
	f.Add([]byte("QQ"), []byte("TDCZTDCZ"))
	f.Add([]byte("PBESdcS"), []byte("12GCZ"))
	f.Add([]byte("PBdcES"), []byte("1EZ"))
	f.Fuzz(func(t *testing.T, client, server []byte) {
		var tr pgproto.Tracker
		tr.Server('Z', 'I')
		for i := range max(len(client), len(server)) {
			if i < len(client) {
				tr.Client(client[i])
			}
			if i < len(server) {
				tr.Server(server[i], 'I')
			}
			if tr.Outstanding() < 0 {
				t.Fatalf("outstanding %d", tr.Outstanding())
			}
			if tr.Idle() && (tr.Outstanding() > 0 || tr.Pipelining() || tr.CopyIn() || tr.CopyOut()) {
				t.Fatal("idle, though something is under way")
			}
		}
		if tr.CopyIn() {
			tr.Client('c')
		}
		tr.Client('S')
		for range len(client) + 2 {
			tr.Server('Z', 'I')
		}
		if !tr.Idle() || tr.Outstanding() != 0 {
			t.Fatalf("not idle at the end: outstanding %d, %s", tr.Outstanding(), state(&tr))
		}
	})
}
