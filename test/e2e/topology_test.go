package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// failoverWindow bounds how long keys may be answered with errors after their primary died. The servers themselves take up to 4 s here; the
// rest is a machine that runs many tests at once.
const failoverWindow = 20 * time.Second

// TestTopologyCluster has apps that know nothing of clusters before six nodes: slots with their keys move, an operator swaps a primary with
// its replica, and a primary dies. Only the last may cost errors, for a while, and nothing ever a wrong answer.
func TestTopologyCluster(t *testing.T) {
	t.Parallel()
	cluster := redistest.Cluster(t, 3, 1, redistest.WithConfig("cluster-require-full-coverage no"))
	m := mesh{port: redistest.Port(t), redis: "opTimeout: 5s, connectTimeout: 4s", env: clusterEnv(cluster)}
	startProxy(t, m.YAML())
	apps := startApps(t, m.Addr(), 4, true)
	awaitGood(t, apps, 30)

	begun := time.Now()
	for _, key := range []string{apps[0].keys[0], apps[1].keys[1]} {
		slot := redistest.KeySlot(key)
		from, primaries := cluster.Owner(slot), cluster.Primaries()
		to := primaries[(slices.Index(primaries, from)+1)%len(primaries)]
		cluster.MoveSlot(slot, from, to, func(step redistest.MoveStep) {
			awaitGood(t, apps, 12)
			if step == redistest.SlotMigrating { // one key here, the others there
				cluster.MoveKeys(slot, from, to, 1)
				awaitGood(t, apps, 12)
			}
		})
		awaitGood(t, apps, 12)
	}
	wantNoErrors(t, apps, begun, "while slots were moved")

	swapped := time.Now()
	victim := cluster.Owner(redistest.KeySlot(apps[0].keys[0]))
	cluster.Failover(cluster.Replicas(victim)[0])
	awaitSteady(t, apps, 12)
	cluster.WaitStable()
	wantNoErrors(t, apps, swapped, "during an operator's failover")

	victim = cluster.Owner(redistest.KeySlot(apps[0].keys[0]))
	awaitGood(t, apps, 12)
	killed := time.Now()
	victim.Kill()
	awaitSteady(t, apps, 6)
	trustPrimaries(apps)
	last := awaitSteady(t, apps, 30)
	t.Logf("the last error came %v after the primary died", last.Sub(killed).Round(time.Millisecond))
	if last.Sub(killed) > failoverWindow {
		t.Errorf("errors until %v after the primary died", last.Sub(killed))
	}
	wantTrueAnswers(t, apps)
}

// TestTopologyClusterOwnConnections: transactions, blocking commands and subscriptions have a connection of their own. They, too, get to where
// their slot is, and never hear of where that is.
func TestTopologyClusterOwnConnections(t *testing.T) {
	t.Parallel()
	cluster, addr := startCluster(t, "")
	seed := redistest.Dial(t, addr)
	wantReply(t, seed, "+OK\r\n", "MSET", "{k}1", "v", "{k}2", "v")
	exchanges := []struct{ commands, replies []string }{
		{[]string{"MULTI", "SET {k}1 tx", "GET {k}2", "EXEC"}, []string{"+OK", "+QUEUED", "+QUEUED", "*2 +OK $1 v"}},
		{[]string{"WATCH {k}1", "GET {k}1", "MULTI", "SET {k}1 tx", "EXEC"}, []string{"+OK", "$2 tx", "+OK", "+QUEUED", "*1 +OK"}},
		{[]string{"WATCH {k}1", "SET {k}1 tx", "MULTI", "GET {k}1", "EXEC"}, []string{"+OK", "+OK", "+OK", "+QUEUED", "*-1"}},
		{[]string{"RPUSH {k}list job", "BLPOP {k}list 0", "BLPOP {k}list 0.01"}, []string{":1", "*2 $7 {k}list $3 job", "*-1"}},
		{[]string{"MULTI", "SET {k}1 no", "DISCARD", "GET {k}1"}, []string{"+OK", "+QUEUED", "+OK", "$2 tx"}},
	}
	play := func(while string) {
		t.Helper()
		for _, e := range exchanges {
			for _, pipelined := range []bool{false, true} {
				c := redistest.Dial(t, addr)
				var got []string
				for _, command := range e.commands {
					c.Send(redistest.Command(strings.Fields(command)...))
					if !pipelined {
						got = append(got, c.ReadFrame())
					}
				}
				for len(got) < len(e.commands) {
					got = append(got, c.ReadFrame())
				}
				for i := range got {
					got[i] = strings.ReplaceAll(strings.TrimSpace(got[i]), "\r\n", " ")
				}
				if !slices.Equal(got, e.replies) {
					t.Errorf("%s, pipelined %t: %q:\n got %q\nwant %q", while, pipelined, e.commands, got, e.replies)
				}
				c.Close()
			}
		}
	}
	slot := redistest.KeySlot("{k}1")
	from, primaries := cluster.Owner(slot), cluster.Primaries()
	to := primaries[(slices.Index(primaries, from)+1)%len(primaries)]
	play("before the move")
	cluster.MoveSlot(slot, from, to, func(step redistest.MoveStep) {
		play([]string{"importing", "migrating", "emptied", "assigned"}[step])
	})
	play("after the move")
}

