package redis

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// talk makes random requests. Their replies depend on nothing but the requests
// before them from the same source.
type talk struct {
	*rand.Rand
	id    int
	inTx  int // commands left until EXEC; 0: in no transaction
	large int // one value in so many is large

	templates [][]string // see vocable
}

func (t *talk) key() string    { return fmt.Sprintf("c%d:k%d", t.id, t.IntN(12)) }
func (t *talk) tagged() string { return fmt.Sprintf("{c%d}:t%d", t.id, t.IntN(4)) }

func (t *talk) value() string {
	if t.IntN(t.large) == 0 {
		n := []int{17 << 10, 33 << 10, 70 << 10, 300 << 10, 1 << 20, 1100 << 10, 3 << 20}[t.IntN(7)]
		return strings.Repeat(string(rune('a'+t.IntN(26))), n+t.IntN(100))
	}
	return fmt.Sprint(t.IntN(1000))
}

func (t *talk) request() string {
	if t.inTx > 0 {
		return t.queued()
	}
	switch n := t.IntN(40); {
	case n < 16:
		return redistest.Command(t.vocable()...)
	case n == 16:
		return skipped + redistest.Command("APPEND", t.key(), t.value())
	case n == 17:
		return "append " + t.key() + " \"a \\x01b\" \r\n"
	}
	k, tag := t.key, t.tagged
	requests := []func() []string{
		func() []string { return []string{"GET", k()} },
		func() []string { return []string{"GET", k()} },
		func() []string { return []string{"get", k()} },
		func() []string { return []string{"SET", k(), t.value()} },
		func() []string { return []string{"SET", k(), t.value(), "GET"} },
		func() []string { return []string{"APPEND", k(), t.value()} },
		func() []string { return []string{"INCR", k()} },
		func() []string { return []string{"STRLEN", k()} },
		func() []string { return []string{"GETRANGE", k(), "10", "30000"} },
		func() []string { return []string{"SETRANGE", k(), fmt.Sprint(t.IntN(100)), "zz"} },
		func() []string { return []string{"MGET", k(), k(), k(), tag(), k()} },
		func() []string { return []string{"MSET", k(), t.value(), k(), t.value(), k(), "x"} },
		func() []string { return []string{"MSET", k(), "odd", k()} },
		func() []string { return []string{"DEL", k()} },
		func() []string { return []string{"DEL", "c" + fmt.Sprint(t.id) + "none", k(), k() + "none"} },
		func() []string { return []string{"EXISTS", tag(), tag()} },
		func() []string { return []string{"TYPE", k()} },
		func() []string { return []string{"EXPIRETIME", k()} },
		func() []string { return []string{"EXPIREAT", k(), "9999999999"} },
		func() []string { return []string{"PERSIST", k()} },
		func() []string { return []string{"RPUSH", k() + "l", t.value(), "b"} },
		func() []string { return []string{"LRANGE", k() + "l", "0", "-1"} },
		func() []string { return []string{"LPOP", k() + "l"} },
		func() []string { return []string{"LLEN", k()} },
		func() []string { return []string{"HSET", k() + "h", "f" + fmt.Sprint(t.IntN(5)), t.value()} },
		func() []string { return []string{"HGET", k() + "h", "f1"} },
		func() []string { return []string{"HLEN", k() + "h"} },
		func() []string {
			return []string{"ZADD", k() + "z", fmt.Sprint(t.IntN(50)), "m" + fmt.Sprint(t.IntN(9))}
		},
		func() []string { return []string{"ZRANGE", k() + "z", "0", "-1", "WITHSCORES"} },
		func() []string { return []string{"SADD", k() + "s", fmt.Sprint(t.IntN(9))} },
		func() []string { return []string{"SISMEMBER", k() + "s", "3"} },
		func() []string { return []string{"SINTERCARD", "2", tag() + "s", tag() + "s"} },
		func() []string { return []string{"LMOVE", tag() + "l", tag() + "l", "LEFT", "RIGHT"} },
		func() []string { return []string{"BLPOP", k() + "l", "0.001"} },
		func() []string { return []string{"BLMOVE", tag() + "l", tag() + "l", "LEFT", "RIGHT", "0.001"} },
		func() []string { return []string{"EVAL", "return {KEYS[1], ARGV[1]}", "1", k(), t.value()} },
		func() []string { return []string{"EVAL", "return redis.call('get', KEYS[1])", "1", k()} },
		func() []string { return []string{"PING"} },
		func() []string { return []string{"ECHO", t.value()} },
		func() []string { return []string{"GET"} },
		func() []string { return []string{"NOSUCHCOMMAND", "a", "b"} },
		func() []string { return []string{"SET", k(), "v", "NOSUCHOPTION"} },
		func() []string { return []string{"SELECT", fmt.Sprint(t.IntN(3))} },
		func() []string { return []string{"SELECT", "99999"} },
		func() []string { return []string{"OBJECT", "ENCODING", k()} },
		func() []string { return []string{"EXEC"} },
		func() []string { return []string{"WATCH", tag()} },
		func() []string { return []string{"UNWATCH"} },
		func() []string { t.inTx = 1 + t.IntN(5); return []string{"MULTI"} },
		func() []string { return nil },
	}
	args := requests[t.IntN(len(requests))]()
	if args == nil {
		return []string{"PING\r\n", "GET " + k() + "\r\n", "\r\n", "*0\r\n"}[t.IntN(4)]
	}
	return redistest.Command(args...)
}

