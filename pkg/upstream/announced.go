package upstream

import (
	"context"
	"net"
	"net/netip"
	"strconv"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/upstream/probe"
	"github.com/dragoman-mesh/dragoman/pkg/upstream/topology"
)

// announced makes a target of a node that other servers told of. A host name
// that can't be resolved now is left out. The choice among several addresses is
// the one that is in use.
func (c *cluster) announced(ctx context.Context, n topology.Node, shard string, role filters.Role) (target, bool) {
	peers, err := c.peersAt(ctx, n.Host, n.Port)
	if err != nil {
		c.log.Warn("node left out", "node", n.Address(), "error", err)
		return target{}, false
	}
	p := peers[0]
	for i := range peers {
		if c.inUse(peers[i].address) {
			p = peers[i]
			break
		}
	}
	return target{
		memberKey: memberKey{
			network: p.network, address: p.address, hostname: n.Address(), tlsHost: p.tlsHost,
			shard: shard, zone: n.Zone, weight: 1, tls: c.tlsPrint,
		},
		role: role,
	}, true
}

// inUse says whether a member that is not out of use has the address.
func (c *cluster) inUse(address string) bool {
	for _, m := range *c.index.Load() {
		if m.key.address == address {
			return !m.suspect()
		}
	}
	return false
}

// suspectAddress says whether a member with the address is out of use.
func (c *cluster) suspectAddress(address string) bool {
	for _, m := range *c.index.Load() {
		if m.key.address == address {
			return m.suspect()
		}
	}
	return false
}

// knownPeers are the endpoints of the current table that are well.
func (c *cluster) knownPeers() []peer {
	var peers []peer
	for e, m := range *c.index.Load() {
		if !e.Healthy() {
			continue
		}
		p := peer{network: e.Network, address: e.Address, tlsHost: m.key.tlsHost}
		if at, err := netip.ParseAddrPort(e.Address); err == nil {
			p.host = at.Addr().String()
		}
		peers = append(peers, p)
	}
	return peers
}

// probeTarget says how to reach a peer with the cluster's TLS and credentials.
func (c *cluster) probeTarget(p peer) probe.Target {
	key := memberKey{network: p.network, address: p.address, tlsHost: p.tlsHost}
	return c.settingsFor(key, c.tlsConfig(key)).target
}

func (c *cluster) hasLayout() bool { return len(c.currentLayout().shards) > 0 }

func (c *cluster) currentLayout() layout {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.layout
}

// refreshed counts a topology query and ends the wait for the first one.
func (c *cluster) refreshed(err error) {
	c.stats.refreshes.Add(1)
	if err != nil {
		c.stats.refreshFailures.Add(1)
		c.failed(err)
	} else {
		c.succeeded()
	}
	c.settle()
}

// join makes an address of a host and a port.
func join(host string, port uint32) string {
	return net.JoinHostPort(host, strconv.FormatUint(uint64(port), 10))
}
