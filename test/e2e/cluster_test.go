package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

func clusterEnv(c *redistest.RedisCluster) string {
	return fmt.Sprintf("cluster: {seeds: %s}", quoted(c.Addrs()[:2]))
}

func startCluster(t *testing.T, redis string) (*redistest.RedisCluster, string) {
	t.Helper()
	cluster := redistest.Cluster(t, 3, 1)
	m := mesh{port: redistest.Port(t), redis: strings.TrimPrefix(redis+", distribution: slots", ", "), env: clusterEnv(cluster)}
	startProxy(t, m.YAML())
	return cluster, m.Addr()
}

// TestClusterSlotMovesUnderLoad moves the slots of live keys to another node. MOVED, ASK and TRYAGAIN are the proxy's business: the app sees
// no error, and no write is lost or made twice.
func TestClusterSlotMovesUnderLoad(t *testing.T) {
	t.Parallel()
	cluster, addr := startCluster(t, "")
	writers := startWriters(t, addr, 6)
	awaitProgress(t, writers, 20)
	for _, w := range writers[:3] {
		slot := redistest.KeySlot(w.key)
		from := cluster.Owner(slot)
		primaries := cluster.Primaries()
		to := primaries[(slices.Index(primaries, from)+1)%len(primaries)]
		cluster.MoveSlot(slot, from, to, func(redistest.MoveStep) { awaitProgress(t, writers, 10) })
		if got := cluster.Owner(slot); got != to {
			t.Errorf("slot %d is at %s, want %s", slot, got.Addr(), to.Addr())
		}
	}
	wantNothingLost(t, writers)
}

// TestClusterManyKeysWhileSlotIsSplit: in the middle of a move some keys of a slot are here and some there. A command over both is what the
// cluster itself answers with TRYAGAIN; MGET and DEL can still be answered, and single keys always.
func TestClusterManyKeysWhileSlotIsSplit(t *testing.T) {
	t.Parallel()
	cluster, addr := startCluster(t, "")
	c := redistest.Dial(t, addr)
	slot := redistest.KeySlot("{tag}0")
	from := cluster.Owner(slot)
	for i := range 20 {
		c.Do("SET", fmt.Sprintf("{tag}%d", i), "v")
	}
	primaries := cluster.Primaries()
	to := primaries[(slices.Index(primaries, from)+1)%len(primaries)]
	cluster.MoveSlot(slot, from, to, func(step redistest.MoveStep) {
		if step == redistest.SlotMigrating {
			cluster.MoveKeys(slot, from, to, 10)
		}
		for i := range 20 {
			if got := c.Do("GET", fmt.Sprintf("{tag}%d", i)); got != "$1\r\nv\r\n" {
				t.Errorf("step %d: GET {tag}%d: got %q", step, i, got)
			}
		}
	})
}

// TestClusterFailoverUnderLoad lets an operator replace each primary in turn by its replica while clients write. For some milliseconds
// a node may know no owner of the slots: it says CLUSTERDOWN, and the proxy asks again.
func TestClusterFailoverUnderLoad(t *testing.T) {
	t.Parallel()
	cluster, addr := startCluster(t, "")
	writers := startWriters(t, addr, 6)
	awaitProgress(t, writers, 20)
	for _, primary := range cluster.Primaries() {
		replica := cluster.Replicas(primary)[0]
		cluster.Failover(replica)
		awaitProgress(t, writers, 20)
		cluster.WaitStable()
	}
	wantNothingLost(t, writers)
}

// TestClusterPrimaryDies: the keys of the dead primary get errors until the cluster has a new one, all others never do, and no client loses
// its connection.
func TestClusterPrimaryDies(t *testing.T) {
	t.Parallel()
	cluster := redistest.Cluster(t, 3, 1, redistest.WithConfig("cluster-require-full-coverage no"))
	m := mesh{port: redistest.Port(t), redis: "distribution: slots, opTimeout: 5s, connectTimeout: 4s", env: clusterEnv(cluster)}
	startProxy(t, m.YAML())
	writers := startWriters(t, m.Addr(), 12)
	awaitProgress(t, writers, 20)
	victim := cluster.Owner(redistest.KeySlot(writers[0].key))
	killed := time.Now()
	hit := func(w *writer) bool { return cluster.Owner(redistest.KeySlot(w.key)) == victim }
	var theirs, others []*writer
	for _, w := range writers {
		if hit(w) {
			theirs = append(theirs, w)
		} else {
			others = append(others, w)
		}
	}
	victim.Kill()
	awaitProgress(t, others, 50)
	awaitProgress(t, theirs, 50)
	t.Logf("writes to the dead primary's keys work again after at most %v", time.Since(killed).Round(time.Millisecond))
	wantNothingLost(t, others)
	for _, w := range theirs {
		w.end()
		_, failures, _ := w.state()
		for _, f := range failures {
			if !strings.HasPrefix(f, "-") {
				t.Errorf("%s lost its connection: %s", w.key, f)
			}
		}
	}
}

// TestClusterReplicasServeReads: with PreferReplica, reads go to the replicas of each slot's owner.
func TestClusterReplicasServeReads(t *testing.T) {
	t.Parallel()
	cluster, addr := startCluster(t, "readPolicy: PreferReplica")
	c := redistest.Dial(t, addr)
	for i := range 60 {
		if got := c.Do("SET", fmt.Sprint("k", i), "v"); got != "+OK\r\n" {
			t.Fatalf("SET k%d: got %q", i, got)
		}
	}
	for i := range 60 {
		redistest.Eventually(t, 10*time.Second, "the value at the replica", func() error {
			if got := c.Do("GET", fmt.Sprint("k", i)); got != "$1\r\nv\r\n" {
				return fmt.Errorf("GET k%d: %q", i, got)
			}
			return nil
		})
	}
	for _, primary := range cluster.Primaries() {
		replica := cluster.Replicas(primary)[0]
		if atPrimary, atReplica := primary.Calls("get"), replica.Calls("get"); atPrimary != 0 || atReplica == 0 {
			t.Errorf("GETs: %d at primary %s, %d at its replica", atPrimary, primary.Addr(), atReplica)
		}
	}
}
