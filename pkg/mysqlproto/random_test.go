package mysqlproto_test

import (
	"math/rand/v2"
	"testing"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/pkg/mysqlproto"
)

// TestTrackerFollowsRandomPipelines sends commands, many at once and in any order, and asks whether the Tracker finds as many responses, and
// knows when all is answered.
func TestTrackerFollowsRandomPipelines(t *testing.T) {
	t.Parallel()
	server := dbtest.StartMariaDB(t)
	server.SQL("CREATE TABLE numbers (x INT PRIMARY KEY) ENGINE=InnoDB; INSERT INTO numbers VALUES (1), (2), (3);\nDELIMITER //\n" +
		"CREATE PROCEDURE two() BEGIN SELECT 1; SELECT 2, 3; END//")
	commands := map[string][]byte{
		"query":             query("SELECT 1"),
		"rows":              query("SELECT x, REPEAT('y', 300), NULL FROM numbers"),
		"error":             query("nonsense"),
		"late error":        query("SELECT x, (SELECT x FROM numbers) FROM numbers"),
		"several":           query("SELECT 1; DO 1; SELECT 2, 3"),
		"several, an error": query("SELECT 1; nonsense; SELECT 2"),
		"procedure":         query("CALL two()"),
		"begin":             query("BEGIN"),
		"commit":            query("COMMIT"),
		"ping":              command(mysqlproto.ComPing, ""),
		"database":          command(mysqlproto.ComInitDB, dbtest.Database),
		"statistics":        command(mysqlproto.ComStatistics, ""),
		"fields":            command(mysqlproto.ComFieldList, "numbers\x00%"),
		"prepare":           command(mysqlproto.ComStmtPrepare, "SELECT x FROM numbers WHERE x = ?"),
		"prepare, an error": command(mysqlproto.ComStmtPrepare, "nonsense"),
		"execute the last":  execute("\xff\xff\xff\xff", 0, "\x00\x01\x08\x00\x01\x00\x00\x00\x00\x00\x00\x00"),
		"reset":             command(mysqlproto.ComResetConnection, ""),
		"unknown":           command(0x1d, ""),
	}
	var names []string
	for name := range commands {
		names = append(names, name)
	}
	for _, v := range variants {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			seed := rand.Uint64()
			rng := rand.New(rand.NewPCG(seed, 0))
			c := v.connect(t, server)
			for round := range 200 {
				var sent []string
				var packets []byte
				for range 1 + rng.IntN(8) {
					name := names[rng.IntN(len(names))]
					sent, packets = append(sent, name), append(packets, commands[name]...)
				}
				c.send(append(packets, query("SELECT 'the end'")...))
				var last []heard
				for range len(sent) + 1 {
					last = c.response()
				}
				if row := string(last[len(last)-2].payload); row != "\x07the end" {
					t.Fatalf("seed %d, round %d: after %q the last response has the row %q", seed, round, sent, row)
				}
				if !c.tracker.AtCommand() || c.tracker.Outstanding() != 0 || len(c.unread) > 0 {
					t.Fatalf("seed %d, round %d: after %q the Tracker says %q", seed, round, sent, state(c.tracker))
				}
				want := c.value("SELECT @@in_transaction") == "1"
				if got := c.tracker.InTransaction(); got != want {
					t.Fatalf("seed %d, round %d: after %q in a transaction: %v, want %v", seed, round, sent, got, want)
				}
				c.ask(query("ROLLBACK"))
			}
		})
	}
}
