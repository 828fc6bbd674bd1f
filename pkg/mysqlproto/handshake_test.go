package mysqlproto_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/pkg/mysqlproto"
)

func TestGreeting(t *testing.T) {
	t.Parallel()
	tests := map[string]mysqlproto.Greeting{
		"MySQL": {
			ServerVersion: "8.4.0", ThreadID: 7, Scramble: []byte(testScramble), Charset: 255, Status: mysqlproto.StatusAutocommit, AuthPlugin: mysqlproto.PluginCachingSHA2,
			Capabilities: mysqlproto.LongPassword | mysqlproto.Protocol41 | mysqlproto.SecureConnection | mysqlproto.PluginAuth | mysqlproto.DeprecateEOF | mysqlproto.SSL,
		},
		"MariaDB": {
			ServerVersion: "5.5.5-10.11.19-MariaDB", ThreadID: 1 << 31, Scramble: []byte(testScramble), AuthPlugin: mysqlproto.PluginNative,
			Capabilities: mysqlproto.Protocol41 | mysqlproto.SecureConnection | mysqlproto.PluginAuth | mysqlproto.MariaDBCacheMetadata | mysqlproto.MariaDBStmtBulk,
		},
		"without plugins": {ServerVersion: "5.0", Scramble: []byte(testScramble), Capabilities: mysqlproto.LongPassword | mysqlproto.Protocol41 | mysqlproto.SecureConnection},
	}
	for name, want := range tests {
		payload, err := want.AppendTo(nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := mysqlproto.ParseGreeting(payload)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
		}
		if got.MariaDB() != (name == "MariaDB") || strings.HasPrefix(got.Version(), "5.5.5") {
			t.Errorf("%s: MariaDB %v, version %q", name, got.MariaDB(), got.Version())
		}
		for end := range len(payload) {
			if short, err := mysqlproto.ParseGreeting(payload[:end]); err == nil && (end < len(payload)-1 || short.AuthPlugin != want.AuthPlugin) && !strings.HasPrefix(want.AuthPlugin, short.AuthPlugin) {
				t.Errorf("%s: the first %d of %d bytes are taken", name, end, len(payload))
			}
		}
	}
	for _, scramble := range []string{"", "short", testScramble + "x", testScramble[:19] + "\x00"} {
		if _, err := (&mysqlproto.Greeting{Scramble: []byte(scramble)}).AppendTo(nil); err == nil {
			t.Errorf("a scramble of %q is taken", scramble)
		}
	}
}

func TestGreetingThatIsNone(t *testing.T) {
	t.Parallel()
	var full *mysqlproto.ServerError
	if _, err := mysqlproto.ParseGreeting([]byte("\xff\x10\x04Too many connections")); !errors.As(err, &full) || full.Errno != 1040 || full.State != "" || full.Message != "Too many connections" {
		t.Errorf("%v", err)
	}
	if _, err := mysqlproto.ParseGreeting([]byte("\x09old\x00")); !errors.Is(err, mysqlproto.ErrUnsupported) {
		t.Errorf("version 9: %v", err)
	}
	if _, err := mysqlproto.ParseGreeting([]byte("HTTP/1.1 400")); !errors.Is(err, mysqlproto.ErrUnsupported) {
		t.Errorf("HTTP: %v", err)
	}
}

func TestHandshakeResponse(t *testing.T) {
	t.Parallel()
	base := mysqlproto.Protocol41 | mysqlproto.SecureConnection | mysqlproto.LongPassword
	tests := map[string]mysqlproto.HandshakeResponse{
		"least": {Capabilities: base, MaxPacket: 1 << 24, Charset: 45, User: "joe", Auth: []byte(testScramble)},
		"all": {
			Capabilities: base | mysqlproto.ConnectWithDB | mysqlproto.PluginAuth | mysqlproto.PluginAuthLenenc | mysqlproto.ConnectAttrs | mysqlproto.CompressZstd,
			User:         "joe", Auth: []byte(strings.Repeat("a", 300)), Database: "d", AuthPlugin: mysqlproto.PluginNative, Attrs: mysqlproto.AppendAttrs(nil, []mysqlproto.Attr{{Name: "n", Value: "v"}}), ZstdLevel: 3,
		},
		"MariaDB's": {Capabilities: mysqlproto.Protocol41 | mysqlproto.SecureConnection | mysqlproto.MariaDBProgress, User: "joe", Auth: []byte{}},
	}
	for name, want := range tests {
		payload, err := want.AppendTo(nil)
		if err != nil {
			t.Fatal(err)
		}
		got, tls, err := mysqlproto.ParseHandshakeResponse(payload)
		if diff := cmp.Diff(want, got); diff != "" || err != nil || tls {
			t.Errorf("%s: TLS %v, %v (-want +got):\n%s", name, tls, err, diff)
		}
	}
	all := tests["all"]
	first, tls, err := mysqlproto.ParseHandshakeResponse(all.AppendSSLRequest(nil))
	if err != nil || !tls || !first.Capabilities.Has(mysqlproto.SSL) || len(all.AppendSSLRequest(nil)) != 32 {
		t.Errorf("SSLRequest: %v, %v, %v", first, tls, err)
	}
	if attrs, err := mysqlproto.ParseAttrs(all.Attrs); err != nil || len(attrs) != 1 || attrs[0] != (mysqlproto.Attr{Name: "n", Value: "v"}) {
		t.Errorf("attributes %v, %v", attrs, err)
	}
	all.Capabilities &^= mysqlproto.PluginAuthLenenc
	if _, err := all.AppendTo(nil); err == nil {
		t.Error("an answer of 300 bytes fits into one byte of length")
	}
}

