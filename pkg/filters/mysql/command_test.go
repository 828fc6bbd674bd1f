package mysql

import (
	"context"
	"database/sql/driver"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/mysqlproto"
)

// readSleep reads the response to a query of one column and row, or its error.
func readSleep(c *bare) string {
	c.tb.Helper()
	for range 2 { // the count and the column
		c.read()
	}
	row := c.read()
	if e, err := mysqlproto.ParseError(row); err == nil {
		return fmt.Sprint(e.Errno)
	}
	c.read()
	return string(row[1:])
}

// TestChangeUser: COM_CHANGE_USER begins the session anew as the environment's
// user, whoever the app says that it is.
func TestChangeUser(t *testing.T) {
	t.Parallel()
	server := dbtest.StartMariaDB(t)
	for _, user := range []string{dbtest.NativeUser, dbtest.Ed25519User} {
		for _, plugin := range []string{mysqlproto.PluginNative, mysqlproto.PluginCachingSHA2, mysqlproto.PluginCleartext} {
			t.Run(user+" "+plugin, func(t *testing.T) {
				t.Parallel()
				timeout := 7 * time.Second
				cfg := config()
				cfg.StatementTimeout = &timeout
				f := start(t, cfg, server.Addr())
				f.world.Set("user", user)
				c := f.login(mysqlproto.PluginNative, nil)
				c.read()
				c.value("select @mark := 5")
				for range 2 { // a pool does it again and again
					change := mysqlproto.ChangeUser{User: "root", Auth: []byte("01234567890123456789"), Database: "nowhere", Charset: 45, AuthPlugin: plugin}
					payload, err := change.AppendTo(nil, bareCaps)
					if err != nil {
						t.Fatal(err)
					}
					b := c.ask(mysqlproto.ComChangeUser, string(payload[1:]))
					if plugin == mysqlproto.PluginCleartext {
						if b[0] != 0xfe {
							t.Fatalf("not asked for another method: %q", b)
						}
						c.write([]byte("01234567890123456789"))
						b = c.read()
					}
					if plugin == mysqlproto.PluginCachingSHA2 {
						if string(b) != "\x01\x03" {
							t.Fatalf("the method's word: %q", b)
						}
						b = c.read()
					}
					if b[0] != 0 {
						t.Fatalf("%q", b)
					}
					want := user + "@% " + dbtest.Database + " 7.000000 none"
					if got := c.value("select concat(current_user(), ' ', database(), ' ', @@max_statement_time, ' ', ifnull(@mark, 'none'))"); got != want {
						t.Errorf("got %q, want %q", got, want)
					}
				}
				if strings.Contains(f.log.String(), "01234567890123456789") {
					t.Error("what the app has shown is logged")
				}
			})
		}
	}
}

// TestResetConnection: the document's settings are made again.
func TestResetConnection(t *testing.T) {
	t.Parallel()
	timeout := 1500 * time.Millisecond
	cfg := config()
	cfg.StatementTimeout, cfg.ReadOnly = &timeout, true
	f := start(t, cfg, dbtest.StartMariaDB(t).Addr())
	c := f.login(mysqlproto.PluginNative, nil)
	c.read()
	const settings = "select concat(@@max_statement_time, ' ', @@tx_read_only, ' ', ifnull(@mark, 'none'))"
	c.value("select @mark := 5")
	if got := c.value(settings); got != "1.500000 ON 5" {
		t.Errorf("at the beginning: %q", got)
	}
	// The next command comes at once, and is answered with the settings made.
	reset := mysqlproto.AppendPacket(nil, 0, []byte{byte(mysqlproto.ComResetConnection)})
	all := mysqlproto.AppendPacket(reset, 0, append([]byte{byte(mysqlproto.ComQuery)}, settings...))
	if _, err := c.conn.Write(all); err != nil {
		t.Fatal(err)
	}
	c.seq = 1
	if b := c.read(); b[0] != 0 {
		t.Fatalf("%q", b)
	}
	c.seq = 1
	if row := readSleep(c); row != "1.500000 ON none" {
		t.Errorf("afterwards: %q", row)
	}
	if b := c.ask(mysqlproto.ComQuery, "create table t (n int)"); !strings.Contains(string(b), "READ ONLY transaction") {
		t.Errorf("a write: %q", b)
	}
	if b := c.ask(mysqlproto.ComQuery, "select sleep(30)"); len(b) == 1 {
		c.read()
		if b := c.read(); b[0] != 0xff && string(b) != "\x011" {
			t.Errorf("a statement that takes long: %q", b)
		}
	}
}

