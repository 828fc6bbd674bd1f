package postgres

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
)

// bare is a session of which a test sees each message.
type bare struct {
	tb    testing.TB
	front *pgproto3.Frontend
}

func newBare(tb testing.TB, dsn string) *bare {
	tb.Helper()
	conn, err := pgconn.Connect(withTimeout(tb), dsn)
	if err != nil {
		tb.Fatal(err)
	}
	h, err := conn.Hijack()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { h.Conn.Close() })
	if err := h.Conn.SetDeadline(deadlineOf(withTimeout(tb))); err != nil {
		tb.Fatal(err)
	}
	return &bare{tb, h.Frontend}
}

// unit is messages that are sent at once, and how many times ReadyForQuery is the
// answer.
type unit struct {
	say   []pgproto3.FrontendMessage
	ready int
}

// run sends a unit and returns what comes of it, a message a line.
func (b *bare) run(u unit) []string {
	b.tb.Helper()
	for _, m := range u.say {
		b.front.Send(m)
	}
	if err := b.front.Flush(); err != nil {
		b.tb.Fatal(err)
	}
	var got []string
	for n := 0; n < u.ready; {
		m, err := b.front.Receive()
		if err != nil {
			return append(got, "end: "+err.Error())
		}
		switch m := m.(type) {
		case *pgproto3.ReadyForQuery:
			n++
			got = append(got, "Z "+string(m.TxStatus))
		case *pgproto3.ErrorResponse:
			got = append(got, fmt.Sprintf("E %s %s %s %d", m.Severity, m.Code, m.Message, m.Position))
		case *pgproto3.NoticeResponse:
			got = append(got, fmt.Sprintf("N %s %s", m.Code, m.Message))
		case *pgproto3.RowDescription:
			for i := range m.Fields {
				m.Fields[i].TableOID = 0 // each side has tables of its own
			}
			raw, err := m.Encode(nil)
			if err != nil {
				b.tb.Fatal(err)
			}
			got = append(got, fmt.Sprintf("%q", raw))
		default:
			raw, err := m.Encode(nil)
			if err != nil {
				b.tb.Fatal(err)
			}
			got = append(got, fmt.Sprintf("%q", raw))
		}
	}
	return got
}

// dice makes units.
type dice struct {
	*rand.Rand
	own    string // the table of the session
	status string // of its transaction, as the last ReadyForQuery told
}

func (d dice) of(list ...string) string { return list[d.IntN(len(list))] }

func (d dice) name() string { return d.of("", "a", "a", "b", "c") }

// statement returns a text that takes one parameter or none.
func (d dice) statement() (sql string, params int) {
	switch d.IntN(12) {
	case 0:
		return "select n, text from shared where n = $1", 1
	case 1:
		return "select n, text from shared order by n", 0
	case 2:
		return "insert into " + d.own + " values ($1) returning n", 1
	case 3:
		return "select count(*) from " + d.own, 0
	case 4:
		return "select 1/($1::int - 3)", 1
	case 5:
		return "selec", 0
	case 6:
		return "savepoint s", 0
	case 7:
		return d.of("commit", "rollback"), 0
	case 8:
		return "select '2020-06-01 12:00+00'::timestamptz::text", 0
	case 9:
		return "set timezone to 'Asia/Tokyo'", 0
	case 10:
		return "", 0
	}
	return "select current_setting($1::text)", 1
}

