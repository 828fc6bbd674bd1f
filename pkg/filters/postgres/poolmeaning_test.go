package postgres

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
)

// TestPoolSearchPath: the same text means another thing by another search_path. A session gets what it would get over a connection of its own,
// whatever those have prepared that share its server.
func TestPoolSearchPath(t *testing.T) {
	t.Parallel()
	server := dbtest.StartPostgres(t)
	server.SQL(`create schema a; create schema b; create type a.mood as enum ('calm', 'glad'); create type b.mood as enum ('calm', 'sad');
		create table a.t (mood a.mood, n int); create table b.t (mood b.mood, n text, more int);
		create function a.f(text) returns text language sql as 'select ''text''::text'; create function b.f(int) returns text language sql as 'select ''int''::text';
		grant usage on schema a, b to public; grant all on a.t, b.t to public`)
	_, port, _ := strings.Cut(server.Addr(), ":")
	direct := "host=127.0.0.1 port=" + port + " user=" + dbtest.TrustUser + " dbname=" + dbtest.Database + " sslmode=disable"
	query := func(sql string) unit { return unit{[]pgproto3.FrontendMessage{&pgproto3.Query{String: sql}}, 1} }
	prepare := func(name, sql string) unit {
		return unit{[]pgproto3.FrontendMessage{&pgproto3.Parse{Name: name, Query: sql}, &pgproto3.Describe{ObjectType: 'S', Name: name}, &pgproto3.Sync{}}, 1}
	}
	execute := func(name string, params ...string) unit {
		b := &pgproto3.Bind{PreparedStatement: name}
		for _, p := range params {
			b.Parameters = append(b.Parameters, []byte(p))
		}
		return unit{[]pgproto3.FrontendMessage{b, &pgproto3.Describe{ObjectType: 'P'}, &pgproto3.Execute{}, &pgproto3.Sync{}}, 1}
	}
	work := []unit{
		prepare("insert", "insert into t (mood) values ($1)"), execute("insert", "calm"), prepare("select", "select * from t"), execute("select"),
		prepare("call", "select f($1)"), execute("call", "7"), execute("insert", "calm"),
	}
	around := func(begin, end []string) func(schema string) []unit {
		return func(schema string) (all []unit) {
			for _, sql := range begin {
				all = append(all, query(strings.ReplaceAll(sql, "$", schema)))
			}
			all = append(all, work...)
			for _, sql := range end {
				all = append(all, query(sql))
			}
			return all
		}
	}
	for name, say := range map[string]func(schema string) []unit{
		"for a transaction":                around([]string{"begin", "set local search_path to $"}, []string{"commit"}),
		"for a transaction, by a function": around([]string{"begin", "select set_config('search_path', '$', true)"}, []string{"commit"}),
		"by itself":                        around([]string{"set search_path to $"}, nil),
		"in a transaction":                 around([]string{"begin", "set search_path to $"}, []string{"commit", "discard all"}),
		"by a function":                    around([]string{"select set_config('search_path', '$', false)"}, []string{"discard all"}),
		"among others":                     around([]string{"set search_path to $; select 1"}, []string{"discard all"}),
		"prepared before": func(schema string) []unit {
			other := string("ba"[schema[0]-'a'])
			all := around([]string{"set search_path to $"}, nil)(schema)
			return append(all, query("set search_path to "+other), execute("select"), execute("call", "7"), query("set search_path to "+schema), execute("select"), execute("call", "7"))
		},
		"prepared for later": func(schema string) []unit {
			all := around([]string{"begin", "set local search_path to $"}, []string{"commit"})(schema)
			return append(all, query("begin"), query("set local search_path to "+schema), execute("select"), execute("call", "7"), execute("insert", "calm"), query("commit"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := start(t, pooled("transaction", 2), server.Addr())
			f.world.Set("user", dbtest.TrustUser)
			for i, schema := range []string{"a", "a", "b", "b", "a", "b"} { // two on each loop, and so on
				own, shared := newBare(t, direct), newBare(t, f.dsn())
				for n, u := range say(schema) {
					want, got := own.run(u), shared.run(u)
					if diff := cmp.Diff(trimmed(want), trimmed(got)); diff != "" {
						t.Errorf("session %d of %s, step %d (-direct +shared):\n%s\n%s", i, schema, n, describe(u), diff)
					}
				}
			}
		})
	}
}

// trimmed leaves out rows, of which others make more.
func trimmed(lines []string) (out []string) {
	for _, l := range lines {
		if !strings.HasPrefix(l, `"D`) && !strings.Contains(l, "SELECT ") {
			out = append(out, l)
		}
	}
	return append(out, fmt.Sprint(len(out)))
}
