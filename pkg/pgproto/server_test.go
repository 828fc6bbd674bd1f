package pgproto_test

import (
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/pgproto"
)

func TestLoginAtAServer(t *testing.T) {
	t.Parallel()
	server, pki := startServer(t)
	const plain, secure = false, true
	tests := []struct {
		name     string
		user     string
		password string
		tls      bool
		allow    pgproto.Methods
		want     pgproto.Methods // 0 for a refusal
		refusal  string
	}{
		{"trust", dbtest.TrustUser, "", plain, pgproto.MethodNone, pgproto.MethodNone, ""},
		{"cleartext", dbtest.CleartextUser, dbtest.Password, plain, pgproto.MethodCleartext, pgproto.MethodCleartext, ""},
		{"md5", dbtest.MD5User, dbtest.Password, plain, pgproto.MethodMD5, pgproto.MethodMD5, ""},
		{"scram", dbtest.SCRAMUser, dbtest.Password, plain, everyMethod, pgproto.MethodSCRAM, ""},
		{"scram with a password to prepare", dbtest.UnicodeUser, dbtest.UnicodePassword, plain, everyMethod, pgproto.MethodSCRAM, ""},
		{"scram-plus over TLS", dbtest.TLSUser, dbtest.Password, secure, everyMethod, pgproto.MethodSCRAMPlus, ""},
		{"scram-plus required", dbtest.SCRAMUser, dbtest.Password, secure, pgproto.MethodSCRAMPlus, pgproto.MethodSCRAMPlus, ""},
		{"scram alone over TLS", dbtest.SCRAMUser, dbtest.Password, secure, pgproto.MethodSCRAM, pgproto.MethodSCRAM, ""},
		{"certificate", dbtest.CertUser, "", secure, pgproto.MethodNone, pgproto.MethodNone, ""},

		{"wrong password", dbtest.SCRAMUser, "wrong", plain, everyMethod, 0, "28P01"},
		{"wrong password by md5", dbtest.MD5User, "wrong", plain, everyMethod, 0, "28P01"},
		{"trust is not enough", dbtest.TrustUser, "x", plain, everyMethod &^ pgproto.MethodNone, 0, "refused"},
		{"cleartext is not given", dbtest.CleartextUser, dbtest.Password, plain, everyMethod &^ pgproto.MethodCleartext, 0, "refused"},
		{"md5 is not given", dbtest.MD5User, dbtest.Password, plain, pgproto.MethodSCRAM, 0, "refused"},
		{"binding is wanted without TLS", dbtest.SCRAMUser, dbtest.Password, plain, pgproto.MethodSCRAMPlus, 0, "refused"},
		{"no password", dbtest.SCRAMUser, "", plain, everyMethod, 0, "there is none"},
		{"TLS user without TLS", dbtest.TLSUser, dbtest.Password, plain, everyMethod, 0, "28000"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := login{user: tt.user, password: tt.password, database: dbtest.Database, allow: tt.allow}
			if tt.tls {
				l.tls = pki.ClientConfig()
				if tt.user == dbtest.CertUser {
					l.tls = withCertificate(t, pki, dbtest.CertUser)
				}
			}
			c, err := connect(t, server.Addr(), l)
			if tt.want == 0 {
				if err == nil || !strings.Contains(err.Error(), tt.refusal) {
					t.Fatalf("error %v, want one with %q", err, tt.refusal)
				}
				if tt.refusal == "refused" && !errors.Is(err, pgproto.ErrMethodRefused) {
					t.Errorf("error %v is not ErrMethodRefused", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if c.method != tt.want {
				t.Errorf("logged in by %v, want %v", c.method, tt.want)
			}
			if got := c.query("select session_user"); got != tt.user {
				t.Errorf("logged in as %q", got)
			}
			if !c.tracker.Idle() {
				t.Error("not idle after a query")
			}
		})
	}
}

func TestStartupAtAServer(t *testing.T) {
	t.Parallel()
	server := dbtest.StartPostgres(t)
	c, err := connect(t, server.Addr(), login{
		user: dbtest.TrustUser, database: dbtest.DatabaseProd, allow: everyMethod, version: pgproto.Version32,
		params: []pgproto.Param{{Name: "application_name", Value: "x"}, {Name: "_pq_.nothing", Value: "1"}, {Name: "options", Value: "-c default_transaction_read_only=on"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := c.params["newest"]; got != "3.0 [_pq_.nothing]" {
		t.Errorf("the server negotiates %q", got)
	}
	if got := c.params["application_name"] + c.params["default_transaction_read_only"]; got != "xon" {
		t.Errorf("parameters %q", got)
	}
	if got := c.query("select current_database()"); got != dbtest.DatabaseProd {
		t.Errorf("database %q", got)
	}
	if got := c.query("create table t ()"); got != "ERROR "+pgproto.StateReadOnlyTransaction {
		t.Errorf("writing: %q", got)
	}
	_, err = connect(t, server.Addr(), login{user: "nobody", database: "none", allow: everyMethod, password: "x"})
	if err == nil || !strings.HasPrefix(err.Error(), pgproto.StateInvalidPassword) {
		t.Errorf("unknown user: %v", err)
	}
}

func TestCancelAtAServer(t *testing.T) {
	t.Parallel()
	server := dbtest.StartPostgres(t)
	c, err := connect(t, server.Addr(), login{user: dbtest.TrustUser, database: dbtest.Database, allow: everyMethod})
	if err != nil {
		t.Fatal(err)
	}
	c.write(pgproto.AppendQuery(nil, "select pg_sleep(60)"))
	redistest.Eventually(t, 20*time.Second, "the query to run", func() error {
		if server.SQL("select count(*) from pg_stat_activity where query like 'select pg_sleep%' and state = 'active'") != "1" {
			return errors.New("it does not run")
		}
		return nil
	})
	if c.tracker.Idle() || c.tracker.Outstanding() != 1 {
		t.Errorf("idle %v, outstanding %d during a query", c.tracker.Idle(), c.tracker.Outstanding())
	}
	packet, err := (&pgproto.Startup{Kind: pgproto.CancelRequest, PID: c.pid, Key: c.key}).AppendTo(nil)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", server.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write(packet); err != nil {
		t.Fatal(err)
	}
	if got := c.until(pgproto.TypeReadyForQuery); got != "TEZ" || !c.tracker.Idle() {
		t.Errorf("cancelled: %q, idle %v", got, c.tracker.Idle())
	}
}

// step is one turn of a conversation: what the client sends at once, up to which message of the server it then waits, what came, and what the
// Tracker makes of it.
type step struct {
	send  []byte
	until byte // 0 to wait for nothing
	want  string
	state string
}

// state puts what a Tracker knows into a word.
func state(t *pgproto.Tracker) string {
	var words []string
	add := func(is bool, word string) {
		if is {
			words = append(words, word)
		}
	}
	add(t.Idle(), "idle")
	add(t.Settled() && !t.Idle(), "settled")
	add(t.Outstanding() > 0, "outstanding")
	add(t.Pipelining(), "pipelining")
	add(t.CopyIn(), "copyin")
	add(t.CopyOut(), "copyout")
	if t.Status() != 0 && !t.Idle() {
		words = append(words, string(t.Status()))
	}
	return strings.Join(words, " ")
}

func query(sql string) []byte { return pgproto.AppendQuery(nil, sql) }

// extended are the messages of one statement of the extended protocol, and then the given ones.
func extended(sql string, then ...byte) []byte {
	s := pgproto.Statement{SQL: []byte(sql), Types: []byte{0, 0}}
	b := s.AppendParse(nil)
	b = (&pgproto.Bind{Rest: []byte{0, 0, 0, 0, 0, 0}}).AppendBind(b)
	b = pgproto.AppendMessage(b, pgproto.TypeExecute, []byte{0, 0, 0, 0, 0})
	return append(b, bare(then...)...)
}

// bare are messages without payload.
func bare(types ...byte) (b []byte) {
	for _, typ := range types {
		b = pgproto.AppendMessage(b, typ, nil)
	}
	return b
}

func join(parts ...[]byte) (b []byte) {
	for _, part := range parts {
		b = append(b, part...)
	}
	return b
}

func copyData(rows string) []byte {
	return pgproto.AppendMessage(nil, pgproto.TypeCopyData, []byte(rows))
}

func copyFail() []byte { return pgproto.AppendMessage(nil, pgproto.TypeCopyFail, []byte("enough\x00")) }

func TestTrackerFollowsAServer(t *testing.T) {
	t.Parallel()
	server := dbtest.StartPostgres(t)
	server.SQL("create table numbers (x int primary key); create table checked (x int);" +
		"create function refuse() returns trigger language plpgsql as $$ begin raise 'no'; end $$;" +
		"create trigger refuse before insert on checked for each statement execute function refuse()")
	const copyIn = "copy pg_temp.t from stdin"
	temp := step{query("create temp table t (x int check (x < 100))"), 'Z', "CZ", "idle"}
	tests := []struct {
		name        string
		replication bool
		steps       []step
	}{
		{"simple queries", false, []step{
			{query("select 1"), 'Z', "TDCZ", "idle"},
			{query("select 1; select 2"), 'Z', "TDCTDCZ", "idle"},
			{query(""), 'Z', "IZ", "idle"},
			{query("select"), 0, "", "outstanding I"},
			{nil, 'Z', "TDCZ", "idle"},
			{join(query("select 1"), query("select 2")), 'Z', "TDCZ", "outstanding I"},
			{nil, 'Z', "TDCZ", "idle"},
		}},
		{"a transaction", false, []step{
			{query("begin"), 'Z', "CZ", "settled T"},
			{query("select 1"), 'C', "TDC", "outstanding T"},
			{nil, 'Z', "Z", "settled T"},
			{query("select 1/0"), 'Z', "EZ", "settled E"},
			{query("rollback"), 'Z', "CZ", "idle"},
		}},
		{"an error ends no session", false, []step{{query("nonsense"), 'Z', "EZ", "idle"}}},
		{"extended protocol", false, []step{
			{extended("select 1"), 0, "", "pipelining I"},
			{bare('H'), 'C', "12DC", "pipelining I"},
			{bare('S'), 'Z', "Z", "idle"},
			{extended("select 1", 'S'), 'Z', "12DCZ", "idle"},
			{join(extended("select 1", 'S'), extended("select 2", 'S'), extended("select 3", 'S')), 'Z', "12DCZ", "outstanding I"},
			{nil, 'Z', "12DCZ", "outstanding I"},
			{nil, 'Z', "12DCZ", "idle"},
			{join(extended("begin"), extended("select 1", 'S')), 'Z', "12C12DCZ", "settled T"},
			{extended("commit", 'S'), 'Z', "12CZ", "idle"},
			{bare('S', 'S'), 'Z', "Z", "outstanding I"},
			{nil, 'Z', "Z", "idle"},
		}},
		{"an error in the extended protocol", false, []step{
			{join(extended("select 1/0"), extended("select 2", 'S')), 'Z', "1EZ", "idle"},
			{join(extended("select 1/x from generate_series(0, 0) x"), extended("select 2", 'S')), 'Z', "12EZ", "idle"},
			{extended("nonsense", 'H'), 'E', "E", "pipelining I"},
			{join(extended("select 1"), query("select 2")), 0, "", "pipelining I"}, // ignored, even the query
			{bare('S'), 'Z', "Z", "idle"},
		}},
		{"COPY in", false, []step{
			temp,
			{query(copyIn), 'G', "G", "outstanding copyin I"},
			{copyData("1\n2\n"), 0, "", "outstanding copyin I"},
			{bare('H', 'S'), 0, "", "outstanding copyin I"}, // ignored
			{bare('c'), 'Z', "CZ", "idle"},
			{join(query(copyIn), copyData("3\n"), bare('c')), 'Z', "GCZ", "idle"},
			{join(query(copyIn), bare('S'), copyData("3\n"), bare('c'), query("select count(*) from t")), 'Z', "GCZ", "outstanding I"},
			{nil, 'Z', "TDCZ", "idle"},
		}},
		{"COPY in that fails", false, []step{
			temp,
			{query(copyIn), 'G', "G", "outstanding copyin I"},
			{copyFail(), 'Z', "EZ", "idle"},
			{query(copyIn), 'G', "G", "outstanding copyin I"},
			{copyData("no number\n"), 'Z', "EZ", "idle"},
			{join(copyData("1\n"), bare('c')), 0, "", "idle"}, // ignored: the COPY is over
			{query("select 1"), 'Z', "TDCZ", "idle"},
			{join(query("copy nothing from stdin"), copyData("1\n"), bare('c'), query("select 1")), 'Z', "EZ", "outstanding I"},
			{nil, 'Z', "TDCZ", "idle"},
		}},
		{"COPY in by the extended protocol", false, []step{
			temp,
			{extended(copyIn, 'S'), 'G', "12G", "pipelining copyin I"}, // as libpq: this Sync is ignored
			{join(copyData("1\n"), bare('c', 'S')), 'Z', "CZ", "idle"},
			{extended(copyIn, 'H'), 'G', "12G", "pipelining copyin I"},
			{join(copyData("1\n"), bare('c', 'H')), 'C', "C", "pipelining I"},
			{bare('S'), 'Z', "Z", "idle"},
			{join(extended(copyIn), copyData("1\n"), bare('c', 'S')), 'Z', "12GCZ", "idle"},
			{extended(copyIn, 'S'), 'G', "12G", "pipelining copyin I"},
			{join(copyData("no number\n"), bare('H')), 'E', "E", "pipelining I"},
			{join(copyData("1\n"), bare('c', 'S')), 'Z', "Z", "idle"},
			{extended("copy checked from stdin", 'S'), 'Z', "12GEZ", "idle"}, // fails before the Sync is read, which then counts
			{query("select 1"), 'Z', "TDCZ", "idle"},
		}},
		{"COPY out", false, []step{
			{query("copy (select generate_series(1, 3)) to stdout"), 'H', "H", "outstanding copyout I"},
			{nil, 'c', "dddc", "outstanding I"},
			{nil, 'Z', "CZ", "idle"},
			{extended("copy (select 1) to stdout", 'S'), 'Z', "12HdcCZ", "idle"},
		}},
		{"replication", true, []step{
			{query("IDENTIFY_SYSTEM"), 'Z', "TDCZ", "idle"},
			{query("CREATE_REPLICATION_SLOT s TEMPORARY LOGICAL test_decoding"), 'Z', "TDCZ", "idle"},
			{query("START_REPLICATION SLOT s LOGICAL 0/0"), 'W', "W", "outstanding copyin copyout I"},
			{bare('c'), 'Z', "", "idle"},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := login{user: dbtest.TrustUser, database: dbtest.Database, allow: everyMethod}
			if tt.replication {
				l = login{user: dbtest.ReplicaUser, password: dbtest.Password, database: dbtest.Database, allow: everyMethod, params: []pgproto.Param{{Name: "replication", Value: "database"}}}
			}
			c, err := connect(t, server.Addr(), l)
			if err != nil {
				t.Fatal(err)
			}
			for i, s := range tt.steps {
				c.write(s.send)
				if s.until != 0 {
					if got := c.until(s.until); got != s.want && s.want != "" {
						t.Fatalf("step %d: %q, want %q", i, got, s.want)
					}
				}
				if got := state(&c.tracker); got != s.state {
					t.Fatalf("step %d: Tracker says %q, want %q", i, got, s.state)
				}
			}
			c.write(pgproto.AppendTerminate(nil))
			if !c.tracker.Terminated() {
				t.Error("Tracker has not heard Terminate")
			}
		})
	}
}
