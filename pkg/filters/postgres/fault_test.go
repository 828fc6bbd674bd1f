package postgres

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/internal/filtertest"
	"github.com/dragoman-mesh/dragoman/internal/nettest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/pgproto"
)

// dial opens a bare connection to the filter.
func (f *fixture) dial() net.Conn {
	f.tb.Helper()
	c, err := net.Dial("tcp", f.addr)
	if err != nil {
		f.tb.Fatal(err)
	}
	f.tb.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return c
}

func startupPacket(t testing.TB, s pgproto.Startup) []byte {
	t.Helper()
	b, err := s.AppendTo(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func hello(t testing.TB) []byte {
	return startupPacket(t, pgproto.Startup{Kind: pgproto.StartupMessage, Version: pgproto.Version30, Params: []pgproto.Param{{Name: "user", Value: "app"}}})
}

// welcoming is a server that lets everybody in, and then does what serve does.
func welcoming(t *testing.T, serve func(c net.Conn)) string {
	t.Helper()
	return nettest.Serve(t, func(c net.Conn) {
		if _, err := readPacket(c); err != nil {
			return
		}
		b := pgproto.AppendAuthentication(nil, pgproto.AuthOK, nil)
		_, _ = c.Write(pgproto.AppendReadyForQuery(b, pgproto.TxIdle))
		serve(c)
	})
}

// readPacket reads one start-up packet.
func readPacket(c net.Conn) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint32(head[:])-4)
	_, err := io.ReadFull(c, b)
	return b, err
}

