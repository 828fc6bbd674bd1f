package redis

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// TestRunawayScript: a server that is busy with a script looks at nothing behind it
// on the same connection, and refuses everything on others but what ends it.
func TestRunawayScript(t *testing.T) {
	t.Parallel()
	for _, shards := range []int{1, 4} {
		for _, db := range []string{"0", "3"} {
			t.Run(fmt.Sprintf("%d shards, database %s", shards, db), func(t *testing.T) {
				t.Parallel()
				testRunawayScript(t, shards, db)
			})
		}
	}
}

func testRunawayScript(t *testing.T, shards int, db string) {
	t.Helper()
	var nodes []*redistest.Node
	for range shards {
		nodes = append(nodes, redistest.Server(t, redistest.WithConfig("busy-reply-threshold 20")))
	}
	cfg := defaults()
	cfg.OpTimeout = 0
	f := start(t, cfg, newCluster("main", nodes...))
	runs, kills := f.dial(), f.dial()
	check(t, runs, "SELECT "+db, "+OK", "GET k", "$-1")
	check(t, kills, "SELECT "+db, "+OK", "GET k", "$-1")
	for _, kind := range []string{"SCRIPT", "FUNCTION"} {
		run := redistest.Command("EVAL", "while true do end", "1", "k")
		if kind == "FUNCTION" {
			check(t, kills, `FUNCTION LOAD "#!lua name=l\nredis.register_function('f', function() while true do end end)"`, "$1 l")
			run = redistest.Command("FCALL", "f", "1", "k")
		}
		runs.Send(run)
		redistest.Eventually(t, 60*time.Second, kind+" KILL to end the script", func() error {
			if got := kills.Do(kind, "KILL"); got != "+OK\r\n" {
				return fmt.Errorf("%q", got)
			}
			return nil
		})
		if got := runs.ReadFrame(); !strings.HasPrefix(got, "-ERR Error") && !strings.HasPrefix(got, "-ERR Script killed") {
			t.Errorf("the script's end: %q", got)
		}
		check(t, kills, "GET k", "$-1", kind+" KILL", "-NOTBUSY No scripts in execution right now.")
	}
}
