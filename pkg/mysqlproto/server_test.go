package mysqlproto_test

import (
	"strings"
	"testing"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/mysqlproto"
)

func startServer(t *testing.T, opts ...dbtest.MariaDBOption) (*dbtest.MariaDB, *redistest.PKI) {
	t.Helper()
	pki := redistest.NewPKI(t)
	return dbtest.StartMariaDB(t, append(opts, dbtest.MariaDBTLS(pki))...), pki
}

// turn is what the client sends, what comes in each response, and what the Tracker makes of it.
type turn struct {
	send      []byte
	responses []string
	state     string
}

func state(t *mysqlproto.Tracker) string {
	var words []string
	add := func(is bool, word string) {
		if is {
			words = append(words, word)
		}
	}
	add(t.Idle(), "idle")
	add(t.AtCommand() && !t.Idle(), "at command")
	add(t.Unsure(), "unsure")
	add(t.Status()&mysqlproto.StatusInTransaction != 0, "transaction")
	add(t.Outstanding() > 0, "outstanding")
	add(t.Uploading(), "uploading")
	return strings.Join(words, ", ")
}

// variant is a set of capabilities that changes what responses look like. eof is what stands behind columns.
type variant struct {
	name          string
	with, without mysqlproto.Capabilities
	eof           string
}

var variants = []variant{
	{"deprecated EOF", 0, 0, ""},
	{"EOF", 0, mysqlproto.DeprecateEOF | mysqlproto.SessionTrack, "E"},
	{"MariaDB's capabilities", mysqlproto.MariaDBCacheMetadata | mysqlproto.MariaDBStmtBulk | mysqlproto.MariaDBExtendedTypes | mysqlproto.MariaDBProgress, mysqlproto.LongPassword, ""},
}

