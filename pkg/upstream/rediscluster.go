package upstream

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/upstream/probe"
	"github.com/dragoman-mesh/dragoman/pkg/upstream/topology"
)

// ErrNoSlots is a node that knows no other, such as one that was never joined
// to a cluster.
var ErrNoSlots = errors.New("node knows of no slot that is served")

// redisCluster is the discovery of a Redis Cluster's nodes. Its fields belong to
// the goroutine that runs it.
type redisCluster struct {
	c     *cluster
	names map[string]string // shard names by the addresses of their nodes
	slots *[topology.Slots]int32
}

// prepare takes the names of shards over from the cluster before, if any: a new
// name would mean new endpoints, and new connections.
func (d *redisCluster) prepare() {
	d.names = make(map[string]string)
	l := d.c.currentLayout()
	for i := range l.shards {
		for _, t := range l.shards[i].targets {
			d.names[t.address] = l.shards[i].name
		}
	}
	d.slots = l.slots
}

func (d *redisCluster) run(ctx context.Context) {
	var r rhythm
	woken := false
	for ctx.Err() == nil {
		err := d.query(ctx)
		if ctx.Err() != nil {
			return
		}
		d.c.refreshed(err)
		// Who asks for a cause asks once more a little later: the node that
		// answered may not have heard of the change yet.
		busy := woken || d.c.suspect()
		woken = pause(ctx, r.next(d.c.env.timing, d.c.spec.Discovery.RedisCluster.RefreshRate, err, busy), d.c.search)
	}
}

// query asks the nodes that are known, in any order, then the seeds, and
// publishes the first answer that has slots.
func (d *redisCluster) query(ctx context.Context) error {
	peers := d.c.knownPeers()
	rand.Shuffle(len(peers), func(i, j int) { peers[i], peers[j] = peers[j], peers[i] })
	seeds, err := d.c.seeds(ctx)
	if err != nil && len(peers) == 0 {
		return err
	}
	found, err := hedged(ctx, d.c, append(peers, seeds...), d.c.env.timing.hedge, d.ask)
	if err != nil {
		return err
	}
	d.c.publish(d.arrange(ctx, found))
	return nil
}

// nodes is what one node says of all.
type nodes struct {
	shards []topology.Shard
	spare  []topology.Node // without slots
}

// ask one node for the others.
func (d *redisCluster) ask(ctx context.Context, p peer) (nodes, error) {
	ctx, cancel := context.WithTimeout(ctx, d.c.spec.Discovery.RedisCluster.RefreshTimeout)
	defer cancel()
	conn, err := probe.Dial(ctx, d.c.probeTarget(p))
	if err != nil {
		return nodes{}, fmt.Errorf("asking %s: %w", p.address, err)
	}
	defer conn.Close()
	found, err := clusterNodes(ctx, conn, p, d.c.spec.TLS != nil)
	if err == nil && len(found.shards) == 0 {
		err = ErrNoSlots
	}
	if err != nil {
		return nodes{}, fmt.Errorf("asking %s: %w", p.address, err)
	}
	return found, nil
}

// clusterNodes asks in both ways: CLUSTER SHARDS is there since 7.0, and CLUSTER
// SLOTS, which it replaces, may be gone some day.
func clusterNodes(ctx context.Context, conn *probe.Conn, p peer, tls bool) (n nodes, err error) {
	host := p.host
	if host == "" {
		host = "127.0.0.1" // asked by a unix socket, it is on this machine
	}
	replies, err := conn.DoAll(ctx, []string{"CLUSTER", "SLOTS"}, []string{"CLUSTER", "SHARDS"})
	if err != nil {
		return n, err
	}
	slots, shards := replies[0], replies[1]
	if !shards.IsError() {
		n.spare = topology.ParseSpare(shards, host, tls)
	}
	switch {
	case !slots.IsError():
		n.shards, err = topology.ParseSlots(slots, host)
	case !shards.IsError():
		n.shards, err = topology.ParseShards(shards, host, tls)
	default:
		err = probe.ErrorOf(&slots)
	}
	return n, err
}

// arrange makes a layout of the nodes.
func (d *redisCluster) arrange(ctx context.Context, found nodes) layout {
	shards := found.shards
	names := d.nameShards(shards)
	l := layout{shards: make([]shardSpec, len(shards)), slots: new([topology.Slots]int32)}
	order := make([]int, len(shards)) // by name, so that indexes stay as they are
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return strings.Compare(names[a], names[b]) })
	for i := range l.slots {
		l.slots[i] = -1
	}
	d.names = make(map[string]string)
	for at, i := range order {
		s := &shards[i]
		l.shards[at] = shardSpec{name: names[i], hashKey: names[i], weight: 1}
		d.place(ctx, &l.shards[at], s.Primary, filters.RolePrimary)
		for _, r := range s.Replicas {
			d.place(ctx, &l.shards[at], r, filters.RoleReplica)
		}
		for _, r := range s.Ranges {
			for slot := r.First; slot <= r.Last; slot++ {
				l.slots[slot] = int32(at)
			}
		}
	}
	for _, n := range found.spare {
		// Named as the shard will be, whose endpoint it then is.
		if t, ok := d.c.announced(ctx, n, n.Address(), filters.RolePrimary); ok {
			l.spare = append(l.spare, t)
		}
	}
	if d.slots != nil && *d.slots == *l.slots {
		l.slots = d.slots // the same table need not be published again
	}
	d.slots = l.slots
	return l
}

func (d *redisCluster) place(ctx context.Context, s *shardSpec, n topology.Node, role filters.Role) {
	t, ok := d.c.announced(ctx, n, s.name, role)
	if !ok {
		return
	}
	s.targets = append(s.targets, t)
	d.names[t.address] = s.name
	d.names[n.Address()] = s.name
}

// nameShards gives each shard the name it had, by whichever of its nodes was
// there before, the primary first; a new one is named after its primary.
func (d *redisCluster) nameShards(shards []topology.Shard) []string {
	names := make([]string, len(shards))
	taken := make(map[string]bool)
	claim := func(i int, name string) {
		if name != "" && names[i] == "" && !taken[name] {
			names[i], taken[name] = name, true
		}
	}
	for i := range shards {
		claim(i, d.names[shards[i].Primary.Address()])
	}
	for i := range shards {
		for _, r := range shards[i].Replicas {
			claim(i, d.names[r.Address()])
		}
	}
	for i := range shards {
		claim(i, shards[i].Primary.Address())
		for n := 2; names[i] == ""; n++ {
			claim(i, fmt.Sprintf("%s#%d", shards[i].Primary.Address(), n))
		}
	}
	return names
}
