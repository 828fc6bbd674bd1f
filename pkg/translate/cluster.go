package translate

import (
	"cmp"
	"net/netip"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	redisclusterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/clusters/redis/v3"
	redisv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/redis_proxy/v3"
	redishealthv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/health_checkers/redis/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	clustersv1 "github.com/dragoman-mesh/dragoman/api/dragoman/clusters/v1"
	secretsv1 "github.com/dragoman-mesh/dragoman/api/dragoman/secrets/v1"
	upstreamsv1 "github.com/dragoman-mesh/dragoman/api/dragoman/upstreams/redis/v1"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// Defaults that the documents promise.
const (
	defaultConnectTimeout      = 3 * time.Second
	defaultHealthInterval      = 5 * time.Second
	defaultHealthTimeout       = time.Second
	defaultUnhealthyThreshold  = 3
	defaultHealthyThreshold    = 1
	defaultConsecutiveFailures = 5
	defaultOutlierInterval     = 10 * time.Second
	defaultBaseEjection        = 30 * time.Second
	defaultMaxEjection         = 5 * time.Minute
	defaultMaxEjectionPercent  = 10
	defaultClusterRefresh      = 30 * time.Second
	redirectRefresh            = 250 * time.Millisecond
	dnsRetry                   = 500 * time.Millisecond
	dnsRetryMax                = 5 * time.Second
)

// cluster makes the one of an environment or of a pool.
func (t *translator) cluster(a *mesh.Ambassador, u *mesh.Upstream, name string) {
	c := &clusterv3.Cluster{
		Name:            name,
		TransportSocket: t.upstreamTLS(a, u.TLS, name),
	}
	if a.Spec.Protocol == mesh.ProtocolRedis {
		t.redisCluster(a, u, c)
	} else {
		tcpCluster(orEmpty(a.Spec.TCP), u, c)
	}
	if c.GetType() != clusterv3.Cluster_STATIC || c.GetClusterType() != nil {
		resolution(c)
	}
	t.set.Clusters = append(t.set.Clusters, c)
}

// resolution says how host names are looked up. IPv4 comes first because
// "localhost" has both addresses and most servers listen on that one alone; and
// a name that is not there yet is asked for again soon.
func resolution(c *clusterv3.Cluster) {
	c.DnsLookupFamily = clusterv3.Cluster_V4_PREFERRED
	c.DnsFailureRefreshRate = &clusterv3.Cluster_RefreshRate{ //nolint:staticcheck // deprecated for an extension that nothing needs
		BaseInterval: durationpb.New(dnsRetry),
		MaxInterval:  durationpb.New(dnsRetryMax),
	}
}

func tcpCluster(s *mesh.TCPSpec, u *mesh.Upstream, c *clusterv3.Cluster) {
	c.ConnectTimeout = duration(s.ConnectTimeout, defaultConnectTimeout)
	c.OutlierDetection = outlier(s.OutlierDetection)
	c.CircuitBreakers = circuitBreakers(s.RequestLimit)
	if h := s.HealthCheck; h != nil {
		check := healthCheck(h)
		check.HealthChecker = &corev3.HealthCheck_TcpHealthCheck_{TcpHealthCheck: &corev3.HealthCheck_TcpHealthCheck{}}
		c.HealthChecks = []*corev3.HealthCheck{check}
	}
	switch s.LoadBalancing {
	case mesh.TCPLeastRequest:
		c.LbPolicy = clusterv3.Cluster_LEAST_REQUEST
	case mesh.TCPRandom:
		c.LbPolicy = clusterv3.Cluster_RANDOM
	case mesh.TCPRoundRobin, "":
		c.LbPolicy = clusterv3.Cluster_ROUND_ROBIN
	}
	members := make([]member, 0, len(u.Endpoints)+1)
	if u.Address != "" {
		members = append(members, member{server: mesh.Server{Address: u.Address}})
	}
	for _, e := range u.Endpoints {
		members = append(members, member{server: e, weight: e.Weight})
	}
	addresses(c, u, members)
}

func (t *translator) redisCluster(a *mesh.Ambassador, u *mesh.Upstream, c *clusterv3.Cluster) {
	r := orEmpty(a.Spec.Redis)
	c.ConnectTimeout = duration(r.ConnectTimeout, defaultConnectTimeout)
	c.OutlierDetection = outlier(r.OutlierDetection)
	c.CircuitBreakers = circuitBreakers(r.RequestLimit)
	if h := r.HealthCheck; h != nil {
		check := healthCheck(h)
		check.HealthChecker = &corev3.HealthCheck_CustomHealthCheck_{CustomHealthCheck: &corev3.HealthCheck_CustomHealthCheck{
			Name:       "envoy.health_checkers.redis",
			ConfigType: &corev3.HealthCheck_CustomHealthCheck_TypedConfig{TypedConfig: pack(&redishealthv3.Redis{})},
		}}
		c.HealthChecks = []*corev3.HealthCheck{check}
	}
	distribution(r, u, c)
	options := &upstreamsv1.RedisUpstream{
		Database:               database(&a.Spec, u),
		ConnectionsPerEndpoint: optional(r.ConnectionsPerEndpoint),
		ProbeRole:              orEmpty(r.HealthCheck).ProbeRole,
		PreConnect:             r.PreConnect,
	}
	c.TypedExtensionProtocolOptions = map[string]*anypb.Any{}
	if auth := credentials(a, u.Credentials, options); auth != nil {
		c.TypedExtensionProtocolOptions[resource.RedisProtocolOptionsKey] = pack(auth)
	}
	c.TypedExtensionProtocolOptions[resource.RedisUpstreamOptions] = pack(options)
	switch {
	case u.Cluster != nil:
		slots(u.Cluster, c)
	case u.Sentinel != nil:
		t.sentinel(a, u.Sentinel, c)
	default:
		addresses(c, u, shardMembers(r, u))
	}
}

// credentials gives Envoy's options for files and variables, and sets ours for
// a Secret, which Envoy cannot fetch.
func credentials(a *mesh.Ambassador, k *mesh.Credentials, options *upstreamsv1.RedisUpstream) *redisv3.RedisProtocolOptions {
	switch {
	case k == nil:
		return nil
	case k.Secret != nil:
		name := secretName(a, k.Secret.Name)
		options.Username = &secretsv1.SecretKey{Name: name, Key: "username"}
		options.Password = &secretsv1.SecretKey{Name: name, Key: "password"}
		return nil
	}
	return &redisv3.RedisProtocolOptions{
		AuthUsername: source(k.Username, k.UsernameFile, k.UsernameEnv),
		AuthPassword: source("", k.PasswordFile, k.PasswordEnv),
	}
}

// slots makes a Redis Cluster.
func slots(r *mesh.RedisCluster, c *clusterv3.Cluster) {
	c.LbPolicy = clusterv3.Cluster_CLUSTER_PROVIDED
	c.ClusterDiscoveryType = &clusterv3.Cluster_ClusterType{ClusterType: &clusterv3.Cluster_CustomClusterType{
		Name: "envoy.clusters.redis",
		TypedConfig: pack(&redisclusterv3.RedisClusterConfig{
			ClusterRefreshRate: duration(r.RefreshInterval, defaultClusterRefresh),
			// A redirection says that a slot has moved: look at once, but not all the time while slots are moving.
			RedirectRefreshInterval:  durationpb.New(redirectRefresh),
			RedirectRefreshThreshold: wrapperspb.UInt32(1),
		}),
	}}
	c.LoadAssignment = seeds(c.GetName(), r.Seeds)
}

// sentinel makes a cluster whose servers Sentinels know.
func (t *translator) sentinel(a *mesh.Ambassador, s *mesh.Sentinel, c *clusterv3.Cluster) {
	p := &clustersv1.Sentinel{Masters: s.Masters, Tls: s.TLS}
	if k := s.Credentials; k != nil {
		p.Username, p.Password = t.sentinelCredentials(a, k, c.GetName()+"/sentinel")
	}
	c.ClusterDiscoveryType = &clusterv3.Cluster_ClusterType{ClusterType: &clusterv3.Cluster_CustomClusterType{
		Name:        "dragoman.clusters.sentinel",
		TypedConfig: pack(p),
	}}
	c.LoadAssignment = seeds(c.GetName(), s.Addresses)
}

func (t *translator) sentinelCredentials(a *mesh.Ambassador, k *mesh.Credentials, name string) (user, password *secretsv1.SecretKey) {
	if k.Secret != nil {
		name = secretName(a, k.Secret.Name)
		return &secretsv1.SecretKey{Name: name, Key: "username"}, &secretsv1.SecretKey{Name: name, Key: "password"}
	}
	if d := source(k.Username, k.UsernameFile, k.UsernameEnv); d != nil {
		t.genericSecret(name+"/username", d)
		user = &secretsv1.SecretKey{Name: name + "/username"}
	}
	t.genericSecret(name+"/password", source("", k.PasswordFile, k.PasswordEnv))
	return user, &secretsv1.SecretKey{Name: name + "/password"}
}

// member is a server as an endpoint of a cluster.
type member struct {
	server mesh.Server
	weight *uint32
	name   string // what is hashed, for Redis
	role   resource.Role
}

// shardMembers gives the servers of all shards; one address is one shard.
func shardMembers(r *mesh.RedisSpec, u *mesh.Upstream) []member {
	shards := u.Shards
	if u.Address != "" {
		shards = []mesh.Shard{{Primary: mesh.Server{Address: u.Address}}}
	}
	var out []member
	for i := range shards {
		s := &shards[i]
		name := s.HashName()
		if r.Distribution == mesh.DistributionRingHash || r.Distribution == mesh.DistributionMaglev {
			name = cmp.Or(s.Name, s.Primary.Address) // Envoy knows nothing of memcached's port
		}
		out = append(out, member{s.Primary, s.Weight, name, resource.RolePrimary})
		for _, replica := range s.Replicas {
			out = append(out, member{replica, s.Weight, name, resource.RoleReplica})
		}
	}
	return out
}

// addresses sets the endpoints of a cluster, and how they are found.
func addresses(c *clusterv3.Cluster, u *mesh.Upstream, members []member) {
	c.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC}
	for _, s := range u.Addresses() {
		host, _, path, err := mesh.SplitAddress(s)
		if _, ipErr := netip.ParseAddr(host); err == nil && path == "" && ipErr != nil {
			c.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STRICT_DNS}
		}
	}
	zones := make(map[string]*endpointv3.LocalityLbEndpoints)
	for i := range members {
		zone := members[i].server.Zone
		if zones[zone] == nil {
			zones[zone] = &endpointv3.LocalityLbEndpoints{}
			if zone != "" {
				zones[zone].Locality = &corev3.Locality{Zone: zone}
			}
		}
		zones[zone].LbEndpoints = append(zones[zone].LbEndpoints, members[i].endpoint())
	}
	c.LoadAssignment = &endpointv3.ClusterLoadAssignment{ClusterName: c.GetName()}
	for _, zone := range sortedKeys(zones) {
		c.LoadAssignment.Endpoints = append(c.LoadAssignment.Endpoints, zones[zone])
	}
}

func (m *member) endpoint() *endpointv3.LbEndpoint {
	e := &endpointv3.LbEndpoint{
		HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{
			Address: address(m.server.Address),
		}},
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
		m := member{server: mesh.Server{Address: s}}
		l.LbEndpoints = append(l.LbEndpoints, m.endpoint())
	}
	return &endpointv3.ClusterLoadAssignment{ClusterName: cluster, Endpoints: []*endpointv3.LocalityLbEndpoints{l}}
}
