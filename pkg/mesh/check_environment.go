package mesh

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// reservedEnvironment is where the names of an Adapter's resources differ from those of an
// Ambassador of the same name, which go on with the environment.
const reservedEnvironment = "adapter"

func (c *checker) environments(s *AmbassadorSpec) {
	const at = "spec.environments"
	c.require(len(s.Environments) > 0, at, "at least one is needed", `as in environments: {dev: {address: "127.0.0.1:6379"}}`)
	for _, name := range slices.Sorted(maps.Keys(s.Environments)) {
		env := s.Environments[name]
		here := join(at, name)
		c.require(isLabelValue(name), here, fmt.Sprintf("%q is not a name for an environment", clip(name)),
			"letters, digits, and - _ . between them; at most 63")
		c.require(name != reservedEnvironment, here, fmt.Sprintf("%q cannot be the name of an environment: resources of Adapters are called so", name), "choose another")
		c.upstream(&env.Upstream, s, here)
		c.databaseEnvironment(&env, s, here)
		c.pools(&env, s, here)
	}
}

func (c *checker) pools(env *Environment, s *AmbassadorSpec, at string) {
	if s.Protocol == "" {
		return // missing or unknown, which has been said: what goes with it is anybody's guess
	}
	if s.Protocol != ProtocolRedis && s.Protocol != ProtocolHTTP {
		c.require(len(env.Pools) == 0, at+".pools", "go with protocols redis and http only", "remove them")
		return
	}
	used := poolNames(s)
	for _, name := range slices.Sorted(maps.Keys(env.Pools)) {
		pool := env.Pools[name]
		here := join(at+".pools", name)
		c.require(IsDNSLabel(name), here, fmt.Sprintf("%q is not a name for a pool", clip(name)),
			"use lower-case letters, digits and -")
		c.require(used[name] != "", here, "no route or mirror names this pool", "remove it, or name it")
		c.upstream(&pool, s, here)
	}
	for _, name := range slices.Sorted(maps.Keys(used)) {
		if _, ok := env.Pools[name]; !ok {
			c.fail(at+".pools", fmt.Sprintf("there is no pool %q, which %s names", clip(name), used[name]),
				DidYouMean(name, slices.Sorted(maps.Keys(env.Pools))))
		}
	}
}

// poolNames gives the pools that the routes need, and who says so first.
func poolNames(s *AmbassadorSpec) map[string]string {
	names := make(map[string]string)
	add := func(name, path string) {
		if name != "" && names[name] == "" {
			names[name] = path
		}
	}
	if s.HTTP != nil {
		gatherPools(s.HTTP, add)
	}
	if s.Redis != nil {
		redisPools(s.Redis, add)
	}
	return names
}

func gatherPools(h *HTTPSpec, add func(name, path string)) {
	for i := range h.Routes {
		if g := h.Routes[i].Gather; g != nil {
			for j, name := range g.Pools {
				add(name, fmt.Sprintf("spec.http.routes[%d].gather.pools[%d]", i, j))
			}
		}
	}
}

func redisPools(r *RedisSpec, add func(name, path string)) {
	mirrors := func(ms []Mirror, at string) {
		for i, m := range ms {
			add(m.Pool, fmt.Sprintf("%s[%d].pool", at, i))
		}
	}
	for i, route := range r.PrefixRoutes {
		at := fmt.Sprintf("spec.redis.prefixRoutes[%d]", i)
		add(route.Pool, at+".pool")
		add(route.ReadPool, at+".readPool")
		mirrors(route.Mirrors, at+".mirrors")
	}
	mirrors(r.Mirrors, "spec.redis.mirrors")
}

