package redis

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// patient leaves slow machines their time.
func patient(cfg *resource.RedisFilter) { cfg.OpTimeout = time.Minute }

// A request of 48 MB that is split over shards costs little more than that,
// however large its values are.
func TestSplitRequestMemory(t *testing.T) {
	const total = 48 << 20
	f := fourShards(t, patient)
	for _, size := range []int{6 << 20, 100 << 10, 20 << 10, 300} {
		c := f.dial()
		check(t, c, "EXISTS "+strings.Join(f.onEach("k"), " "), ":0") // the connections are there
		conn, n := c.Conn(), total/size
		value := []byte(strings.Repeat("v", size) + "\r\n")
		_ = conn.SetDeadline(time.Now().Add(2 * time.Minute))
		heap, chunks := f.during(func() {
			w := bufio.NewWriterSize(conn, 64<<10)
			fmt.Fprintf(w, "*%d\r\n$4\r\nMSET\r\n", 1+2*n)
			for i := range n {
				key := "key" + strconv.Itoa(i)
				fmt.Fprintf(w, "$%d\r\n%s\r\n$%d\r\n", len(key), key, size)
				_, _ = w.Write(value)
			}
			_ = w.Flush() // the reply tells
			c.Timeout = time.Minute
			if got := c.ReadFrame(); got != "+OK\r\n" {
				t.Errorf("MSET: %.100q", got)
			}
		})
		t.Logf("values of %d bytes: heap +%d MB, chunks +%d MB", size, heap>>20, chunks>>20)
		if heap > 2*total+24<<20 || chunks > total*5/4+16<<20 { // the heap has garbage, too
			t.Errorf("values of %d bytes: the heap grew by %d MB, the loop's chunks by %d MB", size, heap>>20, chunks>>20)
		}
		check(t, c, "DBSIZE", fmt.Sprintf(":%d", n), "STRLEN key"+strconv.Itoa(n/2), fmt.Sprintf(":%d", size), "FLUSHALL", "+OK")
		c.Close()
	}
	f.quiet()
}

// splitRouted has two shards behind a prefix that is taken off, and two behind none.
func splitRouted(t *testing.T) *fixture {
	t.Helper()
	nodes := servers(t, 4)
	cfg := defaults()
	cfg.Routes = []resource.RedisRoute{{Prefix: "cut:", Cluster: "cut", RemovePrefix: true}}
	return start(t, cfg, newCluster("main", nodes[:2]...), newCluster("cut", nodes[2:]...))
}

// Large requests that are split arrive as they were sent, whatever the sizes of
// keys and values, and wherever the network cuts them.
func TestSplitRequestSizes(t *testing.T) {
	t.Parallel()
	f := splitRouted(t)
	c := f.dial()
	rng := rand.New(rand.NewPCG(5, 6))
	sizes := []int{0, 1, 100, 4 << 10, 16<<10 - 5, 33 << 10, 72 << 10, 100 << 10, 300 << 10, 1 << 20}
	for round := range 12 {
		values := map[string]string{}
		mset, keys := []string{"mSet"}, []string{}
		for i := range 1 + rng.IntN(40) {
			key := fmt.Sprintf("%s%d:%d", []string{"", "cut:"}[i%2], round, i)
			if i%10 == 9 {
				key += strings.Repeat("k", sizes[rng.IntN(len(sizes))])
			}
			value := strings.Repeat(string(rune('a'+i%26)), sizes[rng.IntN(len(sizes))])
			mset, keys = append(mset, key, value), append(keys, key)
			values[key] = value
		}
		keys = append(keys, keys[0], "none", "cut:none")
		var want strings.Builder
		fmt.Fprintf(&want, "*%d\r\n", len(keys))
		for _, k := range keys {
			if v, ok := values[k]; ok {
				want.WriteString(bulk(v))
			} else {
				want.WriteString("$-1\r\n")
			}
		}
		request := redistest.Command("SET", "before", "1") + redistest.Command(mset...) + redistest.Command("GET", "before") +
			redistest.Command(append([]string{"MGET"}, keys...)...) + redistest.Command(append([]string{"DEL"}, keys...)...)
		go func() {
			for len(request) > 0 {
				n := min(len(request), 1+rng.IntN(150<<10))
				if c.TrySend(request[:n]) != nil {
					return // the reads say what is wrong
				}
				request = request[n:]
			}
		}()
		for _, want := range []string{"+OK\r\n", "+OK\r\n", bulk("1"), want.String(), fmt.Sprintf(":%d\r\n", len(values))} {
			if got := c.ReadFrame(); got != want {
				t.Fatalf("round %d: %d bytes instead of %d: %.80q", round, len(got), len(want), got)
			}
		}
	}
	f.quiet()
}

