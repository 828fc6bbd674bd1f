package redis

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// A transaction whose first request is refused because nobody serves its slot, as during a
// failover, is begun again when somebody does.
func TestClusterDownForTransaction(t *testing.T) {
	t.Parallel()
	f := partialCluster(t, nil)
	key := f.keyIn(0, "k")
	slot := strconv.Itoa(redistest.KeySlot(key))
	for _, tt := range []struct {
		name              string
		at, later         [][]string // sent at once, and once the first of them is being tried again
		answers, laterSay string
	}{
		{
			name:    "all of it at once",
			at:      [][]string{{"MULTI"}, {"INCR", key}, {"INCR", key}, {"EXEC"}, {"PING"}},
			answers: "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:1\r\n:2\r\n+PONG\r\n",
		},
		{
			name:    "by steps",
			at:      [][]string{{"MULTI"}, {"INCR", key}},
			later:   [][]string{{"GET", key}, {"EXEC"}},
			answers: "+OK\r\n+QUEUED\r\n", laterSay: "+QUEUED\r\n*2\r\n:3\r\n$1\r\n3\r\n",
		},
		{
			name:    "discarded",
			at:      [][]string{{"MULTI"}, {"INCR", key}, {"DISCARD"}, {"PING"}},
			answers: "+OK\r\n+QUEUED\r\n+OK\r\n+PONG\r\n",
		},
		{
			name:    "watch",
			at:      [][]string{{"WATCH", key}},
			later:   [][]string{{"GET", key}, {"MULTI"}, {"INCR", key}, {"EXEC"}},
			answers: "+OK\r\n", laterSay: "$1\r\n3\r\n+OK\r\n+QUEUED\r\n*1\r\n:4\r\n",
		},
	} {
		c := f.dial()
		check(t, f.nodes[0].Client(), "CLUSTER DELSLOTS "+slot, "+OK")
		before := rejected(f.nodes[0], tt.at)
		c.Send(commands(tt.at))
		eventually(t, tt.name+": another try", func() error {
			if got := rejected(f.nodes[0], tt.at) - before; got < 3 {
				return fmt.Errorf("%d requests were refused", got)
			}
			return nil
		})
		c.Send(commands(tt.later))
		check(t, f.nodes[0].Client(), "CLUSTER ADDSLOTS "+slot, "+OK")
		for _, want := range []string{tt.answers, tt.laterSay} {
			if got := readAll(c, want); got != want {
				t.Errorf("%s: got %q, want %q", tt.name, got, want)
			}
		}
		c.Close()
	}
	f.nothingLeft(t)
	f.unpinned()
}

// It has the error in the end, as the cluster gives it, and is not executed. A client that
// goes meanwhile leaves nothing.
func TestClusterDownForTransactionForLong(t *testing.T) {
	t.Parallel()
	f := partialCluster(t, func(cfg *resource.RedisFilter) { cfg.OpTimeout = time.Second })
	c, gone := f.dial(), f.dial()
	key := f.keyIn(0, "k")
	slot := strconv.Itoa(redistest.KeySlot(key))
	down := "-CLUSTERDOWN Hash slot not served"
	check(t, f.nodes[0].Client(), "CLUSTER DELSLOTS "+slot, "+OK")
	gone.Send(commands([][]string{{"MULTI"}, {"INCR", key}, {"EXEC"}}))
	eventually(t, "a try", func() error {
		if rejected(f.nodes[0], [][]string{{"incr"}}) == 0 {
			return fmt.Errorf("none")
		}
		return nil
	})
	gone.Close()
	check(t, c,
		"MULTI", "+OK", "INCR "+key, down, "INCR "+key, down, "EXEC", errAborted,
		"WATCH "+key, down, "MULTI", "+OK", "PING", "+QUEUED", "INCR "+key, down, "EXEC", errAborted,
		"PING", "+PONG")
	check(t, f.nodes[0].Client(), "CLUSTER ADDSLOTS "+slot, "+OK")
	check(t, c, "MULTI", "+OK", "INCR "+key, "+QUEUED", "EXEC", "*1 :1")
	f.nothingLeft(t)
	f.quit(t, c)
}

func commands(list [][]string) string {
	var b strings.Builder
	for _, args := range list {
		b.WriteString(redistest.Command(args...))
	}
	return b.String()
}

// readAll reads as much from c as want has.
func readAll(c *redistest.Client, want string) string {
	var b strings.Builder
	for b.Len() < len(want) {
		b.WriteString(c.ReadFrame())
	}
	return b.String()
}

// rejected is how many requests of the kinds that are in the list a node has refused.
func rejected(n *redistest.Node, list [][]string) int {
	sum := 0
	stats := n.Do("INFO", "commandstats")
	seen := map[string]bool{}
	for _, args := range list {
		name := strings.ToLower(args[0])
		if seen[name] {
			continue
		}
		seen[name] = true
		_, of, _ := strings.Cut(stats, "cmdstat_"+name+":")
		_, calls, _ := strings.Cut(of, "rejected_calls=")
		calls, _, _ = strings.Cut(calls, ",")
		count, _ := strconv.Atoi(calls)
		sum += count
	}
	return sum
}

// A transaction that a failover, or the move of its slot, comes in between is executed by the
// node that has the slot then. One that has watched keys is not, since nobody knows whether
// they have changed.
func TestClusterTransactionFollowsItsSlot(t *testing.T) {
	t.Parallel()
	f := overCluster(t, nil)
	c, watcher := f.dial(), f.dial()
	key := f.keyIn(0, "k")
	begin := []string{"MULTI", "+OK", "ECHO x", "+QUEUED", "INCR " + key, "+QUEUED", "INCR {" + key + "}2", "+QUEUED"}
	check(t, c, begin...)
	check(t, watcher, "WATCH "+key, "+OK", "MULTI", "+OK", "INCR "+key, "+QUEUED")
	f.rc.Failover(f.rc.Replicas(f.nodes[0])[0])
	check(t, c, "EXEC", "*3 $1 x :1 :1")
	if got := watcher.Do("EXEC"); !strings.HasPrefix(got, "-TRYAGAIN ") {
		t.Errorf("EXEC behind WATCH: %q", got)
	}
	owner := f.rc.Owner(redistest.KeySlot(key))
	want := 1
	check(t, c, begin...)
	f.rc.MoveSlot(redistest.KeySlot(key), owner, f.nodes[1], func(redistest.MoveStep) {
		want++
		check(t, c, "EXEC", fmt.Sprintf("*3 $1 x :%d :%d", want, want))
		check(t, c, begin...)
	})
	want++
	check(t, c, "EXEC", fmt.Sprintf("*3 $1 x :%d :%d", want, want))
	// What was refused by then keeps the whole from being executed.
	check(t, c, begin...)
	f.rc.MoveSlot(redistest.KeySlot(key), f.nodes[1], owner, func(redistest.MoveStep) {})
	if got := c.Do("INCR", key); !strings.HasPrefix(got, "-TRYAGAIN ") {
		t.Errorf("INCR where the slot was: %q", got)
	}
	if got := c.Do("EXEC"); !strings.HasPrefix(got, "-TRYAGAIN ") {
		t.Errorf("EXEC behind that: %q", got)
	}
	check(t, c, "GET "+key, fmt.Sprintf("$1 %d", want))
	f.quit(t, c, watcher)
}