// upstream checks one group of servers.
func (c *checker) upstream(u *Upstream, s *AmbassadorSpec, at string) {
	kinds := count(u.Address != "", u.Service != nil, u.Leader != nil, u.Endpoints != nil, u.Shards != nil,
		u.ShardsFrom != nil, u.Cluster != nil, u.Sentinel != nil)
	redis := s.Protocol == ProtocolRedis
	c.require(kinds == 1, at, "must say in exactly one way where the servers are", oneOf(c.forms(redis)))
	switch {
	case redis:
		c.require(u.Endpoints == nil, at+".endpoints", "does not go with protocol redis", "use shards")
		c.require(!onlySlots(s.Redis) || u.Cluster != nil || kinds != 1, at,
			"the distribution slots needs a Redis Cluster", `use cluster: {seeds: ["host:port"]}`)
	case s.Protocol != "":
		why := fmt.Sprintf("does not go with protocol %s", s.Protocol)
		c.require(u.Shards == nil, at+".shards", why, "use address or endpoints")
		c.require(u.ShardsFrom == nil, at+".shardsFrom", why, "use service")
		c.require(u.Cluster == nil, at+".cluster", why, "use endpoints")
		c.require(u.Sentinel == nil, at+".sentinel", why, "use endpoints")
		c.require(u.Credentials == nil || s.Protocol.IsDatabase(), at+".credentials", why, "remove it")
		c.require(u.Database == nil || s.Protocol.IsDatabase(), at+".database", why, "remove it")
	}
	if u.Address != "" || u.Service != nil {
		c.server(&Server{Address: u.Address, Service: u.Service}, at)
	}
	c.leader(u.Leader, at+".leader")
	c.endpoints(u.Endpoints, at+".endpoints")
	c.shards(u.Shards, at+".shards")
	c.shardsFrom(u.ShardsFrom, s.Redis, at+".shardsFrom")
	c.cluster(u.Cluster, at+".cluster")
	c.sentinel(u.Sentinel, at+".sentinel")
	if redis && u.Database != nil {
		_, ok := u.Database.Number()
		c.require(ok, at+".database", "is not a database number", "")
	}
	c.credentials(u.Credentials, s.Protocol == "" || s.Protocol.IsDatabase(), at+".credentials")
	c.upstreamTLS(u.TLS, at+".tls")
	c.databaseTLS(u.TLS, s.Protocol, at+".tls")
	c.oneKind(u, at)
}

// forms lists the ways to say where servers are.
func (c *checker) forms(redis bool) []string {
	forms := []string{"address"}
	if c.services {
		forms = append(forms, "service", "leader")
	}
	switch {
	case !redis:
		return append(forms, "endpoints")
	case c.services:
		return append(forms, "shards", "shardsFrom", "cluster", "sentinel")
	}
	return append(forms, "shards", "cluster", "sentinel")
}

func onlySlots(r *RedisSpec) bool { return r != nil && r.Distribution == DistributionSlots }

func (c *checker) server(s *Server, at string) {
	switch {
	case s.Address != "" && s.Service != nil:
		c.fail(at, "has an address and a service", "remove one")
	case s.Address != "":
		c.address(s.Address, at+".address")
	case s.Service == nil:
		c.fail(at, "needs an address", `as in address: "redis:6379"`)
	default:
		c.service(s.Service, at+".service", `write its address: "name.namespace.svc:port"`)
	}
}

func (c *checker) service(s *ServiceRef, at, instead string) {
	c.needsControlPlane(at, "a Service", instead)
	c.require(IsDNSLabel(s.Name), at+".name", "must be the name of a Service", "")
	c.require(s.Namespace == "" || IsDNSLabel(s.Namespace), at+".namespace", "must be the name of a namespace", "")
	c.require(s.Port >= 1 && s.Port <= 65535, at+".port", "must be from 1 to 65535", "")
}

func (c *checker) leader(l *LeaderRef, at string) {
	if l == nil {
		return
	}
	c.needsControlPlane(at, "a leader", "write an address, as that of a Service that selects the leader")
	c.require(isObjectName(l.Election), at+".election", "must be the name of a Lease", "what --election of the candidates says")
	c.require(l.Port >= 1 && l.Port <= 65535, at+".port", "must be from 1 to 65535", "")
}

