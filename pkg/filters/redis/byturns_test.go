package redis

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
)

// keysByTurns is how many keys the requests have: far more than are sorted in one turn.
const keysByTurns = 20 * keysPerTurn

func keysOf(command string, value ...string) string {
	words := []string{command}
	for i := range keysByTurns {
		words = append(append(words, fmt.Sprint("key:", i)), value...)
	}
	return redistest.Command(words...)
}

// A request of very many keys is taken apart, and its reply put together, in many
// turns of the loop; what the client sends behind it waits for its turn.
func TestManyKeysByTurns(t *testing.T) {
	t.Parallel()
	cfg := defaults()
	patient(cfg)
	f := start(t, cfg, newCluster("main", servers(t, 3)...))
	c := f.dial()
	c.Send(redistest.Command("SET", "key:7", "old") + keysOf("MSET", "new") + redistest.Command("GET", "key:7") +
		keysOf("MGET") + redistest.Command("PING") + keysOf("DEL") + redistest.Command("EXISTS", "key:7"))
	c.CloseWrite() // what it has asked for is still answered
	for i, want := range []string{
		"+OK\r\n", "+OK\r\n", "$3\r\nnew\r\n", fmt.Sprintf("*%d\r\n", keysByTurns) + strings.Repeat("$3\r\nnew\r\n", keysByTurns),
		"+PONG\r\n", fmt.Sprintf(":%d\r\n", keysByTurns), ":0\r\n",
	} {
		got, err := c.TryReadFrame()
		if err != nil {
			t.Fatalf("reply %d: %v", i, err)
		}
		if got != want {
			t.Fatalf("got %.100q of %d bytes, want %.100q of %d", got, len(got), want, len(want))
		}
	}
	f.unpinned()
}

// Others are served while keys are sorted. A client that goes meanwhile leaves nothing
// behind, and nothing of its request is executed.
func TestManyKeysLetOthersThrough(t *testing.T) {
	t.Parallel()
	nodes := servers(t, 3)
	f := start(t, defaults(), newCluster("main", nodes...))
	request := keysOf("MSET", "v")
	for round := range 50 {
		c := f.dial()
		c.Send(request)
		seen := false
		eventually(t, "the request to arrive", func() error {
			sorted := false
			f.onLoop(func(w *worker) {
				w.peers("test/redis", func(p *client) {
					if p.x != nil && p.x.upload != nil && p.x.upload.sorting != nil {
						seen = true
						p.drop()
					}
					sorted = sorted || p.ring.len() > 0
				})
			})
			if !seen && !sorted {
				return errors.New("not yet")
			}
			return nil
		})
		if !seen { // it went by between two looks
			c.ReadFrame()
			for _, n := range nodes {
				n.Do("FLUSHALL")
			}
			c.Close()
			continue
		}
		f.clientsAre(0)
		for _, n := range nodes {
			if got := n.Do("DBSIZE"); got != ":0\r\n" {
				t.Errorf("round %d: a server has %q keys of half a request", round, got)
			}
		}
		f.unpinned()
		return
	}
	t.Error("the keys are sorted in one turn")
}

// A client whose keys are sorted while its filter is retired moves on as soon as they
// are, without a further request.
func TestManyKeysAcrossRetirement(t *testing.T) {
	t.Parallel()
	f := start(t, defaults(), newCluster("main", servers(t, 3)...))
	request := keysOf("EXISTS")
	next := f.build(defaults())
	for range 50 {
		c := f.dial()
		c.Send(request)
		sorting, over := false, false
		done := make(chan struct{}, 10)
		eventually(t, "the request to arrive", func() error {
			f.onLoop(func(w *worker) {
				w.peers("test/redis", func(p *client) {
					sorting = sorting || p.x != nil && p.x.upload != nil && p.x.upload.sorting != nil
					over = over || p.ring.len() > 0
				})
				if sorting {
					w.retire(f.filter, next, filters.Retirement{Deadline: time.Hour}, func() { done <- struct{}{} })
				}
			})
			if !sorting && !over {
				return errors.New("not yet")
			}
			return nil
		})
		if got := c.ReadFrame(); got != ":0\r\n" {
			t.Errorf("got %q", got)
		}
		if !sorting { // it went by between two looks
			c.Close()
			f.clientsAre(0)
			continue
		}
		wantDone(t, done, true)
		check(t, c, "PING", "+PONG")
		return
	}
	t.Error("the keys are sorted in one turn")
}