func TestHandshakeResponseThatIsRefused(t *testing.T) {
	t.Parallel()
	r := mysqlproto.HandshakeResponse{Capabilities: mysqlproto.PluginAuth | mysqlproto.ConnectWithDB, User: "joe", Auth: []byte("12345678"), Database: "d", AuthPlugin: "p"}
	payload, err := r.AppendTo(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, end := range []int{0, 1, 3, 31, 32, 33, 35, 36, 40, 44} {
		if _, _, err := mysqlproto.ParseHandshakeResponse(payload[:end]); err == nil {
			t.Errorf("the first %d of %d bytes are taken", end, len(payload))
		}
	}
	if _, _, err := mysqlproto.ParseHandshakeResponse([]byte{0x05, 0xa4, 0, 0, 1, 'j', 0}); !errors.Is(err, mysqlproto.ErrUnsupported) {
		t.Errorf("the protocol from before 4.1: %v", err)
	}
}

func TestChangeUser(t *testing.T) {
	t.Parallel()
	caps := mysqlproto.SecureConnection | mysqlproto.PluginAuth | mysqlproto.ConnectAttrs
	want := mysqlproto.ChangeUser{User: "joe", Auth: []byte("12345"), Database: "d", Charset: 45, AuthPlugin: "p", Attrs: []byte("\x01n\x01v")}
	payload, err := want.AppendTo(nil, caps)
	if err != nil {
		t.Fatal(err)
	}
	got, err := mysqlproto.ParseChangeUser(payload, caps)
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	for _, bad := range []string{"", "\x03x", "\x11joe", "\x11joe\x00", "\x11joe\x00\x09abc"} {
		if _, err := mysqlproto.ParseChangeUser([]byte(bad), caps); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	if short, err := mysqlproto.ParseChangeUser([]byte("\x11joe\x00\x00d\x00"), caps); err != nil || short.Database != "d" {
		t.Errorf("without character set: %v, %v", short, err)
	}
}

func TestResponses(t *testing.T) {
	t.Parallel()
	ok := mysqlproto.OK{AffectedRows: 1 << 40, InsertID: 300, Status: mysqlproto.StatusAutocommit, Warnings: 2, Rest: []byte{}}
	got, err := mysqlproto.ParseOK(ok.AppendTo(nil))
	if diff := cmp.Diff(ok, got); diff != "" || err != nil {
		t.Errorf("OK: %v (-want +got):\n%s", err, diff)
	}
	eof := mysqlproto.EOF{Warnings: 1, Status: mysqlproto.StatusMoreResults}
	if got, err := mysqlproto.ParseEOF(eof.AppendTo(nil)); got != eof || err != nil {
		t.Errorf("EOF: %v, %v", got, err)
	}
	e := mysqlproto.ServerError{Errno: mysqlproto.ErrnoServerShutdown, State: mysqlproto.StateLinkFailure, Message: "Server shutdown in progress"}
	payload := e.AppendTo(nil)
	if string(payload) != "\xff\x1d\x04#08S01Server shutdown in progress" {
		t.Errorf("error %q", payload)
	}
	if got, err := mysqlproto.ParseError(payload); err != nil || *got != e || got.Error() != "ERROR 1053 (08S01): Server shutdown in progress" {
		t.Errorf("error %v, %v", got, err)
	}
	for _, bad := range []string{"", "\x00", "\x00\x00\x00\x02\x00", "\x01", "\x00\xfb\x00\x00\x00\x00\x00"} {
		if _, err := mysqlproto.ParseOK([]byte(bad)); err == nil {
			t.Errorf("OK %q is taken", bad)
		}
	}
	for _, bad := range []string{"", "\xff", "\xff\x01", "\x00\x01\x02"} {
		if _, err := mysqlproto.ParseError([]byte(bad)); err == nil {
			t.Errorf("error %q is taken", bad)
		}
	}
	for _, bad := range []string{"", "\xfe\x00\x00\x00", "\xfe\x00\x00\x00\x00\x00\x00\x00\x00"} {
		if _, err := mysqlproto.ParseEOF([]byte(bad)); err == nil {
			t.Errorf("EOF %q is taken", bad)
		}
	}
}

func TestCommands(t *testing.T) {
	t.Parallel()
	if mysqlproto.ComQuery.String() != "COM_QUERY" || mysqlproto.Command(0x99).String() != "COM_UNKNOWN" {
		t.Error("names of commands are wrong")
	}
	if !mysqlproto.ComBinlogDumpGTID.Replication() || mysqlproto.ComQuery.Replication() {
		t.Error("Replication is wrong")
	}
}

func TestRelayable(t *testing.T) {
	t.Parallel()
	all := ^mysqlproto.Capabilities(0)
	got := all.Relayable()
	for name, c := range map[string]mysqlproto.Capabilities{
		"compression": mysqlproto.Compress, "zstd": mysqlproto.CompressZstd, "TLS": mysqlproto.SSL, "factors": mysqlproto.MultiFactor, "COM_MULTI": mysqlproto.MariaDBComMulti, "unknown": 1 << 60,
	} {
		if got&c != 0 {
			t.Errorf("%s is passed on", name)
		}
	}
	if !got.Has(usual) {
		t.Errorf("of what usual clients want, %x is not passed on", usual&^got)
	}
}
