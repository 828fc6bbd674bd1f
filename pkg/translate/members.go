package translate

import (
	"cmp"
	"math"
	"net"
	"net/netip"
	"strconv"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	upstreamsv1 "github.com/dragoman-mesh/dragoman/api/dragoman/upstreams/redis/v1"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// member is a server as an endpoint of a cluster.
type member struct {
	host     string // IP address or name; "" with path
	port     uint32
	path     string            // of a unix socket
	hostname string            // what an IP address stands for, for TLS; or ""
	pod      string            // "namespace/name" of the pod; or ""
	labels   map[string]string // of the pod; nil where there is none
	zone     string
	weight   *uint32
	health   corev3.HealthStatus
	name     string // what is hashed, and the shard, for Redis
	role     resource.Role
	shared   bool // the server may be there already, under another name
}

// shard is the place of some members.
type shard struct {
	name   string
	weight *uint32
}

// group is the servers of one cluster.
type group struct {
	t       *translator
	verify  bool // the name of a server counts
	perPod  bool // a pod is one server, whatever its addresses
	members []member
	seen    map[string]bool // identities of members

	fromService bool    // a Service's endpoints are among the members
	follows     bool    // a Service says what members there are, itself or by a name
	probeRole   bool    // only the servers know who is primary
	shards      []shard // that are there with or without members
}

func (t *translator) newGroup(u *mesh.Upstream) *group {
	tls := u.TLS != nil && u.TLS.Mode != mesh.TLSDisable && u.TLS.ServerName == ""
	return &group{t: t, verify: tls, perPod: t.protocol == mesh.ProtocolRedis, seen: make(map[string]bool)}
}

// add takes members in, each server once, and returns how many it took: where a
// server is there twice, the first one counts. One that a document names as the primary
// of several shards is each of them.
func (g *group) add(list ...member) (taken int) {
	for i := range list {
		m := &list[i]
		address, server := m.address(), m.address()
		if g.perPod {
			server = m.identity()
		}
		if !m.shared && (g.seen[address] || g.seen[server]) {
			continue
		}
		g.seen[address], g.seen[server] = true, true
		g.members = append(g.members, *m)
		taken++
	}
	return taken
}

// servers gives what a server of a document stands for: itself, or the endpoints
// of its Service. hints says whether those of other zones may be left out.
func (g *group) servers(s *mesh.Server, hints bool) []member {
	if s.Service == nil {
		return []member{plain(s)}
	}
	g.follows = true
	svc, ok := g.t.follow(s.Service)
	if !ok {
		return nil
	}
	if svc.ExternalName != "" {
		return []member{{host: svc.ExternalName, port: svc.number, zone: s.Zone, weight: s.Weight}}
	}
	g.fromService = true
	list := usable(svc.backends())
	switch {
	case len(list) == 0:
		g.t.note("%v has no endpoint that is ready", svc)
	case list[0].health == corev3.HealthStatus_DRAINING:
		g.t.note("%v has only endpoints that are terminating", svc)
	}
	if hints || svc.Local {
		var counts Counts
		list, counts = near(svc, list, g.t.spot)
		g.t.counts = g.t.counts.or(counts)
	}
	if svc.Local {
		g.t.note("%v is followed on each pod's own node alone (internalTrafficPolicy: Local)", svc)
	}
	out := make([]member, len(list))
	for i, b := range sortedByFamily(list) {
		out[i] = g.backend(svc, b)
		out[i].weight = s.Weight
		if out[i].zone == "" {
			out[i].zone = s.Zone
		}
	}
	return out
}

// plain makes a member of an address that validation has seen.
func plain(s *mesh.Server) member {
	host, port, path, err := mesh.SplitAddress(s.Address)
	if err != nil {
		panic("translate: an object that was not validated: " + err.Error())
	}
	return member{host: host, port: port, path: path, zone: s.Zone, weight: s.Weight}
}

// backend makes a member of an endpoint of a Service.
func (g *group) backend(svc *target, b backend) member {
	m := member{host: b.Address, port: b.port, zone: b.Zone, health: b.health}
	if b.Pod != "" {
		m.pod, m.labels = svc.Namespace+"/"+b.Pod, b.Labels
	}
	if g.verify && !m.isName() {
		m.hostname = svc.host()
	}
	return m
}

// address is where the member listens.
func (m *member) address() string {
	if m.path != "" {
		return m.path
	}
	return hostPort(m.host, m.port)
}

func hostPort(host string, port uint32) string {
	return net.JoinHostPort(host, strconv.FormatUint(uint64(port), 10))
}

// identity is the same for two addresses of one server, as far as one can tell.
func (m *member) identity() string {
	if m.pod == "" {
		return m.address()
	}
	return "pod " + hostPort(m.pod, m.port)
}

// isName reports whether the member has to be resolved.
func (m *member) isName() bool {
	if m.path != "" {
		return false
	}
	_, err := netip.ParseAddr(m.host)
	return err != nil
}

// place puts the group into a cluster: names make it resolve, Services alone make
// it an EDS cluster, whose endpoints come apart.
func (g *group) place(c *clusterv3.Cluster) {
	name, socket := "", ""
	for i := range g.members {
		m := &g.members[i]
		if m.isName() {
			name = m.host
		}
		socket = cmp.Or(socket, m.path)
	}
	names := name != ""
	switch {
	case names && socket != "":
		g.t.fail(ReasonServiceUnsupported, "a Service stands for the name %s, which cannot be beside the unix socket %s", name, socket)
		return
	case g.fromService && !names:
		c.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_EDS}
		c.EdsClusterConfig = &clusterv3.Cluster_EdsClusterConfig{EdsConfig: aggregated(), ServiceName: c.GetName()}
		g.t.set.Endpoints = append(g.t.set.Endpoints, weighted(assignment(c.GetName(), g.members)))
		return
	case names:
		c.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STRICT_DNS}
		resolution(c)
	default:
		c.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC}
	}
	c.LoadAssignment = assignment(c.GetName(), g.members)
}