func (c *checker) shardsFrom(s *ShardsFrom, r *RedisSpec, at string) {
	if s == nil {
		return
	}
	c.service(&s.Service, at+".service", "use shards and write the addresses")
	for _, label := range []struct{ key, at string }{
		{s.ShardLabel, at + ".shardLabel"}, {s.RoleLabel, at + ".roleLabel"},
	} {
		c.require(label.key == "" || isLabelKey(label.key), label.at,
			fmt.Sprintf("%q is not the key of a label", clip(label.key)), `as in "shard" or "example.com/shard"`)
	}
	c.require(s.RoleLabel == "" || s.ShardLabel != "", at+".roleLabel",
		"needs shardLabel, which says whose replica a pod is",
		"a label that all pods share, as app, makes one shard of them")
	c.require(s.Names == nil || len(s.Names) > 0, at+".names", "must not be empty", "")
	seen := make(map[string]bool, len(s.Names))
	for i, name := range s.Names {
		here := fmt.Sprintf("%s.names[%d]", at, i)
		c.require(name != "" && !strings.ContainsAny(name, " \t\r\n\x00"), here, "is not a name", "")
		c.once(seen, name, here)
	}
	c.require(len(s.Names) > 0 || r == nil || r.Distribution != DistributionModula, at+".names",
		"is missing, and the distribution modula goes by the order of shards", "list them, or use ketama")
}

func (c *checker) address(address, at string) {
	if _, _, _, err := SplitAddress(address); err != nil {
		c.fail(at, err.Error(), `"host:port", "[v6]:port" or "/path/of.sock"`)
	}
	for _, own := range places(c.obj, c.services) {
		c.require(own.datagram || !own.takes(address), at, clip(address)+" is this object's own "+own.at,
			"the proxy would connect to itself without end: give it another port, or the server's own address")
	}
}

func (c *checker) endpoints(servers []Server, at string) {
	c.require(servers == nil || len(servers) > 0, at, "must not be empty", "")
	seen := make(map[string]bool, len(servers))
	for i := range servers {
		here := fmt.Sprintf("%s[%d]", at, i)
		c.server(&servers[i], here)
		c.atLeastOne(servers[i].Weight, here+".weight")
		c.onlyServer(seen, &servers[i], here)
	}
}

func (c *checker) shards(shards []Shard, at string) {
	c.require(shards == nil || len(shards) > 0, at, "must not be empty", "")
	names := make(map[string]int, len(shards))
	for i := range shards {
		s := &shards[i]
		here := fmt.Sprintf("%s[%d]", at, i)
		c.member(&s.Primary, here+".primary")
		for j := range s.Replicas {
			c.member(&s.Replicas[j], fmt.Sprintf("%s.replicas[%d]", here, j))
		}
		c.atLeastOne(s.Weight, here+".weight")
		c.require(!strings.ContainsAny(s.Name, " \t\r\n\x00"), here+".name", "must not hold spaces", "")
		name := s.HashName()
		if first, double := names[name]; double && name != "" {
			c.fail(here, fmt.Sprintf("%s[%d] has the same name %q", at, first, clip(name)), "give one of them another name")
		}
		names[name] = i
	}
	c.serversOnce(shards, at)
}

// serversOnce refuses a server that is there twice. Only shards with names, each of
// which has keys of its own, may have their primaries at one address.
func (c *checker) serversOnce(shards []Shard, at string) {
	seen := make(map[string]bool)
	named := func(s *Shard) bool { return s.Name != "" && s.Primary.Service == nil }
	for i := range shards {
		if s := &shards[i]; named(s) {
			seen[s.Primary.Address] = true
		}
	}
	for i := range shards {
		s := &shards[i]
		here := fmt.Sprintf("%s[%d]", at, i)
		if !named(s) {
			c.onlyServer(seen, &s.Primary, here+".primary")
		}
		for j := range s.Replicas {
			c.onlyServer(seen, &s.Replicas[j], fmt.Sprintf("%s.replicas[%d]", here, j))
		}
	}
}

// member checks a primary or a replica.
func (c *checker) member(s *Server, at string) {
	c.server(s, at)
	c.require(s.Weight == nil, at+".weight", "belongs to the shard", "move it there")
}

func (c *checker) once(seen map[string]bool, address, at string) {
	c.require(address == "" || !seen[address], at, fmt.Sprintf("%s is there twice", clip(address)), "remove one")
	seen[address] = true
}