// A million keys are no more than their bytes, and are all answered for.
func TestSplitRequestOfManyKeys(t *testing.T) {
	const n = 200_000
	f := fourShards(t, patient)
	c := f.dial()
	c.Timeout = time.Minute
	check(t, c, "EXISTS "+strings.Join(f.onEach("k"), " "), ":0") // the connections are there
	for i := 0; i < n; i += 1000 {
		check(t, c, "SET key:"+strconv.Itoa(i)+" x", "+OK")
	}
	var keys strings.Builder
	for i := range n {
		keys.WriteString(bulk("key:" + strconv.Itoa(i)))
	}
	for _, name := range []string{"EXISTS", "TOUCH", "MGET", "UNLINK"} {
		request := fmt.Sprintf("*%d\r\n%s%s", n+1, bulk(name), keys.String())
		heap, chunks := f.during(func() {
			c.Send(request)
			got := c.ReadFrame()
			if name == "MGET" {
				got = fmt.Sprintf(":%d\r\n", strings.Count(got, "$1\r\nx\r\n"))
			}
			if got != fmt.Sprintf(":%d\r\n", n/1000) {
				t.Errorf("%s: %.100q", name, got)
			}
		})
		t.Logf("%s of %d bytes: heap +%d MB, chunks +%d MB", name, len(request), heap>>20, chunks>>20)
		if limit := 2*len(request) + 24<<20; chunks > limit {
			t.Errorf("%s: the loop's chunks grew by %d MB", name, chunks>>20)
		}
	}
	f.onLoop(func(w *worker) {
		for _, m := range w.merges {
			if size := 4*cap(m.order) + m.size; size > keepMergeCap {
				t.Errorf("a merge of %d bytes is kept", size)
			}
		}
	})
	f.quiet()
}

// One key with very many members is passed on as it comes.
func TestManyArgumentsOfOneKey(t *testing.T) {
	const n, member = 600_000, 100
	f := fourShards(t, patient)
	c := f.dial()
	c.Timeout = time.Minute
	check(t, c, "LLEN list", ":0")
	heap, chunks := f.during(func() {
		c.Send(fmt.Sprintf("*%d\r\n", n+2) + bulk("RPUSH") + bulk("list"))
		piece := strings.Repeat(bulk(strings.Repeat("m", member)), 1000)
		for range n / 1000 {
			c.Send(piece)
		}
		if got := c.ReadFrame(); got != fmt.Sprintf(":%d\r\n", n) {
			t.Errorf("RPUSH: %.100q", got)
		}
	})
	t.Logf("heap +%d MB, chunks +%d MB", heap>>20, chunks>>20)
	if limit := 32 << 20; heap > limit || chunks > limit {
		t.Errorf("the heap grew by %d MB, the loop's chunks by %d MB", heap>>20, chunks>>20)
	}
	f.quiet()
}