// lists gives the shards for the cluster to keep, where its members do not say
// them all, or not in order: Services may be empty, and zones part them.
func (g *group) lists() []*upstreamsv1.Shard {
	needed := g.follows
	for i := range g.members {
		needed = needed || g.members[i].zone != ""
	}
	if !needed {
		return nil
	}
	out := make([]*upstreamsv1.Shard, len(g.shards))
	for i, s := range g.shards {
		out[i] = &upstreamsv1.Shard{Name: s.name, Weight: optional(s.weight)}
	}
	return out
}

// assignment puts members into the localities of their zones, sorted.
func assignment(cluster string, members []member) *endpointv3.ClusterLoadAssignment {
	zones := make(map[string]*endpointv3.LocalityLbEndpoints)
	for i := range members {
		zone := members[i].zone
		if zones[zone] == nil {
			zones[zone] = &endpointv3.LocalityLbEndpoints{}
			if zone != "" {
				zones[zone].Locality = &corev3.Locality{Zone: zone}
			}
		}
		zones[zone].LbEndpoints = append(zones[zone].LbEndpoints, members[i].endpoint())
	}
	out := &endpointv3.ClusterLoadAssignment{ClusterName: cluster}
	for _, zone := range sortedKeys(zones) {
		out.Endpoints = append(out.Endpoints, zones[zone])
	}
	return out
}

// weighted gives each locality an id and the weight of its endpoints, which some
// clients insist on (gRFC A27).
func weighted(a *endpointv3.ClusterLoadAssignment) *endpointv3.ClusterLoadAssignment {
	for _, l := range a.GetEndpoints() {
		if l.Locality == nil {
			l.Locality = &corev3.Locality{}
		}
		var sum uint64
		for _, e := range l.GetLbEndpoints() {
			sum += uint64(max(e.GetLoadBalancingWeight().GetValue(), 1))
		}
		l.LoadBalancingWeight = wrapperspb.UInt32(uint32(min(sum, math.MaxUint32)))
	}
	return a
}

func (m *member) endpoint() *endpointv3.LbEndpoint {
	to := socketAddress(m.host, m.port)
	if m.path != "" {
		to = &corev3.Address{Address: &corev3.Address_Pipe{Pipe: &corev3.Pipe{Path: m.path}}}
	}
	e := &endpointv3.LbEndpoint{
		HostIdentifier:      &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{Address: to, Hostname: m.hostname}},
		HealthStatus:        m.health,
		LoadBalancingWeight: optional(m.weight),
	}
	if m.name != "" {
		e.Metadata = &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{
			resource.HashKeyMetadata: metadata(map[string]string{resource.HashKeyKey: m.name}),
			resource.EndpointMetadata: metadata(map[string]string{
				resource.EndpointShardKey: m.name,
				resource.EndpointRoleKey:  m.role.String(),
			}),
		}}
	}
	return e
}

// seeds makes endpoints of servers that are only asked for the real ones.
func seeds(cluster string, list []string) *endpointv3.ClusterLoadAssignment {
	l := &endpointv3.LocalityLbEndpoints{}
	for _, s := range list {
		m := plain(&mesh.Server{Address: s})
		l.LbEndpoints = append(l.LbEndpoints, m.endpoint())
	}
	return &endpointv3.ClusterLoadAssignment{ClusterName: cluster, Endpoints: []*endpointv3.LocalityLbEndpoints{l}}
}
