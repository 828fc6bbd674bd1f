package mysql

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/internal/filtertest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/mysqlproto"
)

// TestBadClients: what is no answer to the greeting is refused, in the words of
// the protocol.
func TestBadClients(t *testing.T) {
	t.Parallel()
	f := start(t, config(), dbtest.StartMariaDB(t).Addr())
	old := mysqlproto.AppendPacket(nil, 1, append(make([]byte, 40), 0))
	ssl := mysqlproto.AppendPacket(nil, 1, (&mysqlproto.HandshakeResponse{Capabilities: bareCaps}).AppendSSLRequest(nil))
	tests := map[string]struct {
		say  []byte
		want string
	}{
		"another protocol":     {[]byte("GET / HTTP/1.1\r\n\r\n"), "before the first command"},
		"a large packet":       {[]byte{0, 0, 3, 1}, "before the first command"},
		"before 4.1":           {old, "before MySQL 4.1"},
		"TLS where is none":    {ssl, "asks for TLS"},
		"an answer cut off":    {mysqlproto.AppendPacket(nil, 1, append(bytes.Clone(ssl[4:]), 'a', 'p', 'p')), "cut off"},
		"an answer of nothing": {[]byte{0, 0, 0, 1}, "has only 0 bytes"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := f.dial()
			c.greet()
			if _, err := c.conn.Write(tc.say); err != nil {
				t.Fatal(err)
			}
			got, _ := io.ReadAll(c.conn)
			if !bytes.Contains(got, []byte(tc.want)) {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
	c := f.login(mysqlproto.PluginNative, nil)
	c.read()
	if _, err := c.conn.Write([]byte{0, 0, 0, 0}); err != nil {
		t.Fatal(err)
	}
	if got, _ := io.ReadAll(c.conn); !bytes.Contains(got, []byte("without content")) {
		t.Errorf("an empty command: %q", got)
	}
	eventually(t, "the sessions to end", func() bool { return f.metric("downstream_connections") == 0 })
}

// TestSlowStarters: half an answer, and a server that says nothing, are not waited
// for for ever.
func TestSlowStarters(t *testing.T) {
	t.Parallel()
	frozen := dbtest.StartMariaDB(t)
	f := startTuned(t, func(b *Builder) { b.startLimit, b.loginLimit = 3*time.Second, 2*time.Second }, config(), frozen.Addr())
	c := f.dial()
	c.greet()
	_, _ = c.conn.Write([]byte{60, 0, 0, 1, 5})
	if got, _ := io.ReadAll(c.conn); len(got) != 0 {
		t.Errorf("got %q", got)
	}
	frozen.Freeze()
	if _, err := f.client("select 1"); err == nil || !strings.Contains(err.Error(), "does not answer") {
		t.Errorf("a frozen server: %v", err)
	}
	frozen.Thaw()
	eventually(t, "the server to be well", func() bool {
		_, err := f.client("select 1")
		return err == nil
	})
	if got := f.metric("refused_total", "slow_client"); got != 1 {
		t.Errorf("%v slow clients", got)
	}
}

// TestServerKilled: the app is told, and can come back when the server does.
func TestServerKilled(t *testing.T) {
	t.Parallel()
	server := dbtest.StartMariaDB(t)
	f := start(t, config(), server.Addr())
	busy, idle := f.connect(), f.connect()
	execute(t, idle, "select 1")
	answer := make(chan error, 1)
	go func() {
		_, err := busy.ExecContext(context.Background(), "select sleep(600)")
		answer <- err
	}()
	eventually(t, "the query to run", func() bool { return server.Running("select sleep(600)") })
	server.Kill()
	if err := <-answer; dbtest.Code(err) != "1053" && !strings.Contains(err.Error(), "invalid connection") {
		t.Errorf("a session that works: %v", err)
	}
	if err := idle.PingContext(withTimeout(t)); err == nil {
		t.Error("an idle session goes on")
	}
	if _, err := f.client("select 1"); err == nil || !strings.Contains(err.Error(), "no server of the database can be reached") {
		t.Errorf("a new session: %v", err)
	}
	server.Restart()
	f.must("select 1")
	again := f.connect()
	id := query[int](t, again, "select connection_id()")
	server.SQL(fmt.Sprint("kill ", id))
	eventually(t, "the session to end", func() bool { return f.metric("downstream_connections") == 0 })
}

// TestServerGone: a server that goes without a word in the middle of a response
// is spoken for, if that does not tear a packet.
func TestServerGone(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		answer string
		want   byte // sequence number of error 1053, 0 for none
	}{
		"before the answer":       {"", 1},
		"between two packets":     {"\x01\x00\x00\x01\x01", 2},
		"in the middle of one":    {"\x09\x00\x00\x01\x01", 0},
		"an answer that is none":  {"\x02\x00\x00\x01\x00\x00", 0},
		"more answers than asked": {string(append(okPacket(1, 0), okPacket(1, 0)...)), 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := start(t, config(), welcoming(t, func(c net.Conn) {
				if _, err := readPacket(c); err == nil {
					_, _ = c.Write([]byte(tc.answer))
				}
			}))
			c := f.login(mysqlproto.PluginNative, nil)
			c.read()
			c.seq = 0
			c.write(append([]byte{byte(mysqlproto.ComQuery)}, "select 1"...))
			got, _ := io.ReadAll(c.conn)
			at := bytes.Index(got, []byte("\xff\x1d\x04#08S01"))
			if at < 0 != (tc.want == 0) || at > 0 && got[at-1] != tc.want {
				t.Errorf("the client gets %q", got)
			}
			eventually(t, "the session to end", func() bool { return f.metric("downstream_connections") == 0 })
		})
	}
}

// TestServerGoneInUpload: what is said for a server that goes while a file is sent, or after that, has the number that the client expects.
func TestServerGoneInUpload(t *testing.T) {
	t.Parallel()
	f := start(t, config(), welcoming(t, func(c net.Conn) {
		_, _ = readPacket(c)
		_, _ = c.Write([]byte("\x03\x00\x00\x01\xfb/a"))
		for {
			if b, err := readPacket(c); err != nil || len(b) == 0 {
				return
			}
		}
	}))
	c := f.login(mysqlproto.PluginNative, nil)
	c.read()
	if b := c.ask(mysqlproto.ComQuery, "load data local infile '/a' into table t"); b[0] != 0xfb {
		t.Fatalf("%q", b)
	}
	c.write([]byte("one"))
	c.write([]byte("two"))
	c.write(nil)
	if e, err := mysqlproto.ParseError(c.read()); err != nil || e.Errno != mysqlproto.ErrnoServerShutdown {
		t.Errorf("the client gets %v, %v", e, err)
	}
}

// TestClientKilled: a client that is gone leaves nothing at the server, neither a
// transaction nor a statement that runs.
func TestClientKilled(t *testing.T) {
	t.Parallel()
	pki := redistest.NewPKI(t)
	server := dbtest.StartMariaDB(t, dbtest.MariaDBTLS(pki))
	f := start(t, config(), server.Addr())
	f.main().Lead(filtertest.Trusting(t, pki, "localhost"), server.Addr())
	server.SQL("create table t (n int); insert into t values (1)")
	login := func() *bare {
		c := f.login(mysqlproto.PluginNative, nil)
		c.read()
		return c
	}
	inTransaction, busy, loading := login(), login(), login()
	inTransaction.ask(mysqlproto.ComQuery, "begin")
	inTransaction.ask(mysqlproto.ComQuery, "update t set n = 2")
	busy.seq = 0
	busy.write(append([]byte{byte(mysqlproto.ComQuery)}, "select sleep(600)"...))
	_, _ = loading.conn.Write([]byte{200, 0, 0, 0, byte(mysqlproto.ComQuery), 's'}) // and no more
	eventually(t, "the query to run", func() bool { return server.Running("select sleep(600)") })
	for _, c := range []*bare{inTransaction, busy, loading} {
		_ = c.conn.Close()
	}
	eventually(t, "the server to be left", func() bool { return server.Sessions(dbtest.NativeUser) == 0 })
	eventually(t, "the sessions to be forgotten", func() bool { return f.metric("downstream_connections") == 0 })
	if got := server.SQL("select n from t for update"); got != "1" {
		t.Errorf("the transaction was committed: %s", got)
	}
	if got := f.metric("cancel_requests_total", "own"); got != 1 {
		t.Errorf("%v statements killed", got)
	}
	f.builder.threads.mu.Lock()
	defer f.builder.threads.mu.Unlock()
	if n := len(f.builder.threads.byID); n != 0 {
		t.Errorf("%d threads are left", n)
	}
}

// TestSlowReader: a client that does not read makes the server wait, not the
// proxy's memory grow; 1 GB comes through, in many rows or in one.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ rows, width int }{"rows of 1 MB": {1000, 1 << 20}, "one row of 1 GB": {1, 1<<30 - 1<<20}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := dbtest.StartMariaDB(t)
			f := start(t, config(), server.Addr())
			c := f.login(mysqlproto.PluginNative, nil)
			c.read()
			_ = c.conn.SetDeadline(time.Now().Add(2 * time.Minute))
			c.seq = 0
			c.write(append([]byte{byte(mysqlproto.ComQuery)}, fmt.Sprintf("select repeat(repeat('x', 1024), %d) from seq_1_to_%d", tt.width/1024, tt.rows)...))
			eventually(t, "the proxy to stop reading", func() bool { return f.metric("downstream_sent_bytes_total") > 1<<20 })
			for range 20 { // some turns of the loops
				if n := f.HeldBytes(); n > 8<<20 {
					t.Fatalf("%d bytes are held", n)
				}
			}
			buf := make([]byte, 1<<20)
			for total := 0; total < tt.rows*tt.width; {
				n, err := c.conn.Read(buf)
				if total += n; err != nil {
					t.Fatalf("after %d bytes: %v", total, err)
				}
			}
			if n := f.HeldBytes(); n > 16<<20 {
				t.Errorf("%d bytes are held", n)
			}
		})
	}
}