// TestTopologyClusterByName: nodes are announced by their host names, and one has no slot when the first of its keys come to it. An address
// that no table has can be dialled as it is, a name cannot.
func TestTopologyClusterByName(t *testing.T) {
	t.Parallel()
	cluster := redistest.Cluster(t, 3, 0, redistest.WithConfig(
		"cluster-announce-hostname localhost", "cluster-preferred-endpoint-type hostname", "cluster-require-full-coverage no"))
	nodes := cluster.Nodes()
	first, last := 2*redistest.Slots/3, redistest.Slots-1
	for _, n := range nodes {
		wantReply(t, n.Client(), "+OK\r\n", "CLUSTER", "DELSLOTSRANGE", fmt.Sprint(first), fmt.Sprint(last))
	}
	wantReply(t, nodes[0].Client(), "+OK\r\n", "CLUSTER", "ADDSLOTSRANGE", fmt.Sprint(first), fmt.Sprint(last))
	cluster.WaitStable()
	m := mesh{port: redistest.Port(t), redis: "distribution: slots", env: clusterEnv(cluster)}
	startProxy(t, m.YAML())

	c := redistest.Dial(t, m.Addr())
	const keys = 10
	for i := range keys {
		wantReply(t, c, "+OK\r\n", "SET", fmt.Sprintf("{k}%d", i), "v")
	}
	slot := redistest.KeySlot("{k}")
	cluster.MoveSlot(slot, cluster.Owner(slot), nodes[2], func(step redistest.MoveStep) {
		if step == redistest.SlotMigrating { // half here, half there
			cluster.MoveKeys(slot, cluster.Owner(slot), nodes[2], keys/2)
		}
		for i := range keys {
			key := fmt.Sprintf("{k}%d", i)
			wantReply(t, c, bulkOf("v"), "GET", key)
			wantReply(t, c, "+OK\r\n", "MULTI")
			wantReply(t, c, "+QUEUED\r\n", "GET", key)
			wantReply(t, c, "*1\r\n"+bulkOf("v"), "EXEC")
		}
		wantReply(t, c, "+OK\r\n", "SET", fmt.Sprintf("{k}at-step-%d", step), "v")
	})
}

// TestTopologyClusterClients: a client that is made for clusters sees one of a single node, the proxy, and so can't go around it.
func TestTopologyClusterClients(t *testing.T) {
	t.Parallel()
	_, addr := startCluster(t, "")
	for _, protocol := range []int{2, 3} {
		client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{addr}, Protocol: protocol, ReadOnly: true})
		var nodes []string
		err := client.ForEachShard(t.Context(), func(ctx context.Context, node *redis.Client) error {
			nodes = append(nodes, node.Options().Addr)
			return node.Ping(ctx).Err()
		})
		if err != nil || !slices.Equal(nodes, []string{addr}) {
			t.Errorf("RESP%d: the client's nodes are %q, %v, want %s alone", protocol, nodes, err, addr)
		}
		for i := range 50 {
			key := fmt.Sprint("k", i)
			if err := client.Set(t.Context(), key, key, 0).Err(); err != nil {
				t.Error(err)
			}
			if got, err := client.Get(t.Context(), key).Result(); got != key || err != nil {
				t.Errorf("GET %s: %q, %v", key, got, err)
			}
		}
		for what, ask := range map[string]func() (any, error){
			"CLUSTER SHARDS": func() (any, error) { return client.ClusterShards(t.Context()).Result() },
			"CLUSTER SLOTS":  func() (any, error) { return client.Do(t.Context(), "CLUSTER", "SLOTS").Result() },
			"CLUSTER INFO":   func() (any, error) { return client.ClusterInfo(t.Context()).Result() },
			"CLUSTER NODES":  func() (any, error) { return client.ClusterNodes(t.Context()).Result() },
		} {
			if got, err := ask(); err != nil {
				t.Errorf("%s: %v, %v", what, got, err)
			}
		}
		_ = client.Close()
	}
	if got, _ := runClient(t, "", "redis-cli", append(hostPort(addr), "-c", "get", "k7")...); got != "k7\n" {
		t.Errorf("redis-cli -c: %q", got)
	}
	c := redistest.Dial(t, addr)
	for _, command := range []string{"RESET", "FAILOVER", "FORGET 0", "FLUSHSLOTS", "MEET 127.0.0.1 1", "SETSLOT 1 STABLE", "BUMPEPOCH"} {
		wantPrefix(t, c, "-ERR dragoman: 'cluster|", append([]string{"CLUSTER"}, strings.Fields(command)...)...)
	}
	keys := 0
	for i := range 50 {
		if got := c.Do("CLUSTER", "COUNTKEYSINSLOT", fmt.Sprint(redistest.KeySlot(fmt.Sprint("k", i)))); got != ":0\r\n" {
			keys++
		}
	}
	if keys != 50 {
		t.Errorf("keys found by CLUSTER COUNTKEYSINSLOT: got %d, want 50", keys)
	}
}