// simple makes a query of the simple protocol.
func (d dice) simple() unit {
	sql := d.of(
		"begin", "begin", "commit", "rollback", "select 1", "select 1; select 2", "", "select 1/0", "begin; select 1", "savepoint s", "rollback to s",
		"insert into "+d.own+" values (7)", "select count(*) from "+d.own, "set timezone to 'Europe/Paris'", "set datestyle to 'sql, dmy'",
		"set datestyle to 'iso, mdy'", "set application_name to 'one'", "set extra_float_digits to 0", "set search_path to public", "set my.own to 5", "set local timezone to 'Asia/Tokyo'", "reset timezone", "deallocate all", "deallocate a",
		"discard all", "select now()::text is not null, current_setting('timezone'), current_setting('datestyle'), current_setting('application_name')",
		"select current_setting('extra_float_digits')", "copy shared to stdout", "declare k cursor for select n from shared", "fetch k", "select count(*) from kept",
		"show client_encoding", "set client_encoding to 'latin1'", "set client_encoding to 'utf8'", "set standard_conforming_strings to off", `select 'a\\b'`,
		"do $$ begin raise notice 'heard'; end $$", "alter table "+d.own+" add column if not exists m int", "alter table "+d.own+" drop column if exists m",
	)
	if d.IntN(12) == 0 { // what makes the session keep its connection
		sql = d.of("create temp table kept (n int)", "set extra_float_digits to 0", "listen news", "set search_path to pg_catalog, public",
			"select pg_advisory_lock(1) is null; select pg_advisory_unlock(1)", "prepare sqlside as select 5", "select set_config('extra_float_digits', '1', false)")
	}
	return unit{[]pgproto3.FrontendMessage{&pgproto3.Query{String: sql}}, 1}
}

func (d dice) copyIn() unit {
	say := []pgproto3.FrontendMessage{&pgproto3.Query{String: "copy " + d.of(d.own, d.own, "nothing") + " (n) from stdin"}}
	for range d.IntN(3) {
		say = append(say, &pgproto3.CopyData{Data: []byte(d.of("1\n", "2\n3\n", "x\n"))})
	}
	if d.IntN(4) == 0 {
		return unit{append(say, &pgproto3.CopyFail{Message: "enough"}), 1}
	}
	return unit{append(say, &pgproto3.CopyDone{}), 1}
}

// extended makes a pipeline.
func (d dice) extended() (u unit) {
	for n := range 1 + d.IntN(3) {
		if n > 0 && d.status == "T" { // it might have failed by then
			break
		}
		for range 1 + d.IntN(5) {
			u.say = append(u.say, d.message()...)
		}
		if d.IntN(6) == 0 {
			u.say = append(u.say, &pgproto3.Flush{})
		}
		u.say = append(u.say, &pgproto3.Sync{})
		u.ready++
	}
	return u
}

// message makes messages that belong together. A portal is used only by those
// that come with its Bind: PostgreSQL 15 crashes where the transaction in which a
// portal was bound has failed.
func (d dice) message() []pgproto3.FrontendMessage {
	name, portal := d.name(), d.of("", "", "p")
	bind := func(params int) pgproto3.FrontendMessage {
		b := &pgproto3.Bind{PreparedStatement: name, DestinationPortal: portal}
		for range params {
			b.Parameters = append(b.Parameters, []byte(d.of("1", "2", "3", "timezone")))
		}
		return b
	}
	execute := &pgproto3.Execute{Portal: portal, MaxRows: uint32(d.IntN(3))}
	describe := &pgproto3.Describe{ObjectType: 'P', Name: portal}
	switch d.IntN(8) {
	case 0, 1:
		sql, params := d.statement()
		return []pgproto3.FrontendMessage{&pgproto3.Parse{Name: name, Query: sql}, bind(params), execute}
	case 2:
		sql, _ := d.statement()
		return []pgproto3.FrontendMessage{&pgproto3.Close{ObjectType: 'S', Name: name}, &pgproto3.Parse{Name: name, Query: sql}}
	case 3:
		return []pgproto3.FrontendMessage{&pgproto3.Describe{ObjectType: 'S', Name: name}}
	case 4:
		return []pgproto3.FrontendMessage{&pgproto3.Close{ObjectType: d.of("S", "P")[0], Name: name}}
	case 5:
		return []pgproto3.FrontendMessage{bind(d.IntN(2)), execute, execute, execute}
	}
	return []pgproto3.FrontendMessage{bind(d.IntN(2)), describe, execute}
}