// queued is a request within a transaction, whose keys share a tag.
func (t *talk) queued() string {
	if t.inTx--; t.inTx == 0 {
		return redistest.Command([]string{"EXEC", "EXEC", "EXEC", "DISCARD"}[t.IntN(4)])
	}
	return [](func() string){
		func() string { return redistest.Command("SET", t.tagged(), t.value()) },
		func() string { return redistest.Command("GET", t.tagged()) },
		func() string { return redistest.Command("MGET", t.tagged(), t.tagged()) },
		func() string { return redistest.Command("INCR", t.tagged()) },
		func() string { return redistest.Command("RPUSH", t.tagged()+"l", "x") },
		func() string { return redistest.Command("NOSUCHCOMMAND") },
		func() string { return redistest.Command("PING") },
		func() string { return redistest.Command("GET") },
	}[t.IntN(8)]()
}

// sendFragments writes all in pieces that end anywhere.
func sendFragments(c net.Conn, all string, rng *rand.Rand) error {
	for len(all) > 0 {
		n := len(all)
		switch rng.IntN(4) {
		case 0:
			n = min(n, 1+rng.IntN(20))
		case 1:
			n = min(n, 1+rng.IntN(2000))
		case 2:
			n = min(n, 1+rng.IntN(200_000))
		}
		if _, err := c.Write([]byte(all[:n])); err != nil {
			return err
		}
		all = all[n:]
		if rng.IntN(8) == 0 {
			<-time.After(time.Duration(rng.IntN(300)) * time.Microsecond)
		}
	}
	return nil
}

// Random pipelines, cut anywhere, get byte for byte what a single server
// answers, although there are four shards.
func TestDifferential(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		shards, large  int
		hello, bullied bool
	}{
		"one shard":                 {shards: 1, large: 50},
		"four shards":               {shards: 4, large: 1 << 30},
		"four shards, large values": {shards: 4, large: 10},
		"four shards in RESP3":      {shards: 4, large: 50, hello: true},
		"four shards, mostly large": {shards: 4, large: 3},
		"one shard, mostly large":   {shards: 1, large: 3, hello: true},
		"bullied":                   {shards: 2, large: 200, bullied: true},
		"bullied, large values":     {shards: 2, large: 10, bullied: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			direct := redistest.Server(t)
			f := start(t, defaults(), newCluster("main", servers(t, tt.shards)...))
			for _, c := range []*redistest.Client{redistest.Dial(t, direct.Addr()), f.dial()} {
				c.Do("SCRIPT", "LOAD", "return 42")
				if got := c.Do("CONFIG", "SET", "hash-max-listpack-value", "1000000000"); got != "+OK\r\n" {
					t.Fatalf("hashes are to keep their order: %q", got)
				}
			}
			var wg sync.WaitGroup
			if tt.bullied {
				f.bully()
			}
			for id := range 3 {
				got, want := f.dial(), redistest.Dial(t, direct.Addr())
				if tt.hello {
					got.Do("HELLO", "3")
					want.Do("HELLO", "3")
				}
				src := &talk{Rand: rand.New(rand.NewPCG(uint64(id), uint64(tt.shards*1000+tt.large))), id: id, large: tt.large}
				wg.Go(func() { compare(t, src, got, want) })
			}
			wg.Wait()
			if !t.Failed() && !tt.bullied {
				f.quiet()
			}
		})
	}
}

// bully starts clients that ask for large values and read them in bouts, so
// that the shared connections are taken up again and again.
func (f *fixture) bully() {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for i := range 4 {
		c := f.dial()
		key := fmt.Sprintf("bully%d", i)
		c.Do("SETRANGE", key, fmt.Sprint(3<<20), "x")
		wg.Go(func() {
			for ctx.Err() == nil {
				_ = c.TrySend(strings.Repeat(redistest.Command("GET", key), 2))
				for range 2 {
					select { // does not read for a while
					case <-ctx.Done():
					case <-time.After(20 * time.Millisecond):
					}
					if got, err := c.TryReadFrame(); err != nil || len(got) < 3<<20 {
						f.tb.Errorf("a bully got %.100q, %v", got, err)
						return
					}
				}
			}
		})
	}
	f.tb.Cleanup(wg.Wait)
	f.tb.Cleanup(cancel)
}

func compare(t *testing.T, src *talk, got, want *redistest.Client) {
	end := time.Now().Add(time.Second)
	for round := 0; time.Now().Before(end); round++ {
		var all strings.Builder
		var requests []string
		for range 1 + src.IntN([]int{1, 10, 100, 1500}[src.IntN(4)]) {
			r := src.request()
			all.WriteString(r)
			if !silent(r) {
				requests = append(requests, r)
			}
			if all.Len() > 8<<20 {
				break
			}
		}
		rng := rand.New(rand.NewPCG(src.Uint64(), 0))
		_ = got.Conn().SetWriteDeadline(time.Now().Add(time.Minute))
		sent := make(chan error, 2)
		go func() { sent <- sendFragments(got.Conn(), all.String(), rng) }()
		go func() { sent <- want.TrySend(all.String()) }()
		for i, r := range requests {
			w, err := want.TryReadFrame()
			if err != nil {
				t.Errorf("the server: %v", err)
				return
			}
			g, err := got.TryReadFrame()
			if err != nil || g != w {
				t.Errorf("round %d, reply %d of %d: %.150q: got %.200q (%d bytes), %v, want %.200q (%d bytes)", round, i, len(requests), r, g, len(g), err, w, len(w))
				return
			}
		}
		for range 2 {
			if err := <-sent; err != nil {
				t.Error(err)
				return
			}
		}
	}
}