func (v variant) connect(t *testing.T, server *dbtest.MariaDB) *client {
	t.Helper()
	c, err := connect(t, server.Addr(), login{
		user: dbtest.NativeUser, password: dbtest.Password, database: dbtest.Database, allow: everyMethod, with: v.with, without: v.without,
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestTrackerFollowsAServer(t *testing.T) {
	t.Parallel()
	server, _ := startServer(t)
	server.SQL("CREATE TABLE upload (x INT) ENGINE=InnoDB; CREATE TABLE numbers (x INT PRIMARY KEY) ENGINE=InnoDB; INSERT INTO numbers VALUES (1), (2), (3);" +
		"\nDELIMITER //\nCREATE PROCEDURE two() BEGIN SELECT 1; SELECT 2, 3; END//" +
		"CREATE PROCEDURE leaves() BEGIN START TRANSACTION; UPDATE numbers SET x = x WHERE x = 1; SIGNAL SQLSTATE '45000'; END//")
	for _, v := range variants {
		for name, turns := range conversations(v.eof) {
			t.Run(v.name+"/"+name, func(t *testing.T) {
				t.Parallel()
				c := v.connect(t, server)
				for i, tt := range turns {
					c.uploads = [][]byte{[]byte("1\n2\n"), []byte("3\n")}
					c.send(tt.send)
					for j, want := range tt.responses {
						if got := kinds(c.response()); got != want {
							t.Fatalf("turn %d, response %d: %q, want %q", i, j, got, want)
						}
					}
					if got := state(c.tracker); got != tt.state {
						t.Fatalf("turn %d: Tracker says %q, want %q", i, got, tt.state)
					}
				}
			})
		}
	}
}

func join(parts ...[]byte) (b []byte) {
	for _, part := range parts {
		b = append(b, part...)
	}
	return b
}

// conversations are by name. e is what stands behind columns.
func conversations(e string) map[string][]turn {
	const ping = mysqlproto.ComPing
	one := "rr" + e + "rE" // a row of one column
	return map[string][]turn{
		"queries": {
			{query("SELECT 1"), []string{one}, "idle"},
			{query("SELECT 1, 2, 3"), []string{"rrrr" + e + "rE"}, "idle"},
			{query("SELECT x FROM numbers WHERE x > 9"), []string{"rr" + e + "E"}, "idle"},
			{query("DO 1"), []string{"O"}, "idle"},
			{query("SELECT REPEAT('x', 70000) FROM numbers"), []string{"rr" + e + "rrrE"}, "idle"},
			{query("SELECT NULL UNION ALL SELECT 1"), []string{"rr" + e + "rrE"}, "idle"},
		},
		"errors": {
			{query("nonsense"), []string{"!"}, "at command, unsure"},
			{command(ping, ""), []string{"O"}, "idle"},
			{query("SELECT x DIV 0, (SELECT x FROM numbers) FROM numbers"), []string{"rrr" + e + "!"}, "at command, unsure"},
			{query("DO 1"), []string{"O"}, "idle"},
			{query("CALL leaves()"), []string{"!"}, "at command, unsure"}, // a transaction that no status has told of
			{command(ping, ""), []string{"O"}, "at command, transaction"},
			{query("ROLLBACK"), []string{"O"}, "idle"},
		},
		"transactions": {
			{query("BEGIN"), []string{"O"}, "at command, transaction"},
			{query("SELECT 1"), []string{one}, "at command, transaction"},
			{query("COMMIT"), []string{"O"}, "idle"},
			{query("SET autocommit = 0"), []string{"O"}, "idle"},
			{query("SELECT x FROM numbers WHERE x = 1"), []string{one}, "at command, transaction"},
			{query("ROLLBACK"), []string{"O"}, "idle"},
			{query("BEGIN"), []string{"O"}, "at command, transaction"},
			{query("INSERT INTO numbers VALUES (1)"), []string{"!"}, "at command, unsure, transaction"},
			{command(mysqlproto.ComResetConnection, ""), []string{"O"}, "idle"},
		},
		"several results": {
			{query("SELECT 1; DO 1; SELECT 2"), []string{one + "O" + one}, "idle"},
			{query("CALL two()"), []string{one + "rrr" + e + "rEO"}, "idle"},
			{query("SELECT 1; nonsense"), []string{one + "!"}, "at command, unsure"},
			{query("BEGIN; SELECT 1"), []string{"O" + one}, "at command, transaction"},
		},
		"several commands at once": {
			{join(query("SELECT 1"), query("nonsense"), command(ping, "")), []string{one, "!"}, "unsure, outstanding"},
			{nil, []string{"O"}, "idle"},
		},
		"simple commands": {
			{command(ping, ""), []string{"O"}, "idle"},
			{command(mysqlproto.ComInitDB, dbtest.DatabaseProd), []string{"O"}, "idle"},
			{command(mysqlproto.ComInitDB, "nowhere"), []string{"!"}, "at command, unsure"},
			{command(mysqlproto.ComStatistics, ""), []string{"r"}, "at command, unsure"},
			{command(mysqlproto.ComSetOption, "\x01\x00"), []string{"E"}, "idle"},
			{command(mysqlproto.ComFieldList, "numbers\x00%"), []string{"!"}, "at command, unsure"},
			{command(mysqlproto.ComInitDB, dbtest.Database), []string{"O"}, "idle"},
			{command(mysqlproto.ComFieldList, "numbers\x00%"), []string{"rE"}, "idle"},
			{command(0x1d, ""), []string{"!"}, "at command, unsure"},
			{command(mysqlproto.ComDebug, ""), []string{"E"}, "idle"},
			{command(mysqlproto.ComRefresh, "\x02"), []string{"O"}, "idle"},
		},
		"upload": {
			{query("LOAD DATA LOCAL INFILE 'f' INTO TABLE upload"), []string{"FO"}, "idle"},
			{query("LOAD DATA LOCAL INFILE 'f' INTO TABLE upload; SELECT 1"), []string{"FO" + one}, "idle"},
			{query("BEGIN; LOAD DATA LOCAL INFILE 'f' INTO TABLE upload"), []string{"OFO"}, "at command, transaction"},
		},
	}
}

// TestPreparedStatementsAtAServer has what needs the id of a statement.
func TestPreparedStatementsAtAServer(t *testing.T) {
	t.Parallel()
	server, _ := startServer(t)
	server.SQL("CREATE TABLE numbers (x INT PRIMARY KEY) ENGINE=InnoDB; INSERT INTO numbers VALUES (1), (2), (3);\nDELIMITER //\nCREATE PROCEDURE two() BEGIN SELECT 1; SELECT 2, 3; END//")
	prepare := func(sql string) []byte { return command(mysqlproto.ComStmtPrepare, sql) }
	for _, v := range variants {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			c := v.connect(t, server)
			check := func(what string, messages []heard, want string) {
				t.Helper()
				if got := kinds(messages); got != want || !c.tracker.Idle() {
					t.Fatalf("%s: %q, want %q; Tracker says %q", what, got, want, state(c.tracker))
				}
			}
			columns := func(n int) string {
				if n == 0 {
					return ""
				}
				return strings.Repeat("r", n) + v.eof
			}
			none := c.ask(prepare("DO 1"))
			check("no parameters and no columns", none, "O")
			check("executing it", c.ask(execute(statement(none), 0, "")), "O")
			both := c.ask(prepare("SELECT x, x FROM numbers WHERE x > ? AND x < ?"))
			check("parameters and columns", both, "O"+columns(2)+columns(2))
			params := "\x00\x01\x08\x00\x08\x00" + "\x00\x00\x00\x00\x00\x00\x00\x00" + "\x09\x00\x00\x00\x00\x00\x00\x00"
			bound := "r" + columns(2) + "rrrE"
			if c.caps.Has(mysqlproto.MariaDBCacheMetadata) {
				bound = "rrrrE" // the columns are those of the answer to COM_STMT_PREPARE, and not sent again
			}
			check("executing it", c.ask(execute(statement(both), 0, params)), bound)
			check("executing it again", c.ask(execute(statement(both), 0, params)), bound)

			rows := c.ask(prepare("SELECT x FROM numbers"))
			check("columns alone", rows, "O"+columns(1))
			unread := func(what string, messages []heard) { // a cursor has more rows
				t.Helper()
				if got := kinds(messages); got != "rrE" || state(c.tracker) != "at command" || c.tracker.Status()&mysqlproto.StatusCursorExists == 0 {
					t.Errorf("%s: %q, want \"rrE\"; Tracker says %q", what, got, state(c.tracker))
				}
			}
			unread("opening a cursor", c.ask(execute(statement(rows), 1, "")))
			unread("fetching", c.ask(fetch(statement(rows), 2)))
			check("fetching the rest", c.ask(fetch(statement(rows), 2)), "rE")
			if c.tracker.Status()&mysqlproto.StatusLastRowSent == 0 {
				t.Error("there are more rows")
			}
			c.send(command(mysqlproto.ComStmtSendLongData, statement(both)+"\x00\x00data"))
			if !c.tracker.Idle() {
				t.Error("COM_STMT_SEND_LONG_DATA is thought to have an answer")
			}
			check("resetting", c.ask(command(mysqlproto.ComStmtReset, statement(both))), "O")
			c.send(command(mysqlproto.ComStmtClose, statement(both)))
			if !c.tracker.Idle() {
				t.Error("COM_STMT_CLOSE is thought to have an answer")
			}
			calls := c.ask(prepare("CALL two()"))
			check("a procedure", calls, "O")
			check("calling it", c.ask(execute(statement(calls), 0, "")), "r"+columns(1)+"rEr"+columns(2)+"rEO")
			if got := kinds(c.ask(prepare("nonsense"))); got != "!" {
				t.Errorf("preparing nonsense: %q", got)
			}
			c.send(command(mysqlproto.ComQuit, ""))
			if !c.tracker.Ended() {
				t.Error("Tracker has not heard COM_QUIT")
			}
		})
	}
}

// TestLargeMessagesAtAServer has messages of more than one packet, in both directions.
func TestLargeMessagesAtAServer(t *testing.T) {
	t.Parallel()
	server := dbtest.StartMariaDB(t)
	c := variants[0].connect(t, server)
	for _, size := range []int{mysqlproto.MaxPayload - 20, mysqlproto.MaxPayload, mysqlproto.MaxPayload + 100, 2 * mysqlproto.MaxPayload} {
		sql := "SELECT '" + strings.Repeat("x", size-len("SELECT ''")-1) + "'"
		if got := kinds(c.ask(query(sql))); got != "rrrE" || !c.tracker.Idle() {
			t.Errorf("a query of %d bytes: %q", size, got)
		}
	}
	if got := kinds(c.ask(query("SELECT REPEAT('x', 16777214), 'y'"))); got != "rrrrE" {
		t.Errorf("a row of more than one packet: %q", got)
	}
}
