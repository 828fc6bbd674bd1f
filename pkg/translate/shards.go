package translate

import (
	"cmp"
	"slices"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"github.com/dragoman-mesh/dragoman/pkg/inventory"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// shardsFrom adds the shards that are found among the endpoints of a Service.
//
// A shard of which no endpoint is usable is kept by one that is not, so that its
// keys do not move while a server restarts; only the end of its last endpoint
// ends it, and not even that where the document says which shards there are.
func (g *group) shardsFrom(s *mesh.ShardsFrom) {
	g.fromService, g.follows = true, true
	g.probeRole = s.ShardLabel != "" && s.RoleLabel == ""
	for _, name := range s.Names {
		g.shards = append(g.shards, shard{name: name})
	}
	svc, ok := g.t.follow(&s.Service)
	if !ok {
		return
	}
	if svc.ExternalName != "" {
		g.t.fail(ReasonServiceUnsupported, "%v stands for the name %s: shardsFrom needs one with pods", svc, svc.ExternalName)
		return
	}
	byShard := make(map[string][]member)
	skipped := 0
	for _, b := range sortedByFamily(svc.backends()) {
		name, role, ok := placeOf(s, b)
		if !ok {
			skipped++
			continue
		}
		m := g.backend(svc, b)
		m.name, m.role = name, role
		if m.hostname != "" && b.Hostname != "" {
			m.hostname = b.Hostname + "." + m.hostname
		}
		byShard[name] = append(byShard[name], m)
	}
	g.takeShards(s, svc, byShard)
	if skipped > 0 {
		g.t.note("%v: %d endpoints are left out, whose labels do not say their place", svc, skipped)
	}
}

// takeShards adds the members of those shards that count.
func (g *group) takeShards(s *mesh.ShardsFrom, svc *target, byShard map[string][]member) {
	names := s.Names
	if len(names) == 0 {
		names = sortedKeys(byShard)
		slices.SortFunc(names, naturally)
	}
	for _, name := range names {
		list := best(byShard[name])
		if len(list) == 0 || list[0].health == corev3.HealthStatus_UNHEALTHY {
			g.t.note("%v: shard %s has no endpoint that is ready", svc, name)
		}
		g.add(list...)
		delete(byShard, name)
	}
	if len(byShard) > 0 {
		g.t.note("%v: the shards %s are left out, which names does not list", svc, strings.Join(sortedKeys(byShard), ", "))
	}
	if len(names) == 0 {
		g.t.note("%v has no endpoints", svc)
	}
}

// placeOf says which shard an endpoint is of, and what it is there.
func placeOf(s *mesh.ShardsFrom, b backend) (name string, role resource.Role, ok bool) {
	if s.ShardLabel == "" {
		return cmp.Or(b.Hostname, b.Pod, hostPort(b.Address, b.port)), resource.RolePrimary, true
	}
	name = b.Labels[s.ShardLabel]
	if s.RoleLabel == "" {
		return name, resource.RoleUnknown, name != ""
	}
	role, ok = labelledRole(b.Labels[s.RoleLabel])
	return name, role, ok && name != ""
}

// labelledRole reads the words that operators of databases put on their pods.
func labelledRole(label string) (role resource.Role, ok bool) {
	switch strings.ToLower(label) {
	case "primary", "master", "leader":
		return resource.RolePrimary, true
	case "replica", "standby", "slave", "follower", "secondary":
		return resource.RoleReplica, true
	}
	return resource.RoleUnknown, false
}

// best gives the members that are ready, else those that are draining, else
// those that are not well, which hold the place.
func best(list []member) []member {
	for _, health := range []corev3.HealthStatus{corev3.HealthStatus_UNKNOWN, corev3.HealthStatus_DRAINING} {
		some := slices.DeleteFunc(slices.Clone(list), func(m member) bool { return m.health != health })
		if len(some) > 0 {
			return some
		}
	}
	return list
}

// redisMembers adds the servers of an upstream that names them.
func (g *group) redisMembers(r *mesh.RedisSpec, u *mesh.Upstream) {
	shards := u.Shards
	if u.Address != "" || u.Service != nil {
		shards = []mesh.Shard{{Primary: mesh.Server{Address: u.Address, Service: u.Service}}}
	}
	if u.Leader != nil {
		name := leaderName(u.Leader)
		g.shards = append(g.shards, shard{name: name})
		g.addAs(g.leader(u.Leader), name, nil, resource.RolePrimary)
	}
	// A pod that is a primary is no replica, although a Service of all pods has it:
	// primaries are looked up first.
	primaries := make([][]member, len(shards))
	primary := make(map[string]bool)
	for i := range shards {
		primaries[i] = g.servers(&shards[i].Primary, false)
		for j := range primaries[i] {
			primary[primaries[i][j].identity()] = true
		}
	}
	for i := range shards {
		s := &shards[i]
		name := hashName(r, s)
		g.shards = append(g.shards, shard{name, s.Weight})
		for j := range primaries[i] {
			primaries[i][j].shared = s.Primary.Service == nil
		}
		if g.addAs(primaries[i], name, s.Weight, resource.RolePrimary) == 0 && len(primaries[i]) > 0 {
			g.t.note("shard %s has no server of its own: that of its primary is another shard's", name)
		}
		for j := range s.Replicas {
			replicas := slices.DeleteFunc(g.servers(&s.Replicas[j], true), func(m member) bool { return primary[m.identity()] })
			g.addAs(replicas, name, s.Weight, resource.RoleReplica)
		}
	}
}

func (g *group) addAs(list []member, shard string, weight *uint32, role resource.Role) (taken int) {
	for i := range list {
		list[i].name, list[i].weight, list[i].role = shard, weight, role
	}
	return g.add(list...)
}

// hashName is what is hashed for a shard.
func hashName(r *mesh.RedisSpec, s *mesh.Shard) string {
	envoys := r.Distribution == mesh.DistributionRingHash || r.Distribution == mesh.DistributionMaglev
	if envoys && s.Primary.Address != "" {
		return cmp.Or(s.Name, s.Primary.Address) // Envoy knows nothing of memcached's port
	}
	return s.HashName()
}

// sortedByFamily puts IPv4 first and keeps the order otherwise.
func sortedByFamily(list []backend) []backend {
	slices.SortStableFunc(list, func(a, b backend) int {
		return cmp.Compare(family(a.Endpoint), family(b.Endpoint))
	})
	return list
}

func family(e *inventory.Endpoint) int {
	if strings.Contains(e.Address, ":") {
		return 1
	}
	return 0
}

// naturally orders redis-2 before redis-10.
func naturally(a, b string) int {
	stemA, numberA := cutNumber(a)
	stemB, numberB := cutNumber(b)
	return cmp.Or(cmp.Compare(stemA, stemB), cmp.Compare(len(numberA), len(numberB)),
		cmp.Compare(numberA, numberB), cmp.Compare(a, b))
}

// cutNumber cuts the digits at the end off, and zeros before them.
func cutNumber(s string) (stem, number string) {
	stem = strings.TrimRight(s, "0123456789")
	return stem, strings.TrimLeft(s[len(stem):], "0")
}
