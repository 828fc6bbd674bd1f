package redistest

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Slots is the number of hash slots of a Redis Cluster.
const Slots = 16384

// clusterLimit bounds what needs gossip: forming a cluster, a failover, a slot's new owner known everywhere.
const clusterLimit = 60 * time.Second

// RedisCluster is a running Redis Cluster. Its node timeout is 2 s: a killed primary's replica takes over after 2 to 4 s.
type RedisCluster struct {
	tb    TB
	nodes []*Node // read-only after construction: the primaries as they began, then the replicas
}

// Cluster starts a Redis Cluster of primaries that share the slots evenly, each with the same number of replicas, and returns when every
// node knows every other in its role and all slots are served. The options hold for every node.
func Cluster(tb TB, primaries, replicasPer int, opts ...Option) *RedisCluster {
	tb.Helper()
	c := &RedisCluster{tb: tb}
	for range primaries * (1 + replicasPer) {
		n := newNode(tb, append([]Option{withCluster(Port(tb))}, opts...)...)
		if err := n.start(); err != nil {
			tb.Fatalf("%v", err)
		}
		c.nodes = append(c.nodes, n)
	}
	for _, n := range c.nodes {
		n.awaitReady()
		n.id = bulk(n.Do("CLUSTER", "MYID"))
	}
	c.assignSlots(primaries)
	c.meet()
	for i, n := range c.nodes[primaries:] {
		c.ok(n, "CLUSTER", "REPLICATE", c.nodes[i%primaries].id)
	}
	c.WaitStable()
	return c
}

// Nodes returns every node, whatever its state: first those that began as primaries, then those that began as replicas, of which the one
// at index primaries+i followed the primary at i modulo primaries.
func (c *RedisCluster) Nodes() []*Node { return c.nodes }

// Addrs returns every node's address.
func (c *RedisCluster) Addrs() []string {
	var addrs []string
	for _, n := range c.nodes {
		addrs = append(addrs, n.Addr())
	}
	return addrs
}

// Primaries returns the nodes that are primaries now and serve slots, in the eyes of the first node that answers.
func (c *RedisCluster) Primaries() []*Node {
	return c.inRole(func(v nodeView) bool { return v.primary && len(v.slots) > 0 })
}

// Replicas returns the nodes that follow the given primary now.
func (c *RedisCluster) Replicas(primary *Node) []*Node {
	return c.inRole(func(v nodeView) bool { return !v.primary && v.follows == primary.id })
}

// Owner returns the primary that serves a slot now, nil if none does.
func (c *RedisCluster) Owner(slot int) *Node {
	owners := c.inRole(func(v nodeView) bool { return v.primary && v.owns(slot) })
	if len(owners) == 0 {
		return nil
	}
	return owners[0]
}

// Failover makes a replica the primary with its primary's consent, as an operator would, and returns when every running node has seen it.
func (c *RedisCluster) Failover(replica *Node) {
	c.tb.Helper()
	c.promote(replica)
}

// Takeover makes a replica the primary without asking anybody: for a primary that is dead or frozen.
func (c *RedisCluster) Takeover(replica *Node) {
	c.tb.Helper()
	c.promote(replica, "TAKEOVER")
}

func (c *RedisCluster) promote(replica *Node, mode ...string) {
	c.tb.Helper()
	// A node that has just lost sight of the primary refuses, and one whose failover was accepted gives up after 5 s (CLUSTER_MF_TIMEOUT).
	const again = 6 * time.Second
	var accepted time.Time
	Eventually(c.tb, clusterLimit, "the replica's promotion", func() error {
		if time.Since(accepted) > again && replica.Info("role") != "master" {
			got, err := replica.TryDo(append([]string{"CLUSTER", "FAILOVER"}, mode...)...)
			if err != nil || got != "+OK\r\n" {
				return fmt.Errorf("CLUSTER FAILOVER %v: %q, %w", mode, got, err)
			}
			accepted = time.Now()
		}
		return c.everyView(func(views map[string]nodeView) error {
			if v := views[replica.id]; !v.primary || len(v.slots) == 0 {
				return fmt.Errorf("%s is not a primary with slots yet", replica.Addr())
			}
			return nil
		})
	})
}

