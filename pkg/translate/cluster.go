package translate

import (
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	redisclusterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/clusters/redis/v3"
	redisv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/redis_proxy/v3"
	redishealthv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/health_checkers/redis/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
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
func (t *translator) cluster(u *mesh.Upstream, name string) {
	c := &clusterv3.Cluster{
		Name:            name,
		TransportSocket: t.upstreamTLS(u.TLS, name),

		UpstreamConnectionOptions: serverKeepalive(t.a.Spec.TCPKeepalive),
	}
	switch {
	case t.a.Spec.Protocol == mesh.ProtocolRedis:
		t.redisCluster(u, c)
	case t.a.Spec.Protocol.IsDatabase():
		t.databaseCluster(t.env, c)
	case t.a.Spec.Protocol == mesh.ProtocolHTTP:
		t.httpCluster(ambassadorHTTP(&t.a.Spec), u, c)
	default:
		t.tcpCluster(u, c)
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

func (t *translator) tcpCluster(u *mesh.Upstream, c *clusterv3.Cluster) {
	s := orEmpty(t.a.Spec.TCP)
	c.ConnectTimeout = duration(s.ConnectTimeout, defaultConnectTimeout)
	c.OutlierDetection = outlier(s.OutlierDetection)
	c.CircuitBreakers = circuitBreakers(s.RequestLimit)
	if h := s.HealthCheck; h != nil {
		check := healthCheck(h)
		check.HealthChecker = &corev3.HealthCheck_TcpHealthCheck_{TcpHealthCheck: &corev3.HealthCheck_TcpHealthCheck{}}
		c.HealthChecks = []*corev3.HealthCheck{check}
	}
	c.LbPolicy = alikePolicy(s.LoadBalancing)
	t.alike(u, c)
}

// alike puts servers that are all alike into the cluster.
func (t *translator) alike(u *mesh.Upstream, c *clusterv3.Cluster) {
	g := t.newGroup(u)
	if u.Leader != nil {
		g.add(g.leader(u.Leader)...)
	}
	if u.Address != "" || u.Service != nil {
		g.add(g.servers(&mesh.Server{Address: u.Address, Service: u.Service}, true)...)
	}
	for i := range u.Endpoints {
		g.add(g.servers(&u.Endpoints[i], true)...)
	}
	g.place(c)
}

func (t *translator) redisCluster(u *mesh.Upstream, c *clusterv3.Cluster) {
	r := orEmpty(t.a.Spec.Redis)
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
		Database:               database(&t.a.Spec, u),
		ConnectionsPerEndpoint: optional(r.ConnectionsPerEndpoint),
		ProbeRole:              orEmpty(r.HealthCheck).ProbeRole,
		PreConnect:             r.PreConnect,
	}
	c.TypedExtensionProtocolOptions = map[string]*anypb.Any{}
	if auth := t.credentials(u.Credentials, options); auth != nil {
		c.TypedExtensionProtocolOptions[resource.RedisProtocolOptionsKey] = pack(auth)
	}
	switch {
	case u.Cluster != nil:
		slots(u.Cluster, c)
		resolution(c)
	case u.Sentinel != nil:
		t.sentinel(u.Sentinel, c)
		resolution(c)
	default:
		t.redisServers(r, u, c, options)
	}
	c.TypedExtensionProtocolOptions[resource.RedisUpstreamOptions] = pack(options)
}

// redisServers puts the servers that an upstream names, itself or by Services,
// into the cluster.
func (t *translator) redisServers(r *mesh.RedisSpec, u *mesh.Upstream, c *clusterv3.Cluster, options *upstreamsv1.RedisUpstream) {
	g := t.newGroup(u)
	if u.ShardsFrom != nil {
		g.shardsFrom(u.ShardsFrom)
	} else {
		g.redisMembers(r, u)
	}
	g.place(c)
	options.Shards = g.lists()
	options.ProbeRole = options.ProbeRole || g.probeRole
}

// credentials gives Envoy's options for files and variables, and sets ours for
// a Secret, which Envoy cannot fetch.
func (t *translator) credentials(k *mesh.Credentials, options *upstreamsv1.RedisUpstream) *redisv3.RedisProtocolOptions {
	switch {
	case k == nil:
		return nil
	case k.Secret != nil:
		options.Username, options.Password = t.credentialsSecret(k.Secret)
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
func (t *translator) sentinel(s *mesh.Sentinel, c *clusterv3.Cluster) {
	p := &clustersv1.Sentinel{Masters: s.Masters, Tls: s.TLS}
	if k := s.Credentials; k != nil {
		p.Username, p.Password = t.sentinelCredentials(k, c.GetName()+"/sentinel")
	}
	c.ClusterDiscoveryType = &clusterv3.Cluster_ClusterType{ClusterType: &clusterv3.Cluster_CustomClusterType{
		Name:        "dragoman.clusters.sentinel",
		TypedConfig: pack(p),
	}}
	c.LoadAssignment = seeds(c.GetName(), s.Addresses)
}

func (t *translator) sentinelCredentials(k *mesh.Credentials, name string) (user, password *secretsv1.SecretKey) {
	if k.Secret != nil {
		return t.credentialsSecret(k.Secret)
	}
	if d := source(k.Username, k.UsernameFile, k.UsernameEnv); d != nil {
		t.genericSecret(name+"/username", d)
		user = &secretsv1.SecretKey{Name: name + "/username"}
	}
	t.genericSecret(name+"/password", source("", k.PasswordFile, k.PasswordEnv))
	return user, &secretsv1.SecretKey{Name: name + "/password"}
}