// TestTopologySentinel has two names of Sentinel as two shards. What a replica has confirmed survives its primary.
func TestTopologySentinel(t *testing.T) {
	t.Parallel()
	names := []string{"one", "two"}
	sentinels := redistest.Sentinel(t, names, 3)
	m := mesh{
		port:  redistest.Port(t),
		redis: `hash: md5, hashTag: "{}", opTimeout: 2s, connectTimeout: 1s`,
		env:   fmt.Sprintf("sentinel: {masters: %s, addresses: %s}", quoted(names), quoted(sentinels.Addrs())),
	}
	startProxy(t, m.YAML())
	apps := startApps(t, m.Addr(), 4, true)
	awaitGood(t, apps, 60)
	victim := sentinels.Primary("one")
	victim.Kill()
	sentinels.WaitFailover("one", victim)
	replaced := time.Now()
	awaitSteady(t, apps, 6)
	trustPrimaries(apps)
	last := awaitSteady(t, apps, 30)
	t.Logf("the last error came %v after the Sentinels had replaced the primary", last.Sub(replaced).Round(time.Millisecond))
	if last.Sub(replaced) > failoverWindow {
		t.Errorf("errors until %v after the Sentinels had replaced the primary", last.Sub(replaced))
	}
	wantTrueAnswers(t, apps)
}

// TestTopologyRolesByHand swaps primaries and replicas without telling the proxy: it asks for their ROLE.
func TestTopologyRolesByHand(t *testing.T) {
	t.Parallel()
	groups := startShards(t, 4, 1)
	m := mesh{
		port: redistest.Port(t),
		redis: `hash: md5, hashTag: "{}", readPolicy: Primary, opTimeout: 2s,
  healthCheck: {interval: 200ms, timeout: 1s, probeRole: true}`,
		env: shards(groups...),
	}
	p := startProxy(t, m.YAML())
	apps := startApps(t, m.Addr(), 4, false)
	awaitGood(t, apps, 30)
	for i, group := range groups[:2] {
		swapped := time.Now()
		if i == 0 {
			swapByReplicaOf(t, group)
		} else {
			wantOK(t, group[0], "FAILOVER", "TO", "127.0.0.1", fmt.Sprint(group[1].Port()))
		}
		last := awaitSteady(t, apps, 30)
		if last.Sub(swapped) > failoverWindow {
			t.Errorf("errors until %v after the swap", last.Sub(swapped))
		}
		redistest.Eventually(t, readyLimit, "the roles in /clusters", func() error {
			for j, role := range []string{"replica", "primary"} {
				if err := p.shows("/clusters", group[j].Addr()+"::role::"+role); err != nil {
					return err
				}
			}
			return nil
		})
	}
	wantTrueAnswers(t, apps)
}

// swapByReplicaOf does it as a careful operator does: writes wait until the roles are swapped, and are then refused by the old primary.
func swapByReplicaOf(t *testing.T, group []*redistest.Node) {
	t.Helper()
	primary, replica := group[0], group[1]
	wantOK(t, primary, "CLIENT", "PAUSE", "30000", "WRITE")
	redistest.Eventually(t, readyLimit, "the replica to catch up", func() error {
		if at, want := replica.Info("master_repl_offset"), primary.Info("master_repl_offset"); at != want {
			return fmt.Errorf("it is at %s of %s", at, want)
		}
		return nil
	})
	wantOK(t, replica, "REPLICAOF", "NO", "ONE")
	wantOK(t, primary, "REPLICAOF", "127.0.0.1", fmt.Sprint(replica.Port()))
	wantOK(t, primary, "CLIENT", "UNPAUSE")
}

func wantOK(t *testing.T, n *redistest.Node, args ...string) {
	t.Helper()
	if got := n.Do(args...); got != "+OK\r\n" {
		t.Fatalf("%q at %s: %q", args, n.Addr(), got)
	}
}