// TestIdleSessions hold no buffers.
func TestIdleSessions(t *testing.T) {
	t.Parallel()
	f := start(t, config(), welcoming(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }))
	const sessions = 1000
	for range sessions {
		f.login(mysqlproto.PluginNative, nil).read()
	}
	eventually(t, "all to be let in", func() bool { return f.metric("sessions_total") == sessions })
	if perLoop := f.HeldBytes() / len(f.Group.Loops()); perLoop > 72<<10 { // what reads fill
		t.Errorf("%d bytes are held", perLoop)
	}
	const most = 1 << 10 // beside netloop's two connections
	if n := unsafe.Sizeof(session{}) + unsafe.Sizeof(mysqlproto.Tracker{}); n > most {
		t.Errorf("a session has %d bytes", n)
	}
}

// TestSysbench runs through.
func TestSysbench(t *testing.T) {
	t.Parallel()
	f := start(t, config(), dbtest.StartMariaDB(t).Addr())
	host, port, _ := strings.Cut(f.addr, ":")
	bench := func(args ...string) string {
		t.Helper()
		args = append([]string{
			"--db-driver=mysql", "--mysql-host=" + host, "--mysql-port=" + port, "--mysql-user=app", "--mysql-password=x", "--mysql-db=app",
			"--tables=2", "--table-size=500", "--threads=4", "--events=400", "--time=0",
		}, args...)
		out, err := exec.CommandContext(withTimeout(t), redistest.Binary(t, "sysbench"), args...).CombinedOutput()
		if err != nil {
			t.Fatalf("sysbench %q: %v\n%s", args, err, out)
		}
		return string(out)
	}
	bench("oltp_common", "prepare")
	for _, script := range []string{"oltp_point_select", "oltp_read_write"} {
		for _, mode := range []string{"auto", "disable"} { // prepared statements
			if out := bench(script, "--db-ps-mode="+mode, "run"); !strings.Contains(out, "events:                      400") && !strings.Contains(out, "total number of events:              400") {
				t.Errorf("%s:\n%s", script, out)
			}
		}
	}
}