// A request that has to be split is executed whole or not at all.
func TestSplitRequestNotWhole(t *testing.T) {
	t.Parallel()
	f := fourShards(t, func(cfg *resource.RedisFilter) { cfg.Limits.MaxRequestBytes = 4 << 20 })
	keys := f.onEach("k")
	mset := func(size int) string {
		request := []string{"MSET"}
		for _, k := range keys {
			request = append(request, k, strings.Repeat("v", size))
		}
		return redistest.Command(request...)
	}
	none := "EXISTS " + strings.Join(keys, " ")
	c := f.dial()
	for _, size := range []int{20 << 10, 200 << 10} {
		whole := mset(size)
		for _, part := range []int{size, 2*size + 100, len(whole) - 1} {
			gone := f.dial()
			gone.Send(whole[:part])
			gone.Close()
		}
		broken := f.dial()
		broken.Send(strings.TrimSuffix(whole, "\r\n") + "xx")
		got, _ := broken.TryReadFrame()
		wantPrefix(t, "a malformed MSET", got, "-ERR Protocol error")
		wantClosed(t, broken, 20*time.Second)
	}
	check(t, c, none, ":0")
	c.Send(mset(1100<<10) + mset(100<<10) + mset(3<<20))
	for _, want := range []string{"-" + errTooLarge + "\r\n", "+OK\r\n", "-" + errTooLarge + "\r\n"} {
		if got := c.ReadFrame(); got != want {
			t.Errorf("got %.100q, want %q", got, want)
		}
	}
	check(t, c, none, ":4", "STRLEN "+keys[3], fmt.Sprintf(":%d", 100<<10))
	f.nodes[1].Kill()
	c.Send(mset(200 << 10))
	wantPrefix(t, "MSET", c.ReadFrame(), "-ERR dragoman: shard \"s2\"")
	check(t, c, "PING", "+PONG")
	f.quiet()
}

// A Redis Cluster takes a request for each slot, however large the whole is.
func TestSplitRequestOverCluster(t *testing.T) {
	t.Parallel()
	f := overCluster(t, patient)
	c := f.dial()
	c.Timeout = time.Minute
	const n = 2000
	mset, keys, values := []string{"MSET"}, []string{}, []string{}
	for i := range n {
		key, value := "key:"+strconv.Itoa(i), strings.Repeat(strconv.Itoa(i), 100+i%300)
		mset, keys, values = append(mset, key, value), append(keys, key), append(values, value)
	}
	if got := c.Do(mset...); got != "+OK\r\n" {
		t.Fatalf("MSET: %.100q", got)
	}
	keys = append(keys, strings.Repeat("none", 20<<10)) // which makes the next ones large, too
	if got, want := c.Do(append([]string{"MGET"}, keys...)...), strings.TrimSuffix(redistest.Command(append(values, "")...), bulk("")); got != want+"$-1\r\n" {
		t.Errorf("MGET: %d bytes instead of %d", len(got), len(want))
	}
	if got := c.Do(append([]string{"DEL"}, keys...)...); got != fmt.Sprintf(":%d\r\n", n) {
		t.Errorf("DEL: %.100q", got)
	}
	f.quiet()
}

// One key that has no place refuses the whole request, and nothing of it is kept.
func TestSplitRequestWithoutRoute(t *testing.T) {
	t.Parallel()
	cfg := defaults()
	cfg.CatchAll = nil
	cfg.Routes = []resource.RedisRoute{{Prefix: "a:", Cluster: "main"}}
	f := start(t, cfg, newCluster("main", servers(t, 2)...))
	c := f.dial()
	value := strings.Repeat("v", 100<<10)
	_, before := f.memory()
	for range 5 {
		wantPrefix(t, "MSET", c.Do("MSET", "a:1", value, "a:2", value, "b:3", value), "-"+errNoRoute)
		check(t, c, "EXISTS a:1 a:2", ":0")
	}
	wantPrefix(t, "MSET", c.Do("MSET", "a:1", value, "a:2", value), "+OK")
	check(t, c, "EXISTS a:1 a:2", ":2")
	eventually(t, "the chunks to be free", func() error {
		if _, chunks := f.memory(); chunks > before+256<<10 {
			return fmt.Errorf("%d KB are in use, and %d before", chunks>>10, before>>10)
		}
		return nil
	})
	f.quiet()
}