// WaitStable waits until every running node sees all slots served, no running node in doubt, and every running replica in step.
func (c *RedisCluster) WaitStable() {
	c.tb.Helper()
	Eventually(c.tb, clusterLimit, "a stable cluster", func() error {
		if err := c.everyView(c.complete); err != nil {
			return err
		}
		for _, n := range c.running() {
			info, err := n.TryDo("CLUSTER", "INFO")
			if err != nil {
				return err
			}
			if state := infoField(bulk(info), "cluster_state"); state != "ok" {
				return fmt.Errorf("%s is in cluster_state %q", n.Addr(), state)
			}
		}
		return c.replicasInStep()
	})
}

// assignSlots gives each primary its share, and an epoch of its own so that none has to be negotiated.
func (c *RedisCluster) assignSlots(primaries int) {
	c.tb.Helper()
	for i, n := range c.nodes {
		c.ok(n, "CLUSTER", "SET-CONFIG-EPOCH", strconv.Itoa(i+1))
		if i < primaries {
			first, last := i*Slots/primaries, (i+1)*Slots/primaries-1
			c.ok(n, "CLUSTER", "ADDSLOTSRANGE", strconv.Itoa(first), strconv.Itoa(last))
		}
	}
}

// meet introduces each node to each other rather than to wait for gossip, and returns when all know all. A handshake that takes longer than the
// node timeout, on a machine that stands still for as long, is forgotten by the nodes, and begun anew here; one that is under way is left alone.
func (c *RedisCluster) meet() {
	c.tb.Helper()
	Eventually(c.tb, clusterLimit, "the nodes to know each other", func() error {
		var missing error
		for _, n := range c.nodes {
			known, err := views(n)
			if err != nil {
				return err
			}
			for _, other := range c.nodes {
				if v, ok := known[other.id]; ok && !v.handshake {
					continue
				}
				c.ok(n, "CLUSTER", "MEET", "127.0.0.1", strconv.Itoa(other.port), strconv.Itoa(other.config.busPort))
				missing = fmt.Errorf("%s does not know %s", n.Addr(), other.Addr())
			}
		}
		return missing
	})
}

// complete tells whether one node's view of the cluster has every slot served by, and no doubt about, the nodes that run.
func (c *RedisCluster) complete(views map[string]nodeView) error {
	served := 0
	for _, n := range c.running() {
		v, ok := views[n.id]
		if !ok || v.failing || v.handshake {
			return fmt.Errorf("%s is not known as sound", n.Addr())
		}
		if n.Info("role") == "master" != v.primary {
			return fmt.Errorf("%s is not known in its role", n.Addr())
		}
		for _, r := range v.slots {
			served += r.last - r.first + 1
		}
	}
	if served != Slots {
		return fmt.Errorf("%d of %d slots are served", served, Slots)
	}
	return nil
}

func (c *RedisCluster) replicasInStep() error {
	for _, n := range c.running() {
		info, err := n.TryDo("INFO", "replication")
		if err != nil {
			return err
		}
		if infoField(info, "role") == "slave" && infoField(info, "master_link_status") != "up" {
			return fmt.Errorf("replica %s: %w", n.Addr(), errLinkDown)
		}
	}
	return nil
}

// ok sends a command that must be answered with +OK.
func (c *RedisCluster) ok(n *Node, args ...string) {
	c.tb.Helper()
	if got := n.Do(args...); got != "+OK\r\n" {
		c.tb.Fatalf("%q at %s: %q", args, n.Addr(), got)
	}
}

// running returns the nodes whose process runs and is not frozen.
func (c *RedisCluster) running() []*Node {
	var nodes []*Node
	for _, n := range c.nodes {
		select {
		case <-n.Done():
			continue
		default:
		}
		if state, err := n.state(); err == nil && state != 'T' {
			nodes = append(nodes, n)
		}
	}
	return nodes
}

// bulk returns the content of a raw bulk reply, and any other reply as it is.
func bulk(raw string) string {
	if !strings.HasPrefix(raw, "$") {
		return raw
	}
	_, content, _ := strings.Cut(raw, "\r\n")
	return strings.TrimSuffix(content, "\r\n")
}