// TestFakeServer: a server that asks for the password itself, or answers the
// request for TLS with more than a byte, gets nothing of use.
func TestFakeServer(t *testing.T) {
	t.Parallel()
	pki := redistest.NewPKI(t)
	tests := map[string]struct {
		tls   bool
		serve func(c net.Conn)
		want  string
	}{
		"cleartext": {false, func(c net.Conn) {
			_, _ = c.Write(pgproto.AppendAuthentication(nil, pgproto.AuthCleartext, nil))
		}, "method refused"},
		"kerberos": {false, func(c net.Conn) {
			_, _ = c.Write(pgproto.AppendAuthentication(nil, pgproto.AuthGSS, nil))
		}, "method refused"},
		"OK in the middle of SCRAM": {false, func(c net.Conn) {
			_, _ = c.Write(pgproto.AppendAuthenticationSASL(nil, pgproto.MechanismSCRAM))
			_, _ = c.Write(pgproto.AppendAuthentication(nil, pgproto.AuthOK, nil))
		}, "not genuine"},
		"more than an answer": {true, func(c net.Conn) { _, _ = c.Write([]byte("Ssurprise")) }, "is not one"},
		"no TLS":              {true, func(c net.Conn) { _, _ = c.Write([]byte("N")) }, "does not offer TLS"},
		"something else":      {false, func(c net.Conn) { _, _ = c.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")) }, "does not speak"},
		"nothing":             {false, func(c net.Conn) { c.Close() }, "closed the connection"},
		"a row first":         {false, func(c net.Conn) { _, _ = c.Write(pgproto.AppendMessage(nil, pgproto.TypeDataRow, nil)) }, "does not belong"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			filtertest.Distrusted(t, tc.want, func(c net.Conn) {
				if _, err := readPacket(c); err == nil {
					tc.serve(c)
				}
			}, func(addr string) *filtertest.Fixture {
				f := start(t, config(), addr)
				if tc.tls {
					f.main().Lead(filtertest.Trusting(t, pki, "localhost"), addr)
				}
				return f.shared()
			})
		})
	}
}

// TestBadClients: what is no start-up is refused, in the words of the protocol.
func TestBadClients(t *testing.T) {
	t.Parallel()
	f := start(t, config())
	tls := startupPacket(t, pgproto.Startup{Kind: pgproto.SSLRequest})
	gss := startupPacket(t, pgproto.Startup{Kind: pgproto.GSSENCRequest})
	tests := map[string]struct {
		say  []byte
		want string
	}{
		"another protocol":    {[]byte("GET / HTTP/1.1\r\n\r\n"), "not a PostgreSQL client"},
		"version 2":           {[]byte{0, 0, 0, 9, 0, 2, 0, 0, 0}, "only version 3 is spoken"},
		"no terminator":       {[]byte{0, 0, 0, 9, 0, 3, 0, 0, 'u'}, "terminator"},
		"no user":             {[]byte{0, 0, 0, 9, 0, 3, 0, 0, 0}, "no PostgreSQL user name"},
		"TLS where is none":   {[]byte{0x16, 3, 1, 0, 5}, "does not speak TLS"},
		"data behind request": {append(bytes.Clone(tls), hello(t)...), "unencrypted data"},
		"data behind GSSAPI":  {append(bytes.Clone(gss), hello(t)...), "unencrypted data"},
		"an unknown key":      {startupPacket(t, pgproto.Startup{Kind: pgproto.CancelRequest, PID: 1, Key: []byte("abcd")}), ""},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := f.dial()
			if _, err := c.Write(tc.say); err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(c)
			if err != nil && !errors.Is(err, io.EOF) {
				t.Logf("reading: %v", err)
			}
			if !strings.Contains(string(got), tc.want) || (tc.want == "") != (len(got) == 0) {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

// TestSlowStarters: half a packet, and a server that says nothing, are not waited
// for for ever.
func TestSlowStarters(t *testing.T) {
	t.Parallel()
	frozen := dbtest.StartPostgres(t)
	frozen.Freeze()
	f := startTuned(t, func(b *Builder) { b.startLimit, b.loginLimit = 3*time.Second, 0 }, config(), frozen.Addr())
	c := f.dial()
	_, _ = c.Write(hello(t)[:7])
	if got, _ := io.ReadAll(c); len(got) != 0 {
		t.Errorf("got %q", got)
	}
	if _, err := f.psql("select 1"); err == nil || !strings.Contains(err.Error(), "does not answer") {
		t.Errorf("a frozen server: %v", err)
	}
	frozen.Thaw()
	eventually(t, "the server to be well", func() bool {
		_, err := f.psql("select 1")
		return err == nil
	})
}

// TestServerKilled: the app is told, and can come back when the server does.
func TestServerKilled(t *testing.T) {
	t.Parallel()
	server := dbtest.StartPostgres(t)
	f := start(t, config(), server.Addr())
	conn := f.connect()
	server.Kill()
	if _, err := conn.Exec(withTimeout(t), "select 1"); dbtest.Code(err) != "08006" && dbtest.Code(err) != "57P01" {
		t.Errorf("a session: %v", err) // the server's processes may have had a last word of their own
	}
	if _, err := f.psql("select 1"); err == nil || !strings.Contains(err.Error(), "no server of the database can be reached") {
		t.Errorf("a new session: %v", err)
	}
	server.Restart()
	f.must("select 1")
	again := f.connect()
	server.SQL("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'u_scram'")
	if _, err := again.Exec(withTimeout(t), "select 1"); dbtest.Code(err) != "57P01" || !strings.Contains(err.Error(), "administrator command") {
		t.Errorf("the server's own end: %v", err)
	}
}

// TestServerGone: a server that goes without a word is spoken for.
func TestServerGone(t *testing.T) {
	t.Parallel()
	f := start(t, config(), welcoming(t, func(c net.Conn) { _, _ = io.ReadFull(c, make([]byte, 10)) }))
	conn := f.connect()
	if _, err := conn.Exec(withTimeout(t), "select 1"); dbtest.Code(err) != "08006" {
		t.Errorf("a session: %v", err)
	}
	if got := f.metric("closed_total", "server_closed"); got != 1 {
		t.Errorf("%v sessions closed by the server", got)
	}
}

// TestClientKilled: a client that is gone leaves nothing at the server, neither a
// transaction nor a query that runs.
func TestClientKilled(t *testing.T) {
	t.Parallel()
	server := dbtest.StartPostgres(t)
	f := start(t, config(), server.Addr())
	server.SQL("create table t (n int)")
	inTransaction, busy := f.connect(), f.connect()
	if _, err := inTransaction.Exec(withTimeout(t), "begin; insert into t values (1)"); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = busy.Exec(context.Background(), "select pg_sleep(600)")
	}()
	eventually(t, "the query to run", func() bool {
		return server.Running("select pg_sleep(600)")
	})
	_ = inTransaction.PgConn().Conn().Close()
	_ = busy.PgConn().Conn().Close()
	<-done
	eventually(t, "the server to be left", func() bool {
		return server.Sessions(dbtest.SCRAMUser) == 0
	})
	eventually(t, "the sessions to be forgotten", func() bool { return f.metric("downstream_connections") == 0 })
	f.builder.cancels.mu.Lock()
	defer f.builder.cancels.mu.Unlock()
	if n := len(f.builder.cancels.byID); n != 0 {
		t.Errorf("%d keys are left", n)
	}
}

// TestSlowReader: a client that does not read makes the server wait, not the
// proxy's memory grow.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	server := dbtest.StartPostgres(t)
	f := start(t, config(), server.Addr())
	c := f.dial()
	_, _ = c.Write(hello(t))
	_, _ = c.Write(pgproto.AppendQuery(nil, "select repeat('x', 100000) from generate_series(1, 2000)"))
	eventually(t, "the proxy to stop reading", func() bool { return f.metric("downstream_sent_bytes_total") > 1<<20 })
	before := f.metric("downstream_sent_bytes_total")
	for range 20 { // some turns of the loops
		if n := f.HeldBytes(); n > 8<<20 {
			t.Fatalf("%d bytes are held", n)
		}
	}
	var total int64
	buf := make([]byte, 1<<20)
	for total < 200_000_000 {
		n, err := c.Read(buf)
		total += int64(n)
		if err != nil {
			t.Fatalf("after %d bytes: %v", total, err)
		}
	}
	if f.metric("downstream_sent_bytes_total") <= before {
		t.Error("nothing was held back")
	}
}

// TestIdleSessions hold no buffers.
func TestIdleSessions(t *testing.T) {
	t.Parallel()
	f := start(t, config(), welcoming(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }))
	const sessions = 400
	for range sessions {
		_, _ = f.dial().Write(hello(t))
	}
	eventually(t, "all to be let in", func() bool { return f.metric("sessions_total") == sessions })
	if perLoop := f.HeldBytes() / len(f.Group.Loops()); perLoop > 72<<10 { // what reads fill
		t.Errorf("%d bytes are held", perLoop)
	}
	const most = 1 << 10 // beside netloop's two connections
	if n := unsafe.Sizeof(session{}); n > most {
		t.Errorf("a session has %d bytes", n)
	}
}
