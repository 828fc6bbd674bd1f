package upstream

import (
	"context"
	"net/netip"
	"sync"

	"github.com/dragoman-mesh/dragoman/pkg/upstream/distribution"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// static is a discovery that has nothing to find: the endpoints are those of the
// specification, or of EDS, which may put others in their place.
type static struct {
	// read-only after construction
	c *cluster

	mu        sync.Mutex // guards below, and the order of publications
	endpoints []resource.Endpoint
}

func newStatic(c *cluster) *static { return &static{c: c, endpoints: c.spec.Endpoints} }

func (s *static) prepare() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.publishLocked()
	s.c.settle()
}

func (s *static) publishLocked() {
	s.c.publish(s.c.compose(s.endpoints, func(int, *resource.Endpoint) []netip.Addr { return nil }))
}

func (s *static) move(to []resource.Endpoint) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endpoints = to
	s.publishLocked()
}

func (s *static) current() []resource.Endpoint {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.endpoints
}

func (s *static) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.c.search: // there is nothing to look for
		}
	}
}

// composition is a layout in the making.
type composition struct {
	c       *cluster
	layout  layout
	byLabel map[string]int // shard label to index
	led     map[int]bool   // shards that a configured primary has named
}

// compose arranges the configured endpoints in shards, in the order of the
// configuration: first the shards that it names, then those of which only
// endpoints speak. resolve gives the addresses of one that is a host name.
//
// A host with several addresses is several endpoints where that makes sense:
// replicas, servers whose ROLE will be asked, and endpoints that are chosen by
// turns or hashed by address as Envoy does. A primary, and a server that is
// hashed by its name, is one of them: which one, resolve says by its order.
func (c *cluster) compose(
	endpoints []resource.Endpoint, resolve func(i int, e *resource.Endpoint) []netip.Addr,
) layout {
	b := &composition{c: c, byLabel: make(map[string]int), led: make(map[int]bool)}
	for _, s := range c.spec.Redis.Shards {
		b.layout.shards = append(b.layout.shards, shardSpec{name: s.Name, hashKey: s.Name, weight: s.Weight})
		b.byLabel[s.Name] = len(b.layout.shards) - 1
	}
	for i := range endpoints {
		e := &endpoints[i]
		if e.Path != "" {
			b.add(e, "unix", []string{e.Path})
			continue
		}
		addrs := []netip.Addr{}
		if ip, err := netip.ParseAddr(e.Host); err == nil {
			addrs = append(addrs, ip)
		} else {
			addrs = resolve(i, e)
		}
		addresses := make([]string, len(addrs))
		for j, a := range addrs {
			addresses[j] = join(a.String(), e.Port)
		}
		b.add(e, "tcp", addresses)
	}
	return b.layout
}

// several says whether all the addresses of a host are used.
func (c *cluster) several(e *resource.Endpoint) bool {
	return c.probesRoles() || e.Role == resource.RoleReplica || c.spreads(e)
}

// spreads says whether each address of a host is a shard of its own.
func (c *cluster) spreads(e *resource.Endpoint) bool {
	if e.Shard != "" || e.Role != resource.RoleUnknown || c.probesRoles() || c.balance.likeTwemproxy() {
		return false
	}
	return !c.balance.byKey() || e.Name == ""
}

func (b *composition) add(e *resource.Endpoint, network string, addresses []string) {
	if !b.c.several(e) && len(addresses) > 1 {
		addresses = addresses[:1]
	}
	if b.c.spreads(e) && len(addresses) > 0 {
		for _, a := range addresses {
			name := spreadName(e, a, len(addresses))
			b.place(b.append(e, name, name), e, network, a)
		}
		return
	}
	at := b.shard(e)
	for _, a := range addresses {
		b.place(at, e, network, a)
	}
}

// spreadName names the shard of one address of a host. Where there is but one,
// it may be called what the configuration calls it.
func spreadName(e *resource.Endpoint, address string, of int) string {
	if e.Name != "" && of == 1 {
		return e.Name
	}
	return address
}

// shard finds the endpoint's shard or appends it. The first endpoint that is
// configured as primary, else the first of all, lends its name to the hash, so
// that keys stay where they are when roles change.
func (b *composition) shard(e *resource.Endpoint) int {
	if e.Shard == "" {
		name := e.Name
		if name == "" {
			name = hostPort(e)
		}
		return b.append(e, name, b.hashKey(e))
	}
	at, ok := b.byLabel[e.Shard]
	if !ok {
		at = b.append(e, e.Shard, b.hashKey(e))
		b.byLabel[e.Shard] = at
	}
	if e.Role == resource.RolePrimary && !b.led[at] {
		s := &b.layout.shards[at]
		s.hashKey, s.weight = b.hashKey(e), e.Weight
		b.led[at] = true
	}
	return at
}

func (b *composition) append(e *resource.Endpoint, name, hashKey string) int {
	b.layout.shards = append(b.layout.shards, shardSpec{name: name, hashKey: hashKey, weight: e.Weight})
	return len(b.layout.shards) - 1
}

// hashKey is what the distribution hashes for an endpoint.
func (b *composition) hashKey(e *resource.Endpoint) string {
	host := e.Host
	if e.Path != "" {
		host = e.Path
	}
	if b.c.balance.likeTwemproxy() {
		return distribution.MemberName(e.Name, host, uint16(e.Port))
	}
	if e.Name != "" {
		return e.Name
	}
	return hostPort(e)
}

// hostPort is how the configuration names an endpoint's address.
func hostPort(e *resource.Endpoint) string {
	if e.Path != "" {
		return e.Path
	}
	return join(e.Host, e.Port)
}

func (b *composition) place(at int, e *resource.Endpoint, network, address string) {
	s := &b.layout.shards[at]
	host := e.Hostname
	if host == "" && e.Path == "" {
		if _, err := netip.ParseAddr(e.Host); err != nil {
			host = e.Host
		}
	}
	shown := hostPort(e)
	if host != "" && e.Path == "" {
		shown = join(host, e.Port)
	}
	s.targets = append(s.targets, target{
		memberKey: memberKey{
			network: network, address: address, hostname: shown, tlsHost: host,
			shard: s.name, zone: e.Zone, weight: e.Weight, tls: b.c.tlsPrint,
		},
		role: roleOf(e.Role), health: e.Health, priority: e.Priority,
	})
}
