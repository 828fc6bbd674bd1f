package redis

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// A merged reply of 60 MB costs little more than that.
func TestMergedReplyMemory(t *testing.T) {
	const values, size = 10, 6 << 20
	f := fourShards(t, nil)
	c := f.dial()
	request := []string{"MGET"}
	for i := range values {
		key := f.keyOn(i%4, fmt.Sprintf("k%d:", i))
		f.nodes[i%4].Do("SETRANGE", key, fmt.Sprint(size-1), string(rune('0'+i)))
		request = append(request, key)
	}
	check(t, c, "MGET none "+f.keyOn(0, "n")+" "+f.keyOn(1, "n"), "*3 $-1 $-1 $-1") // the connections are there
	_ = c.Conn().SetDeadline(time.Now().Add(time.Minute))
	r := bufio.NewReaderSize(c.Conn(), 64<<10)
	heap, chunks := f.during(func() {
		c.Send(redistest.Command(request...))
		if line, err := r.ReadString('\n'); line != fmt.Sprintf("*%d\r\n", values) {
			t.Errorf("got %q, %v", line, err)
		}
		for i := range values {
			line, err := r.ReadString('\n')
			if line != fmt.Sprintf("$%d\r\n", size) {
				t.Errorf("value %d: %q, %v", i, line, err)
			}
			if n, err := r.Discard(size - 1); n != size-1 {
				t.Errorf("value %d: %d bytes, %v", i, n, err)
			}
			if end, err := r.ReadString('\n'); end != fmt.Sprintf("%d\r\n", i) {
				t.Errorf("value %d ends with %q, %v", i, end, err)
			}
		}
	})
	t.Logf("heap +%d MB, chunks +%d MB", heap>>20, chunks>>20)
	if limit := values*size + 32<<20; heap > limit || chunks > limit {
		t.Errorf("the heap grew by %d MB, the loop's chunks by %d MB", heap>>20, chunks>>20)
	}
	f.quiet()
}

// Whatever the sizes of values, they come whole and in order.
func TestMergedReplySizes(t *testing.T) {
	t.Parallel()
	f := fourShards(t, nil)
	c := f.dial()
	rng := rand.New(rand.NewPCG(1, 2))
	sizes := []int{0, 1, 100, 4 << 10, 16<<10 - 5, 33 << 10, 72 << 10, 100 << 10, 300 << 10, 1 << 20}
	values := map[string]string{}
	var keys []string
	for i := range 60 {
		key := fmt.Sprintf("k%d", i)
		keys = append(keys, key)
		if i%7 == 3 {
			continue // there is none
		}
		value := strings.Repeat(string(rune('a'+i%26)), sizes[rng.IntN(len(sizes))])
		values[key] = bulk(value)
		c.Do("SET", key, value)
	}
	for range 30 {
		rng.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
		some := keys[:1+rng.IntN(len(keys))]
		var want strings.Builder
		fmt.Fprintf(&want, "*%d\r\n", len(some))
		for _, k := range some {
			if v, ok := values[k]; ok {
				want.WriteString(v)
			} else {
				want.WriteString("$-1\r\n")
			}
		}
		if got := c.Do(append([]string{"MGET"}, some...)...); got != want.String() {
			t.Fatalf("%q: %d bytes instead of %d", some, len(got), want.Len())
		}
	}
	// nothing of it is left behind, whoever does not want it
	c.Send(redistest.Command("CLIENT", "REPLY", "SKIP") + redistest.Command(append([]string{"MGET"}, keys...)...))
	check(t, c, "PING", "+PONG")
	for range 5 {
		gone := f.dial()
		gone.Send(redistest.Command(append([]string{"MGET"}, keys...)...))
		gone.Close()
	}
	f.quiet()
	eventually(t, "the chunks to be free", func() error {
		if _, chunks := f.memory(); chunks > 9<<20 {
			return fmt.Errorf("%d MB are in use", chunks>>20)
		}
		return nil
	})
}

// The keys of all shards are one long reply; an error of one shard is all of it.
func TestMergedKeys(t *testing.T) {
	t.Parallel()
	f := fourShards(t, nil)
	c := f.dial()
	const each = 20_000
	for i, node := range f.nodes {
		node.Do("EVAL", "for i = 1, ARGV[1] do redis.call('SET', ARGV[2] .. i, '') end", "0", fmt.Sprint(each), fmt.Sprintf("shard%d:", i))
	}
	keys := bulks(t, c.Do("KEYS", "*"))
	slices.Sort(keys)
	if n := len(slices.Compact(keys)); n != 4*each {
		t.Errorf("got %d keys of %d", n, 4*each)
	}
	f.nodes[2].Kill()
	wantPrefix(t, "KEYS", c.Do("KEYS", "*"), "-ERR dragoman: shard \"s3\"")
	f.quiet()
}
