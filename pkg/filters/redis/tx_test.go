package redis

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

const errAborted = "-EXECABORT Transaction discarded because of previous errors."

func TestShardedTransaction(t *testing.T) {
	t.Parallel()
	f := fourShards(t, nil)
	c := f.dial()
	check(t, c,
		"MULTI", "+OK", "SET {a}1 x", "+QUEUED", "GET {a}1", "+QUEUED", "EXEC", "*2 +OK $1 x",
		"MULTI", "+OK", "EXEC", "*0",
		"MULTI", "+OK", "DISCARD", "+OK",
		// without keys before the first key, and without any
		"MULTI", "+OK", "PING", "+QUEUED", "ECHO hi", "+QUEUED", "SET {a}1 y", "+QUEUED", "PING x", "+QUEUED",
		"EXEC", "*4 +PONG $2 hi +OK $1 x",
		"MULTI", "+OK", "PING", "+QUEUED", "EVAL \"return 5\" 0", "+QUEUED", "EXEC", "*2 +PONG :5",
		"MULTI", "+OK", "PING", "+QUEUED", "DISCARD", "+OK",
		"EXEC", "-ERR EXEC without MULTI", "DISCARD", "-ERR DISCARD without MULTI",
		// errors abort
		"MULTI", "+OK", "SET {a}1", "-ERR wrong number of arguments for 'set' command", "SET {a}1 no", "+QUEUED", "EXEC", errAborted,
		"MULTI", "+OK", "SET {a}1 no", "+QUEUED", "NOSUCH", "-ERR unknown command 'NOSUCH', with args beginning with: ", "EXEC", errAborted,
		"MULTI", "+OK", "SAVE", "-ERR Command not allowed inside a transaction", "EXEC", errAborted,
		"MULTI", "+OK", "MULTI", "-ERR MULTI calls can not be nested", "WATCH {a}1", "-ERR WATCH inside MULTI is not allowed",
		"SET {a}1 z", "+QUEUED", "EXEC", "*1 +OK",
		"GET {a}1", "$1 z",
		// what cannot be part of one
		"MULTI", "+OK", "DBSIZE", "-ERR dragoman: 'dbsize' concerns all shards and cannot be part of a transaction on one", "EXEC", errAborted,
		"MULTI", "+OK", "CONFIG SET maxmemory 0", "-ERR dragoman: 'config|set' concerns all shards and cannot be part of a transaction on one", "EXEC", errAborted,
		"MULTI", "+OK", "AUTH x y", "-ERR dragoman: 'auth' cannot be part of a transaction", "EXEC", errAborted,
		"MULTI", "+OK", "CLIENT REPLY OFF", "-ERR dragoman: 'client|reply' cannot be part of a transaction", "DISCARD", "+OK",
		"MULTI", "+OK", "SUBSCRIBE x", "-ERR dragoman: 'subscribe' cannot be part of a transaction", "EXEC", errAborted,
		"PING", "+PONG",
	)
	k := f.onEach("k")
	check(t, c,
		"MULTI", "+OK", "SET "+k[0]+" 1", "+QUEUED", "SET "+k[1]+" 1", "-"+errCrossSlot, "SET "+k[0]+" 2", "+QUEUED", "EXEC", errAborted,
		"MULTI", "+OK", fmt.Sprintf("MGET %s %s", k[0], k[1]), "-"+errCrossSlot, "EXEC", errAborted,
		fmt.Sprintf("EXISTS %s %s", k[0], k[1]), ":0",
	)
	for _, key := range k {
		check(t, c, "MULTI", "+OK", "SET "+key+" 1", "+QUEUED", "SELECT 2", "+QUEUED", "SET "+key+" in2", "+QUEUED", "EXEC", "*3 +OK +OK +OK",
			"GET "+key, "$3 in2", "SELECT 0", "+OK", "GET "+key, "$1 1")
	}
	f.unpinned()
}

// unpinned waits until nothing goes on and no client holds a connection of its
// own.
func (f *fixture) unpinned() {
	f.tb.Helper()
	f.quiet()
	f.onLoop(func(w *worker) {
		for _, p := range w.pools {
			n := len(p.idle)
			for _, u := range p.shared {
				if u != nil {
					n++
				}
			}
			if p.open != n {
				f.tb.Errorf("%s: %d connections, of which %d are idle or shared", p.describe(), p.open, n)
			}
		}
	})
}

