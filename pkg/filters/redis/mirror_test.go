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

// TestMirrorSpreadsInItsOwnWay: a mirror of other shards than the original, as before a move there, has each key where it would look for it.
func TestMirrorSpreadsInItsOwnWay(t *testing.T) {
	t.Parallel()
	for _, originals := range []int{1, 3} {
		t.Run(fmt.Sprintf("of %d shards", originals), func(t *testing.T) {
			t.Parallel()
			cfg := defaults()
			cfg.CatchAll.Mirrors = []resource.Mirror{{Cluster: "next", Fraction: resource.MirrorScale}}
			nodes := servers(t, 4)
			next := newCluster("next", nodes...)
			f := start(t, cfg, newCluster("main", servers(t, originals)...), next)
			testMirror(t, f, next, nodes)
		})
	}
}

func testMirror(t *testing.T, f *fixture, next *cluster, nodes []*redistest.Node) {
	t.Helper()
	c := f.dial()
	const n = 64
	mset, del, mget := []string{"MSET"}, []string{"DEL"}, []string{"MGET"}
	for i := range n {
		mset = append(mset, nameOf(i), "v")
		mget = append(mget, nameOf(i))
		if i%2 == 0 {
			del = append(del, nameOf(i))
		}
	}
	for _, step := range []struct {
		command []string
		want    string
	}{{mset, "+OK"}, {del, ":32"}, {mget, "*64"}, {[]string{"COPY", "{k1}a", "{k1}b"}, ":0"}} {
		wantPrefix(t, step.command[0], c.Do(step.command...), step.want)
	}
	redistest.Eventually(t, 30*time.Second, "the mirror to have it all", func() error {
		sum := 0
		for _, node := range nodes {
			size, err := strconv.Atoi(strings.Trim(node.Do("DBSIZE"), ":\r\n"))
			if err != nil {
				return err
			}
			sum += size
		}
		if sum != n/2 {
			return fmt.Errorf("%d keys of %d", sum, n/2)
		}
		return nil
	})
	for i, node := range nodes {
		for k := range n {
			key := nameOf(k)
			has := node.Do("EXISTS", key) == ":1\r\n"
			if want := k%2 == 1 && next.Table().Picker.Pick([]byte(key)) == i; has != want {
				t.Errorf("shard %d of the mirror has %s: %t, want %t", i+1, key, has, want)
			}
		}
	}
	f.quiet()
	f.onLoop(func(w *worker) {
		for i, node := range nodes {
			if s := w.endpoints[endpointKey{"next", node.Addr(), fmt.Sprint("s", i+1)}]; s == nil || s.requests == 0 {
				t.Errorf("no copies are counted for %s", node.Addr())
			}
		}
	})
}

// nameOf makes keys that differ at their beginning, which the hash spreads well.
func nameOf(i int) string { return strconv.Itoa(i) + ":key" }