func (d dice) unit() unit {
	if d.status == "E" { // a pooled session's statement may not be at its server, and cannot be prepared there now
		return d.simple()
	}
	switch d.IntN(8) {
	case 0, 1, 2:
		return d.simple()
	case 3:
		return d.copyIn()
	}
	return d.extended()
}

// TestPoolDifferential: several sessions say random things, each over a
// connection of its own and through a pool that they share. The answers are the
// same, byte for byte, and metrics tell of them.
func TestPoolDifferential(t *testing.T) {
	t.Parallel()
	server := dbtest.StartPostgres(t)
	server.SQL("create table shared (n int, text text); insert into shared values (1, 'one'), (2, 'two'), (3, 'three')")
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			differ(t, server, seed)
		})
	}
}

func differ(t *testing.T, server *dbtest.Postgres, seed uint64) {
	const sessions = 3
	random := rand.New(rand.NewPCG(seed, 0))
	cfg := pooled("transaction", sessions)
	cfg.Pool.MaxStatements = uint32(1 + random.IntN(4))
	f := start(t, cfg, server.Addr())
	f.world.Set("user", dbtest.TrustUser)
	var direct, shared [sessions]*bare
	_, port, _ := strings.Cut(server.Addr(), ":")
	for i := range sessions {
		for _, side := range []string{"direct", "shared"} {
			name := fmt.Sprintf("%s_%d_%d", side, seed, i)
			server.SQL("create table " + name + " (n int); alter table " + name + " owner to " + dbtest.TrustUser)
		}
		direct[i] = newBare(t, "host=127.0.0.1 port="+port+" user="+dbtest.TrustUser+" dbname="+dbtest.Database+" sslmode=disable")
		shared[i] = newBare(t, f.dsn())
	}
	var said []string
	var status [sessions][2]string
	heard := map[string]float64{}
	for range 120 {
		i := random.IntN(sessions)
		again := random.Uint64()
		of := func(side string) unit {
			return dice{rand.New(rand.NewPCG(again, 1)), fmt.Sprintf("%s_%d_%d", side, seed, i), status[i][0]}.unit()
		}
		said = append(said, fmt.Sprintf("%d: %s", i, describe(of("shared"))))
		want, got := direct[i].run(of("direct")), shared[i].run(of("shared"))
		count(heard, got)
		want, got = alike(want, &status[i][0]), alike(got, &status[i][1])
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("session %d (-direct +shared):\n%s\nsaid:\n%s", i, diff, strings.Join(said[max(0, len(said)-25):], "\n"))
		}
	}
	for what, n := range heard {
		eventually(t, fmt.Sprintf("metrics to tell of %v times %s", n, what), func() bool {
			if what == "I" {
				return f.metric("transactions_total") == n
			}
			return f.metric("errors_total", what) == n
		})
	}
}

// count counts errors by their SQLSTATE, and ends of transactions.
func count(heard map[string]float64, lines []string) {
	for _, l := range lines {
		switch f := strings.Fields(l); {
		case f[0] == "E":
			heard[f[2]]++
		case l == "Z I":
			heard["I"]++
		}
	}
}

// alike leaves out what may differ: in a transaction that has failed, nearly
// everything is an error, but a pooled session's statement may have to be prepared
// first.
func alike(lines []string, status *string) []string {
	var out []string
	for _, l := range lines {
		if strings.HasPrefix(l, "Z ") {
			*status = l[2:]
		} else if *status == "E" {
			continue
		}
		out = append(out, strings.ReplaceAll(l, "direct_", "shared_"))
	}
	return out
}

func describe(u unit) string {
	var b strings.Builder
	for _, m := range u.say {
		fmt.Fprintf(&b, "%T%+v ", m, m)
	}
	return strings.ReplaceAll(b.String(), "*pgproto3.", "")
}