func TestShardedWatch(t *testing.T) {
	t.Parallel()
	f := fourShards(t, nil)
	a, b := f.dial(), f.dial()
	k := f.onEach("k")
	check(t, a, "WATCH {x}1 {x}2", "+OK", "GET {x}1", "$-1")
	check(t, b, "SET {x}2 1", "+OK")
	check(t, a, "MULTI", "+OK", "SET {x}1 1", "+QUEUED", "EXEC", "*-1",
		"WATCH {x}1", "+OK", "SET {y}1 a", "+OK", "MULTI", "+OK", "SET {x}1 1", "+QUEUED", "EXEC", "*1 +OK",
		"WATCH {x}1", "+OK", "SET {x}1 own", "+OK", "MULTI", "+OK", "GET {x}1", "+QUEUED", "EXEC", "*-1",
		fmt.Sprintf("WATCH %s", k[0]), "+OK", fmt.Sprintf("WATCH %s", k[1]), "-"+errCrossSlot,
		// commands of other shards, and over all, between WATCH and MULTI
		fmt.Sprintf("MSET %s 0 %s 1 %s 2 %s 3", k[0], k[1], k[2], k[3]), "+OK", fmt.Sprintf("GET %s", k[2]), "$1 2",
		"DBSIZE", ":7", "BLPOP nope 0.01", "*-1",
		"MULTI", "+OK", fmt.Sprintf("GET %s", k[0]), "+QUEUED", "EXEC", "*-1",
		"WATCH {x}1", "+OK", "UNWATCH", "+OK", "UNWATCH", "+OK",
		"WATCH {x}1", "+OK", "SELECT 1", "+OK", "SET {x}1 in1", "+OK", "MULTI", "+OK", "GET {x}1", "+QUEUED", "EXEC", "*1 $3 in1",
		"GET {x}1", "$3 in1", "SELECT 0", "+OK", "GET {x}1", "$3 own",
		"WATCH {x}1", "+OK", "RESET", "+RESET", "EXEC", "-ERR EXEC without MULTI",
	)
	check(t, a, "WATCH {x}1", "+OK")
	if got := a.Do("HELLO", "3"); !strings.HasPrefix(got, "%7\r\n") {
		t.Fatalf("HELLO 3: %q", got)
	}
	check(t, a, "MULTI", "+OK", "HGETALL {x}h", "+QUEUED", "EXEC", "*1 %0", "WATCH {x}1", "+OK")
	check(t, b, "SET {x}1 new", "+OK")
	check(t, a, "MULTI", "+OK", "GET {x}1", "+QUEUED", "EXEC", "_")
	a.Close()
	f.unpinned()
}

func TestTransactionOutlivesItsServer(t *testing.T) {
	t.Parallel()
	f := fourShards(t, nil)
	c := f.dial()
	key := f.keyOn(1, "k")
	check(t, c, "WATCH "+key, "+OK")
	f.nodes[1].Restart()
	redistest.Eventually(t, 5*time.Second, "the loss to be noticed", func() error {
		var err error
		f.onLoop(func(w *worker) {
			for c := range allClients(w) {
				if m, ok := c.x.mode.(*tx); ok && m.u != nil {
					err = fmt.Errorf("not yet")
				}
			}
		})
		return err
	})
	const lost = "-ERR dragoman: the connection of this transaction was lost"
	check(t, c, "MULTI", "+OK", "SET "+key+" 1", lost, "SET "+key+" 2", lost, "EXEC", errAborted)
	redistest.Eventually(t, 5*time.Second, "the shard to be back", func() error {
		if got := c.Do("GET", key); got != "$-1\r\n" {
			return fmt.Errorf("got %q", got)
		}
		return nil
	})
}

// allClients iterates over the clients of a loop.
func allClients(w *worker) func(func(*client) bool) {
	return func(yield func(*client) bool) {
		for _, f := range w.filters {
			for c := range f.clients.All() {
				if c.x != nil && !yield(c) {
					return
				}
			}
		}
	}
}

func TestTransactionOnADeadShard(t *testing.T) {
	t.Parallel()
	f := fourShards(t, nil)
	c := f.dial()
	key := f.keyOn(1, "k")
	f.nodes[1].Kill()
	// MULTI never fails: a client may have sent what follows already.
	c.Send(redistest.Command("MULTI") + redistest.Command("SET", key, "1") + redistest.Command("SET", f.keyOn(0, "k"), "1") + redistest.Command("EXEC"))
	if got := c.ReadFrame(); got != "+OK\r\n" {
		t.Errorf("MULTI: %q", got)
	}
	for _, want := range []string{"-ERR dragoman: ", "-ERR dragoman: ", "-EXECABORT"} {
		if got := c.ReadFrame(); !strings.HasPrefix(got, want) && !strings.HasPrefix(got, "-CROSSSLOT") {
			t.Errorf("got %q", got)
		}
	}
	check(t, c, "GET "+f.keyOn(0, "k"), "$-1")
}
