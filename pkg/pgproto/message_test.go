package pgproto_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/pkg/pgproto"
)

// payloadOf returns the payload of the only message in b.
func payloadOf(t *testing.T, b []byte, want byte) []byte {
	t.Helper()
	lim := pgproto.DefaultLimits()
	typ, payload, n, err := pgproto.ParseMessage(b, &lim)
	if err != nil || n != len(b) || typ != want {
		t.Fatalf("%q: type %q, %d bytes, %v", b, typ, n, err)
	}
	return payload
}

func TestNotice(t *testing.T) {
	t.Parallel()
	n := pgproto.Notice{Severity: pgproto.SeverityFatal, State: pgproto.StateAdminShutdown, Message: "terminating", Detail: "d", Hint: "h"}
	payload := payloadOf(t, n.AppendError(nil), pgproto.TypeErrorResponse)
	const want = "SFATAL\x00VFATAL\x00C57P01\x00Mterminating\x00Dd\x00Hh\x00\x00"
	if string(payload) != want {
		t.Errorf("payload %q, want %q", payload, want)
	}
	got, err := pgproto.ParseNotice(payload)
	if diff := cmp.Diff(n, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if !got.Fatal() || string(pgproto.NoticeState(payload[:21])) != "57P01" || pgproto.NoticeState(payload[:20]) != nil {
		t.Error("Fatal or NoticeState is wrong")
	}
	// A server from before 9.6 has no plain severity; a server may have it in any language.
	old, err := pgproto.ParseNotice([]byte("SERREUR\x00C42601\x00Mx\x00Z?\x00\x00"))
	if diff := cmp.Diff(pgproto.Notice{Severity: "ERREUR", State: "42601", Message: "x"}, old); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if b := (&pgproto.Notice{Severity: "WARNING", State: "01000", Message: "a\x00b"}).AppendNotice(nil); !strings.HasSuffix(string(b), "Ma\x00\x00") {
		t.Errorf("a zero byte in a message gives %q", b)
	}
	for _, bad := range []string{"", "S", "SERROR", "SERROR\x00", "SERROR\x00\x00x"} {
		if _, err := pgproto.ParseNotice([]byte(bad)); err == nil {
			t.Errorf("ParseNotice(%q) takes it", bad)
		}
	}
}

func TestCommandTag(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]pgproto.CommandTag{
		"INSERT 0 5": {Command: "INSERT", Rows: 5}, "SELECT 100": {Command: "SELECT", Rows: 100}, "COPY 3": {Command: "COPY", Rows: 3},
		"CREATE TABLE": {Command: "CREATE TABLE", Rows: -1}, "BEGIN": {Command: "BEGIN", Rows: -1}, "": {Rows: -1},
		"SELECT 99999999999999999999": {Command: "SELECT 99999999999999999999", Rows: -1}, "UPDATE -1": {Command: "UPDATE -1", Rows: -1},
	} {
		if got, err := pgproto.ParseCommandComplete([]byte(text + "\x00")); err != nil || got != want {
			t.Errorf("%q: %v, %v; want %v", text, got, err, want)
		}
	}
	if _, err := pgproto.ParseCommandComplete([]byte("SELECT 1")); err == nil {
		t.Error("a tag without an end is taken")
	}
}

func TestMessagesOfAServer(t *testing.T) {
	t.Parallel()
	status, err := pgproto.ParseReadyForQuery(payloadOf(t, pgproto.AppendReadyForQuery(nil, pgproto.TxFailed), 'Z'))
	if err != nil || status != pgproto.TxFailed {
		t.Errorf("ReadyForQuery: %q, %v", status, err)
	}
	pid, key, err := pgproto.ParseBackendKeyData(payloadOf(t, pgproto.AppendBackendKeyData(nil, 7, []byte("a long key")), 'K'))
	if err != nil || pid != 7 || string(key) != "a long key" {
		t.Errorf("BackendKeyData: %d, %q, %v", pid, key, err)
	}
	name, value, err := pgproto.ParseParameterStatus(payloadOf(t, pgproto.AppendParameterStatus(nil, "n", "v"), 'S'))
	if err != nil || name != "n" || value != "v" {
		t.Errorf("ParameterStatus: %q, %q, %v", name, value, err)
	}
	newest, unknown, err := pgproto.ParseNegotiateProtocolVersion(payloadOf(t, pgproto.AppendNegotiateProtocolVersion(nil, pgproto.Version32, []string{"_pq_.a", "_pq_.b"}), 'v'))
	if err != nil || newest != pgproto.Version32 || strings.Join(unknown, " ") != "_pq_.a _pq_.b" {
		t.Errorf("NegotiateProtocolVersion: %v, %q, %v", newest, unknown, err)
	}
	if newest, _, err := pgproto.ParseNegotiateProtocolVersion([]byte{0, 0, 0, 2, 0, 0, 0, 0}); err != nil || newest != pgproto.Version32 {
		t.Errorf("a minor version alone: %v, %v", newest, err)
	}
	if _, _, err := pgproto.ParseNegotiateProtocolVersion([]byte{0, 0, 0, 2, 0xff, 0xff, 0xff, 0xff}); err == nil {
		t.Error("four billion options in no bytes are taken")
	}
	for _, bad := range []string{"", "X", "II"} {
		if _, err := pgproto.ParseReadyForQuery([]byte(bad)); err == nil {
			t.Errorf("ReadyForQuery %q is taken", bad)
		}
	}
	for _, bad := range []string{"", "1234", "1234abc", "1234" + strings.Repeat("k", 257)} {
		if _, _, err := pgproto.ParseBackendKeyData([]byte(bad)); err == nil {
			t.Errorf("BackendKeyData %q is taken", bad)
		}
	}
}