// TestReplication: a proxy does not know where a replica is at.
func TestReplication(t *testing.T) {
	t.Parallel()
	f := start(t, config(), dbtest.StartMariaDB(t).Addr())
	c := f.login(mysqlproto.PluginNative, nil)
	c.read()
	for _, command := range []mysqlproto.Command{mysqlproto.ComRegisterReplica, mysqlproto.ComBinlogDump, mysqlproto.ComBinlogDumpGTID, mysqlproto.ComTableDump} {
		b := c.ask(command, strings.Repeat("\x00", 20))
		if e, err := mysqlproto.ParseError(b); err != nil || e.Errno != mysqlproto.ErrnoNotSupported || !strings.Contains(e.Message, command.String()) {
			t.Errorf("%v: %v, %v", command, e, err)
		}
	}
	if got := c.value("select 7"); got != "7" {
		t.Errorf("the session goes on: %q", got)
	}
}

// TestLoadLocal: a file goes up, of more than a packet, and the session on.
func TestLoadLocal(t *testing.T) {
	t.Parallel()
	f := start(t, config(), dbtest.StartMariaDB(t).Addr())
	file := filepath.Join(t.TempDir(), "lines")
	var text strings.Builder
	for i := range 300_000 {
		fmt.Fprintf(&text, "%d\tline number %d\n", i, i)
	}
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	f.must("create table loaded (n int, text text)")
	got := f.must("load data local infile '"+file+"' into table loaded; select count(*), sum(n), database() from loaded", "--local-infile=1")
	if got != "300000\t44999850000\t"+dbtest.Database {
		t.Errorf("got %q", got)
	}
	if _, err := f.client("load data local infile '/nonexistent/file' into table loaded; select 7", "--local-infile=1"); err == nil {
		t.Error("a file that is not there is loaded")
	}
}

// TestPipelining: MariaDB's connectors send commands ahead; they are answered in
// order, and a statement may be executed before its number is known.
func TestPipelining(t *testing.T) {
	t.Parallel()
	f := start(t, config(), dbtest.StartMariaDB(t).Addr())
	c := f.login(mysqlproto.PluginNative, nil)
	c.read()
	var all []byte
	for i := range 50 {
		all = mysqlproto.AppendPacket(all, 0, append([]byte{byte(mysqlproto.ComQuery)}, fmt.Sprint("select ", i)...))
	}
	all = mysqlproto.AppendPacket(all, 0, []byte{byte(mysqlproto.ComPing)})
	for len(all) > 0 { // in pieces that end anywhere
		n := min(7, len(all))
		if _, err := c.conn.Write(all[:n]); err != nil {
			t.Fatal(err)
		}
		all = all[n:]
	}
	for i := range 50 {
		c.seq = 1
		if got := readSleep(c); got != fmt.Sprint(i) {
			t.Errorf("answer %d: %q", i, got)
		}
	}
	c.seq = 1
	if b := c.read(); b[0] != 0 {
		t.Errorf("the ping: %q", b)
	}
}

// TestCursor: rows are fetched when the client wants them.
func TestCursor(t *testing.T) {
	t.Parallel()
	f := start(t, config(), dbtest.StartMariaDB(t).Addr())
	c := f.login(mysqlproto.PluginNative, nil)
	c.read()
	b := c.ask(mysqlproto.ComStmtPrepare, "select 1 as n union select 2 union select 3")
	if b[0] != 0 {
		t.Fatalf("%q", b)
	}
	id := string(b[1:5])
	c.read() // the column
	if b := c.ask(mysqlproto.ComStmtExecute, id+"\x01\x01\x00\x00\x00"); len(b) != 1 {
		t.Fatalf("%q", b)
	}
	c.read()
	if b := c.read(); b[0] != 0xfe {
		t.Fatalf("no cursor: %q", b)
	}
	for _, rows := range []int{2, 1} {
		count := 0
		for b := c.ask(mysqlproto.ComStmtFetch, id+string(binary.LittleEndian.AppendUint32(nil, 2))); b[0] != 0xfe; b = c.read() {
			count++
		}
		if count != rows {
			t.Errorf("%d rows fetched, not %d", count, rows)
		}
	}
	c.seq = 0
	c.write([]byte(string([]byte{byte(mysqlproto.ComStmtClose)}) + id)) // has no answer
	if got := c.value("select 7"); got != "7" {
		t.Errorf("afterwards: %q", got)
	}
}

