package pgproto_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/pkg/pgproto"
)

func TestParseStartup(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		in   string
		want pgproto.Startup
		n    int
		err  string
	}{
		{"start-up", "\x00\x00\x00\x1c\x00\x03\x00\x00user\x00joe\x00options\x00\x00\x00", pgproto.Startup{}, 0, "incomplete"},
		{
			"start-up with more behind", "\x00\x00\x00\x1d\x00\x03\x00\x00user\x00joe\x00database\x00x\x00\x00more",
			pgproto.Startup{Kind: pgproto.StartupMessage, Version: pgproto.Version30, Params: []pgproto.Param{{Name: "user", Value: "joe"}, {Name: "database", Value: "x"}}},
			29, "",
		},
		{"version 3.2 without parameters", "\x00\x00\x00\x09\x00\x03\x00\x02\x00", pgproto.Startup{Kind: pgproto.StartupMessage, Version: pgproto.Version32}, 9, ""},
		{"a minor version to come", "\x00\x00\x00\x09\x00\x03\x27\x0f\x00", pgproto.Startup{Kind: pgproto.StartupMessage, Version: 3<<16 | 9999}, 9, ""},
		{"SSL", "\x00\x00\x00\x08\x04\xd2\x16\x2f", pgproto.Startup{Kind: pgproto.SSLRequest}, 8, ""},
		{"GSSENC", "\x00\x00\x00\x08\x04\xd2\x16\x30", pgproto.Startup{Kind: pgproto.GSSENCRequest}, 8, ""},
		{"cancel", "\x00\x00\x00\x10\x04\xd2\x16\x2e\x00\x00\x00\x07abcd", pgproto.Startup{Kind: pgproto.CancelRequest, PID: 7, Key: []byte("abcd")}, 16, ""},
		{
			"cancel with a long key", "\x00\x00\x01\x0c\x04\xd2\x16\x2e\x00\x00\x00\x07" + strings.Repeat("k", 256),
			pgproto.Startup{Kind: pgproto.CancelRequest, PID: 7, Key: []byte(strings.Repeat("k", 256))},
			268, "",
		},
		{"TLS at once", "\x16\x03\x01\x02\x00", pgproto.Startup{Kind: pgproto.DirectTLS}, 0, ""},

		{"nothing", "", pgproto.Startup{}, 0, "incomplete"},
		{"beginning of a length", "\x00\x00", pgproto.Startup{}, 0, "incomplete"},
		{"beginning of a packet", "\x00\x00\x00\x08\x04\xd2", pgproto.Startup{}, 0, "incomplete"},
		{"HTTP, of which one byte is enough", "G", pgproto.Startup{}, 0, "not a PostgreSQL client"},
		{"too long", "\x00\x00\x27\x11", pgproto.Startup{}, 0, "longer than 10000"},
		{"too long, seen early", "\x00\x00\x28", pgproto.Startup{}, 0, "longer than 10000"},
		{"too short", "\x00\x00\x00\x07", pgproto.Startup{}, 0, "invalid length of 7"},
		{"version 2", "\x00\x00\x00\x08\x00\x02\x00\x00", pgproto.Startup{}, 0, "2.0"},
		{"no terminator", "\x00\x00\x00\x11\x00\x03\x00\x00user\x00joe\x00", pgproto.Startup{}, 0, "terminator"},
		{"no value", "\x00\x00\x00\x0d\x00\x03\x00\x00user\x00", pgproto.Startup{}, 0, "terminator"},
		{"rest behind the terminator", "\x00\x00\x00\x0a\x00\x03\x00\x00\x00x", pgproto.Startup{}, 0, "terminator"},
		{"no parameters at all", "\x00\x00\x00\x08\x00\x03\x00\x00", pgproto.Startup{}, 0, "terminator"},
		{"SSL with a payload", "\x00\x00\x00\x09\x04\xd2\x16\x2fx", pgproto.Startup{}, 0, "payload"},
		{"cancel with a short key", "\x00\x00\x00\x0f\x04\xd2\x16\x2e\x00\x00\x00\x07abc", pgproto.Startup{}, 0, "key of 3"},
		{"cancel with too long a key", "\x00\x00\x01\x0d\x04\xd2\x16\x2e\x00\x00\x00\x07" + strings.Repeat("k", 257), pgproto.Startup{}, 0, "key of 257"},
	}
	lim := pgproto.DefaultLimits()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, n, err := pgproto.ParseStartup([]byte(tt.in), &lim)
			if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Fatalf("error %v, want %q", err, tt.err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" || n != tt.n {
				t.Errorf("%d bytes, want %d (-want +got):\n%s", n, tt.n, diff)
			}
			if err != nil || tt.want.Kind == pgproto.DirectTLS {
				return
			}
			if again, err := got.AppendTo(nil); err != nil || string(again) != tt.in[:n] {
				t.Errorf("written again: %q, %v", again, err)
			}
		})
	}
}

func TestStartupSettings(t *testing.T) {
	t.Parallel()
	s := pgproto.Startup{Kind: pgproto.StartupMessage, Version: pgproto.Version30, Params: []pgproto.Param{
		{Name: "user", Value: "a"}, {Name: "x", Value: "1"}, {Name: "user", Value: "b"},
	}}
	before := s
	if s.User() != "b" || s.Database() != "b" || s.Replication() {
		t.Errorf("user %q, database %q, replication %v", s.User(), s.Database(), s.Replication())
	}
	s.Set("user", "c")
	s.Set("database", "d")
	want := []pgproto.Param{{Name: "user", Value: "c"}, {Name: "x", Value: "1"}, {Name: "database", Value: "d"}}
	if diff := cmp.Diff(want, s.Params); diff != "" {
		t.Errorf("after Set (-want +got):\n%s", diff)
	}
	if before.User() != "b" || s.Database() != "d" {
		t.Errorf("Set has changed a copy: %v", before)
	}
	for value, want := range map[string]bool{"true": true, "database": true, "on": true, "1": true, "false": false, "OFF": false, "0": false, "rubbish": true} {
		s.Set("replication", value)
		if got := s.Replication(); got != want {
			t.Errorf("replication=%s: %v", value, got)
		}
	}
}

func TestStartupRefusesWhatWouldBeSomethingElse(t *testing.T) {
	t.Parallel()
	var wrong *pgproto.ProtocolError
	for _, p := range []pgproto.Param{{Name: "", Value: "x"}, {Name: "user", Value: "a\x00superuser\x00b"}, {Name: "us\x00er", Value: "a"}} {
		s := pgproto.Startup{Kind: pgproto.StartupMessage, Params: []pgproto.Param{p}}
		if b, err := s.AppendTo([]byte("kept")); !errors.As(err, &wrong) || string(b) != "kept" {
			t.Errorf("%q: %q, %v", p, b, err)
		}
	}
	for _, s := range []pgproto.Startup{{Kind: pgproto.DirectTLS}, {}, {Kind: pgproto.CancelRequest, Key: []byte("abc")}} {
		if _, err := s.AppendTo(nil); !errors.As(err, &wrong) {
			t.Errorf("%v: %v", s, err)
		}
	}
}