func TestMessagesOfAClient(t *testing.T) {
	t.Parallel()
	sql, err := pgproto.ParseQuery(payloadOf(t, pgproto.AppendQuery(nil, "select 1"), 'Q'))
	if err != nil || string(sql) != "select 1" {
		t.Errorf("Query: %q, %v", sql, err)
	}
	statement := pgproto.Statement{Name: []byte("s"), SQL: []byte("select $1"), Types: []byte{0, 1, 0, 0, 0, 23}}
	parsed, err := pgproto.ParseParse(payloadOf(t, statement.AppendParse(nil), 'P'))
	if diff := cmp.Diff(statement, parsed); diff != "" || err != nil {
		t.Errorf("Parse: %v (-want +got):\n%s", err, diff)
	}
	bind := pgproto.Bind{Portal: []byte("p"), Statement: []byte("s"), Rest: []byte{0, 0, 0, 0, 0, 0}}
	bound, err := pgproto.ParseBind(payloadOf(t, bind.AppendBind(nil), 'B'))
	if diff := cmp.Diff(bind, bound); diff != "" || err != nil {
		t.Errorf("Bind: %v (-want +got):\n%s", err, diff)
	}
	kind, name, err := pgproto.ParseTarget(payloadOf(t, pgproto.AppendTarget(nil, pgproto.TypeDescribe, pgproto.KindStatement, []byte("s")), 'D'))
	if err != nil || kind != 'S' || string(name) != "s" {
		t.Errorf("Describe: %q, %q, %v", kind, name, err)
	}
	for _, bad := range []string{"", "s\x00", "s\x00x\x00", "s\x00x\x00\x00\x01", "s\x00x\x00\x00\x00x"} {
		if _, err := pgproto.ParseParse([]byte(bad)); err == nil {
			t.Errorf("Parse %q is taken", bad)
		}
	}
	for _, bad := range []string{"", "S", "Xs\x00", "Ss\x00x"} {
		if _, _, err := pgproto.ParseTarget([]byte(bad)); err == nil {
			t.Errorf("Describe %q is taken", bad)
		}
	}
}

func TestHeadIsBounded(t *testing.T) {
	t.Parallel()
	lim := pgproto.Limits{MaxMessage: 10}
	var wrong *pgproto.ProtocolError
	for in, ok := range map[string]bool{"D\x00\x00\x00\x0e": true, "D\x00\x00\x00\x0f": false, "D\x00\x00\x00\x03": false, "D\xff\xff\xff\xff": false, "D\x00\x00\x00\x04": true} {
		if _, err := pgproto.ParseHead([]byte(in), &lim); ok != (err == nil) || !ok && !errors.As(err, &wrong) {
			t.Errorf("%q: %v", in, err)
		}
	}
	if _, err := pgproto.ParseHead([]byte("D\x00\x00\x00"), &lim); !errors.Is(err, pgproto.ErrIncomplete) {
		t.Errorf("four bytes: %v", err)
	}
}

// TestFramerStreams shows that a large message is passed on without being held.
func TestFramerStreams(t *testing.T) {
	t.Parallel()
	lim := pgproto.DefaultLimits()
	stop := pgproto.Types(pgproto.TypeReadyForQuery)
	var f pgproto.Framer
	head := pgproto.AppendHead(nil, pgproto.TypeDataRow, 1<<30-10)
	if n, step, err := f.Next(head, &stop, &lim); n != 5 || step != pgproto.StepMore || err != nil || f.Left() != 1<<30-10 {
		t.Fatalf("%d, %v, %v, %d left", n, step, err, f.Left())
	}
	f.Skip(1<<30 - 20)
	if f.AtBoundary() {
		t.Error("at a boundary within a message")
	}
	b := append(make([]byte, 10), pgproto.AppendReadyForQuery(nil, pgproto.TxIdle)...)
	n, step, err := f.Next(b, &stop, &lim)
	if n != 15 || step != pgproto.StepHead || err != nil || f.Head() != (pgproto.Head{Type: 'Z', Len: 1}) {
		t.Fatalf("%d, %v, %v, %v", n, step, err, f.Head())
	}
	f.Gather(10)
	if n, step, err := f.Next(b[n:], &stop, &lim); n != 1 || step != pgproto.StepPayload || err != nil || string(f.Payload()) != "I" || !f.AtBoundary() {
		t.Fatalf("%d, %v, %v, %q", n, step, err, f.Payload())
	}
}

func TestFramerNeedsNoMemory(t *testing.T) { // not parallel: allocations are counted for the whole process
	lim, stop := pgproto.DefaultLimits(), pgproto.Types(pgproto.TypeReadyForQuery)
	var f pgproto.Framer
	messages := pgproto.AppendReadyForQuery(pgproto.AppendMessage(nil, pgproto.TypeDataRow, []byte("row")), pgproto.TxIdle)
	allocs := testing.AllocsPerRun(100, func() {
		n, _, err := f.Next(messages, &stop, &lim)
		if err != nil {
			t.Fatal(err)
		}
		f.Gather(1)
		if _, step, err := f.Next(messages[n:], &stop, &lim); step != pgproto.StepPayload || err != nil {
			t.Fatal(step, err)
		}
	})
	if allocs > 0 {
		t.Errorf("%v allocations for a row and the message behind it", allocs)
	}
}