// TestSettings: read only and the timeout are asked of the server.
func TestSettings(t *testing.T) {
	t.Parallel()
	server := dbtest.StartMariaDB(t)
	cfg := config()
	timeout := 250 * time.Millisecond
	cfg.ReadOnly, cfg.StatementTimeout = true, &timeout
	cfg.Login.Database = ""
	f := start(t, cfg, server.Addr())
	if got := f.must("select database(), @@max_statement_time, @@tx_read_only", "-D", dbtest.DatabaseDev); got != dbtest.DatabaseDev+"\t0.250000\t1" {
		t.Errorf("got %q", got)
	}
	if _, err := f.client("create table t (n int)", "-D", dbtest.DatabaseDev); err == nil || !strings.Contains(err.Error(), "1792") {
		t.Errorf("a write: %v", err)
	}
	if _, err := f.client("select count(*) from information_schema.columns a, information_schema.columns b, information_schema.columns c", "-D", dbtest.DatabaseDev); err == nil || !strings.Contains(err.Error(), "1969") {
		t.Errorf("a query that takes long: %v", err)
	}
}

// TestSlowQuery: what takes long is logged without literals and parameters.
func TestSlowQuery(t *testing.T) {
	t.Parallel()
	cfg := config()
	cfg.SlowQuery = 50 * time.Millisecond
	f := start(t, cfg, dbtest.StartMariaDB(t).Addr())
	conn := f.connect("interpolateParams=false")
	for range 2 { // prepared, executed and closed each time
		query[string](t, conn, "select concat(sleep(?), 'quiet', ?)", 0.1, "hidden")
	}
	f.must(`select sleep(0.11), "secret\" word", 42, 0x736563726574 -- secret`)
	log := f.log.String()
	if !strings.Contains(log, "select sleep(?), ?, ?, ?") || strings.Count(log, "select concat(sleep(?), ?, ?)") < 2 { // to prepare one takes long, too, on a busy machine
		t.Error("slow queries are not logged")
	}
	for _, value := range []string{"secret", "hidden", "quiet"} {
		if strings.Contains(log, value) {
			t.Errorf("%s is logged", value)
		}
	}
}

// TestSlowCommand: a command without a text that takes long is not taken for the query before it.
func TestSlowCommand(t *testing.T) {
	t.Parallel()
	cfg := config()
	cfg.SlowQuery = 0 // all of them
	f := start(t, cfg, welcoming(t, func(c net.Conn) {
		for {
			if _, err := readPacket(c); err != nil {
				return
			}
			_, _ = c.Write(okPacket(1, mysqlproto.StatusAutocommit))
		}
	}))
	c := f.login(mysqlproto.PluginNative, nil)
	c.read()
	c.ask(mysqlproto.ComQuery, "update quickly")
	c.ask(mysqlproto.ComPing, "")
	eventually(t, "both to be logged", func() bool { return f.metric("slow_queries_total") == 2 })
	if log := f.log.String(); strings.Count(log, "update quickly") != 1 || !strings.Contains(log, "COM_PING") {
		t.Errorf("the command is not named: %s", log)
	}
}

func TestWithoutLiterals(t *testing.T) {
	t.Parallel()
	tests := []struct {
		sql, want   string
		noBackslash bool
	}{
		{`select 'a''b', "c""d", 'e\'f', 1.5e3 from t1`, "select ?, ?, ?, ? from t1", false},
		{"select `it's`, x'41', _utf8'x' # don't\nfrom t", "select `it's`, x?, _utf8? from t", false},
		{"select 1 /* 'secret' */ + -- secret\n2", "select ?  + ?", false},
		{`select 'cut off`, "select ?", false},
		{"select `cut off", "select ", false},
		{`select 'a\', 'secret'`, "select ?, ?", true},
		{"select 1--1", "select ?--?", false},
		{"select a --\tdon't\n, 'secret'", "select a , ?", false},
		{"select/* */42, b#\n7", "select ?, b ?", false},
	}
	for _, tc := range tests {
		if got := withoutLiterals([]byte(tc.sql), tc.noBackslash); got != tc.want {
			t.Errorf("%q: got %q, want %q", tc.sql, got, tc.want)
		}
	}
}

// TestPool: a pool of go-sql-driver's comes through the change of environments
// without an error, as its driver looks at connections before it uses them.
func TestPool(t *testing.T) {
	t.Parallel()
	f, _, _, next := twoEnvironments(t)
	db := f.open()
	for range 5 {
		if err := db.PingContext(withTimeout(t)); err != nil {
			t.Fatal(err)
		}
	}
	<-f.swap(next, filters.Retirement{Deadline: 20 * time.Second})
	var name string
	if err := db.QueryRowContext(context.Background(), "select name from env").Scan(&name); err != nil || name != "prod" {
		t.Errorf("%q, %v, a bad connection is %v", name, err, driver.ErrBadConn)
	}
}
