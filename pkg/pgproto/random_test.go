package pgproto_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/pkg/pgproto"
)

// TestTrackerFollowsRandomPipelines sends what clients may send, many things at once and in any order, and asks whether the Tracker knows when
// everything is answered, and in which transaction status.
func TestTrackerFollowsRandomPipelines(t *testing.T) {
	t.Parallel()
	server := dbtest.StartPostgres(t)
	server.SQL("create table rows (x int check (x < 100))")
	const copyIn = "copy rows from stdin"
	fragments := map[string][]byte{
		"query":                              query("select 1"),
		"two statements":                     query("select 1; select 2"),
		"error":                              query("nonsense"),
		"empty":                              query(""),
		"begin":                              query("begin"),
		"commit":                             query("commit"),
		"rollback":                           query("rollback"),
		"extended":                           extended("select 1", 'S'),
		"batch":                              join(extended("select 1"), extended("select 2", 'H'), extended("select 3", 'S')),
		"extended error":                     join(extended("select 1"), extended("nonsense"), extended("select 3", 'S')),
		"extended begin":                     extended("begin", 'S'),
		"syncs":                              bare('S', 'S', 'H', 'S'),
		"copy in":                            join(query(copyIn), copyData("1\n"), copyData("2\n"), bare('c')),
		"copy in with syncs":                 join(query(copyIn), bare('S', 'H'), copyData("1\n"), bare('S', 'c')),
		"copy in that the client ends":       join(query(copyIn), copyData("1\n"), copyFail()),
		"copy in of nothing":                 join(query(copyIn), bare('c')),
		"copy to nowhere":                    join(query("copy nowhere from stdin"), copyData("1\n"), bare('c')),
		"copy and a query":                   join(query(copyIn+"; select 1"), copyData("1\n"), bare('c')),
		"two copies":                         join(query(copyIn+"; "+copyIn), copyData("1\n"), bare('c'), copyData("2\n"), bare('c')),
		"extended copy in":                   join(extended(copyIn), copyData("1\n"), bare('c', 'S')),
		"extended copy as libpq has it":      join(extended(copyIn, 'S'), copyData("1\n"), bare('c', 'S')),
		"extended copy that the client ends": join(extended(copyIn), copyData("1\n"), copyFail(), bare('S')),
		"copy out":                           query("copy (select generate_series(1, 5)) to stdout"),
		"extended copy out":                  extended("copy (select 1) to stdout", 'S'),
		"stray end of a copy":                bare('c'),
		"stray data of a copy":               copyData("x"),
	}
	var names []string
	for name := range fragments {
		names = append(names, name)
	}
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 0))
	c, err := connect(t, server.Addr(), login{user: dbtest.TrustUser, database: dbtest.Database, allow: everyMethod})
	if err != nil {
		t.Fatal(err)
	}
	for round := range 300 {
		var sent []string
		var packets []byte
		for range 1 + rng.IntN(8) {
			name := names[rng.IntN(len(names))]
			sent, packets = append(sent, name), append(packets, fragments[name]...)
		}
		end := fmt.Sprintf("end of round %d", round)
		c.write(append(packets, query("rollback; select '"+end+"'")...))
		if c.untilRow(end); !c.tracker.Idle() || c.tracker.Outstanding() != 0 || c.unasked != 1 {
			t.Fatalf("seed %d, round %d: after %q the Tracker says %q, and was surprised %d times", seed, round, sent, state(&c.tracker), c.unasked-1)
		}
	}
}

// untilRow receives up to the end of the query that returns the given row.
func (c *client) untilRow(row string) {
	c.t.Helper()
	for seen := false; ; {
		switch typ, payload := c.receive(); {
		case typ == pgproto.TypeDataRow && string(payload[6:]) == row:
			seen = true
		case typ == pgproto.TypeReadyForQuery:
			if seen {
				return
			}
		}
		if seen && c.tracker.Idle() && c.tracker.Outstanding() > 0 {
			c.t.Fatal("idle with something outstanding")
		}
	}
}