// onlyServer refuses an address or a Service that was there already.
func (c *checker) onlyServer(seen map[string]bool, s *Server, at string) {
	if ref := s.Service; ref != nil {
		namespace := cmp.Or(ref.Namespace, c.obj.Meta().Namespace)
		c.once(seen, fmt.Sprintf("Service %s/%s port %d", namespace, ref.Name, ref.Port), at+".service")
		return
	}
	c.once(seen, s.Address, at+".address")
}

func (c *checker) cluster(r *RedisCluster, at string) {
	if r == nil {
		return
	}
	c.addresses(r.Seeds, at+".seeds")
	c.positive(r.RefreshInterval, at+".refreshInterval")
}

func (c *checker) addresses(list []string, at string) {
	c.require(len(list) > 0, at, "at least one is needed", "")
	seen := make(map[string]bool, len(list))
	for i, address := range list {
		here := fmt.Sprintf("%s[%d]", at, i)
		c.address(address, here)
		c.once(seen, address, here)
	}
}

func (c *checker) sentinel(s *Sentinel, at string) {
	if s == nil {
		return
	}
	c.addresses(s.Addresses, at+".addresses")
	c.require(len(s.Masters) > 0, at+".masters", "at least one is needed", "mymaster is what most are called")
	seen := make(map[string]bool, len(s.Masters))
	for i, name := range s.Masters {
		here := fmt.Sprintf("%s.masters[%d]", at, i)
		c.require(name != "" && !strings.ContainsAny(name, " \t\r\n\x00"), here, "is not a name", "")
		c.once(seen, name, here)
	}
	c.credentials(s.Credentials, false, at+".credentials")
}

// credentials checks how to log in. Databases may need no password.
func (c *checker) credentials(k *Credentials, passwordless bool, at string) {
	if k == nil {
		return
	}
	names := count(k.Username != "", k.UsernameFile != "", k.UsernameEnv != "")
	passwords := count(k.PasswordFile != "", k.PasswordEnv != "")
	if k.Secret != nil {
		c.require(names+passwords == 0, at, "has a secret and something else", "remove the others")
		c.secret(k.Secret.Name, at+".secret", "use passwordFile or passwordEnv")
		return
	}
	c.require(names <= 1, at, "has several user names", "keep one of username, usernameFile, usernameEnv")
	c.require(passwords == 1 || passwordless && passwords == 0, at, "needs exactly one password", oneOf([]string{"passwordFile", "passwordEnv"}))
}

func (c *checker) upstreamTLS(t *UpstreamTLS, at string) {
	if t == nil {
		return
	}
	c.keyPair(at, t.CertFile, t.KeyFile, t.Cert, false)
	c.authorities(at+".ca", t.CAFile, t.CA)
	authorities := t.CAFile != "" || t.CA != nil
	switch t.Mode {
	case TLSDisable:
		c.require(*t == UpstreamTLS{Mode: TLSDisable}, at, "has settings, but mode is disable", "remove them")
	case TLSRequire, TLSPrefer:
		c.require(!authorities, at+".mode", string(t.Mode)+" verifies nothing, but authorities are given",
			"use verify-ca or verify-full")
	case TLSVerifyCA, TLSVerifyFull, "":
	}
	_, ipErr := netip.ParseAddr(t.ServerName)
	c.require(t.ServerName == "" || isHost(t.ServerName) || ipErr == nil, at+".serverName",
		fmt.Sprintf("%q is not a host name", clip(t.ServerName)), "")
}

// oneKind refuses unix sockets beside host names: no discovery type has both.
func (c *checker) oneKind(u *Upstream, at string) {
	var sockets, names int
	for _, address := range u.Addresses() {
		host, _, path, err := SplitAddress(address)
		if err != nil {
			continue
		}
		if _, err := netip.ParseAddr(host); path == "" && err != nil {
			names++
		}
		if path != "" {
			sockets++
		}
	}
	c.require(sockets == 0 || names == 0, at, "has unix sockets beside host names", "write IP addresses beside sockets")
}
