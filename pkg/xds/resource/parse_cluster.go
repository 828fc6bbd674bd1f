package resource

import (
	"math"
	"net/netip"
	"strconv"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	redisclusterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/clusters/redis/v3"
	redisv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/redis_proxy/v3"

	clustersv1 "github.com/dragoman-mesh/dragoman/api/dragoman/clusters/v1"
	upstreamsv1 "github.com/dragoman-mesh/dragoman/api/dragoman/upstreams/redis/v1"
)

// Envoy's defaults, where a cluster does not say.
const (
	defaultConnectTimeout  = 5 * time.Second
	defaultDNSRefresh      = 5 * time.Second
	defaultClusterRefresh  = 5 * time.Second
	defaultClusterTimeout  = 3 * time.Second
	defaultRedirectEvery   = 5 * time.Second
	defaultRedirects       = 5
	defaultSentinelRefresh = 10 * time.Second
	defaultRetryBudget     = 0.2
	defaultRetryMinimum    = 3
)

// ParseCluster validates a cluster. The error is an Errors.
func ParseCluster(p *clusterv3.Cluster) (*Cluster, error) {
	r := &reader{typeURL: ClusterType, name: p.GetName()}
	c := &Cluster{Name: p.GetName(), Raw: p}
	if c.Name == "" {
		r.fail("name", "is missing")
	}
	r.clusterFields(p)
	c.ConnectTimeout = r.positive(p.GetConnectTimeout(), "connect_timeout", defaultConnectTimeout)
	c.TLS = r.upstreamTLS(p.GetTransportSocket(), "transport_socket")
	c.Redis = r.redisUpstream(p)
	c.HTTP = r.httpUpstream(p)
	r.discovery(p, c)
	c.LB = r.loadBalancing(p, c.Discovery.Type)
	c.HealthCheck = r.healthCheck(p.GetHealthChecks())
	c.Outlier = r.outlier(p.GetOutlierDetection())
	c.Limits = r.limits(p.GetCircuitBreakers())
	c.TCPKeepalive = r.keepalive(p.GetUpstreamConnectionOptions())
	c.Secrets = r.secrets
	return c, r.err()
}

// clusterFields refuses what is neither read nor meaningless here. Meaningless
// are the fields that tune Envoy's own machinery: names of statistics, buffers,
// when to warm, how long a removed host is kept.
func (r *reader) clusterFields(p *clusterv3.Cluster) {
	r.only(p, "",
		"name", "type", "cluster_type", "eds_cluster_config", "connect_timeout", "lb_policy", "load_assignment",
		"health_checks", "circuit_breakers", "typed_extension_protocol_options", "dns_refresh_rate",
		"dns_failure_refresh_rate", "dns_lookup_family", "outlier_detection", "ring_hash_lb_config", "maglev_lb_config",
		"least_request_lb_config", "round_robin_lb_config", "transport_socket", "upstream_connection_options",
		"load_balancing_policy", "common_lb_config",
		"alt_stat_name", "per_connection_buffer_limit_bytes", "dns_jitter", "respect_dns_ttl", "wait_for_warm_on_init",
		"cleanup_interval", "metadata", "ignore_health_on_host_removal", "track_cluster_stats")
	if l := p.GetCommonLbConfig(); l != nil {
		// Without health checks there is nothing to panic about, and with them
		// an unhealthy endpoint is never asked; both are what 0 means.
		r.only(l, "common_lb_config", "healthy_panic_threshold")
		if l.GetHealthyPanicThreshold().GetValue() != 0 {
			r.fail("common_lb_config.healthy_panic_threshold", "must be 0 or absent")
		}
	}
}

func (r *reader) discovery(p *clusterv3.Cluster, c *Cluster) {
	d := &c.Discovery
	d.DNS = r.dns(p)
	if custom := p.GetClusterType(); custom != nil {
		r.customDiscovery(custom, c)
	} else {
		switch p.GetType() {
		case clusterv3.Cluster_STATIC:
			d.Type = DiscoverStatic
		case clusterv3.Cluster_STRICT_DNS:
			d.Type = DiscoverDNS
		case clusterv3.Cluster_EDS:
			d.Type = DiscoverEDS
		default:
			r.fail("type", "%v is not supported", p.GetType())
		}
	}
	if d.Type == DiscoverEDS {
		r.eds(p, d)
		return
	}
	if p.GetEdsClusterConfig() != nil {
		r.fail("eds_cluster_config", "goes with type EDS only")
	}
	c.Endpoints = r.assignment(p.GetLoadAssignment(), "load_assignment")
	if len(c.Endpoints) == 0 && d.Type != DiscoverStatic {
		r.fail("load_assignment", "has no endpoints")
	}
	for i := range c.Endpoints {
		r.endpointKind(&c.Endpoints[i], d.Type)
	}
}

// endpointKind refuses addresses that the discovery type cannot have.
func (r *reader) endpointKind(e *Endpoint, t DiscoveryType) {
	if t == DiscoverDNS && e.Path != "" {
		r.fail("load_assignment", "%s: a unix socket does not go with STRICT_DNS", e.Path)
	}
	if _, err := netip.ParseAddr(e.Host); t == DiscoverStatic && e.Path == "" && err != nil {
		r.fail("load_assignment", "%q is not an IP address: use type STRICT_DNS", e.Host)
	}
}

func (r *reader) eds(p *clusterv3.Cluster, d *Discovery) {
	if p.GetLoadAssignment() != nil {
		r.fail("load_assignment", "does not go with type EDS")
	}
	d.EDSServiceName = p.GetEdsClusterConfig().GetServiceName()
	if d.EDSServiceName == "" {
		d.EDSServiceName = p.GetName()
	}
	if s := p.GetEdsClusterConfig().GetEdsConfig(); s != nil {
		r.aggregated(s, "eds_cluster_config.eds_config")
	} else {
		r.fail("eds_cluster_config.eds_config", "is missing")
	}
}

func (r *reader) dns(p *clusterv3.Cluster) DNS {
	d := DNS{RefreshRate: r.positive(p.GetDnsRefreshRate(), "dns_refresh_rate", defaultDNSRefresh)} //nolint:staticcheck // what every control plane sends
	d.FailureRefreshRate, d.FailureRefreshMax = d.RefreshRate, d.RefreshRate
	if f := p.GetDnsFailureRefreshRate(); f != nil { //nolint:staticcheck // as above
		d.FailureRefreshRate = r.positive(f.GetBaseInterval(), "dns_failure_refresh_rate.base_interval", d.RefreshRate)
		d.FailureRefreshMax = r.positive(f.GetMaxInterval(), "dns_failure_refresh_rate.max_interval", 10*d.FailureRefreshRate)
		if d.FailureRefreshMax < d.FailureRefreshRate {
			r.fail("dns_failure_refresh_rate.max_interval", "must not be shorter than base_interval")
		}
	}
	switch p.GetDnsLookupFamily() {
	case clusterv3.Cluster_AUTO:
		d.Family = DNSAuto
	case clusterv3.Cluster_V4_ONLY:
		d.Family = DNSV4Only
	case clusterv3.Cluster_V6_ONLY:
		d.Family = DNSV6Only
	case clusterv3.Cluster_V4_PREFERRED:
		d.Family = DNSV4Preferred
	case clusterv3.Cluster_ALL:
		d.Family = DNSAll
	default:
		r.fail("dns_lookup_family", "has the unknown value %d", p.GetDnsLookupFamily())
	}
	return d
}

func (r *reader) customDiscovery(t *clusterv3.Cluster_CustomClusterType, c *Cluster) {
	const path = "cluster_type.typed_config"
	switch t.GetTypedConfig().MessageName() {
	case nameOf(&redisclusterv3.RedisClusterConfig{}):
		var p redisclusterv3.RedisClusterConfig
		if r.unpack(t.GetTypedConfig(), &p, path) {
			c.Discovery.Type = DiscoverRedisCluster
			c.Discovery.RedisCluster = r.redisCluster(&p, path)
		}
	case nameOf(&clustersv1.Sentinel{}):
		var p clustersv1.Sentinel
		if r.unpack(t.GetTypedConfig(), &p, path) {
			c.Discovery.Type = DiscoverSentinel
			c.Discovery.Sentinel = r.sentinel(&p, path)
			if p.GetTls() && c.TLS == nil {
				r.fail(join(path, "tls"), "needs a transport_socket")
			}
		}
	default:
		r.fail(path, "%q is not a kind of cluster of this proxy", t.GetTypedConfig().GetTypeUrl())
	}
}

func (r *reader) redisCluster(p *redisclusterv3.RedisClusterConfig, path string) RedisClusterDiscovery {
	r.only(p, path, "cluster_refresh_rate", "cluster_refresh_timeout", "redirect_refresh_interval",
		"redirect_refresh_threshold", "failure_refresh_threshold")
	return RedisClusterDiscovery{
		RefreshRate:       r.positive(p.GetClusterRefreshRate(), join(path, "cluster_refresh_rate"), defaultClusterRefresh),
		RefreshTimeout:    r.positive(p.GetClusterRefreshTimeout(), join(path, "cluster_refresh_timeout"), defaultClusterTimeout),
		RedirectInterval:  r.duration(p.GetRedirectRefreshInterval(), join(path, "redirect_refresh_interval"), defaultRedirectEvery),
		RedirectThreshold: r.atLeast(p.GetRedirectRefreshThreshold(), join(path, "redirect_refresh_threshold"), defaultRedirects, 0),
		FailureThreshold:  p.GetFailureRefreshThreshold(),
	}
}

func (r *reader) sentinel(p *clustersv1.Sentinel, path string) SentinelDiscovery {
	d := SentinelDiscovery{
		Masters:         p.GetMasters(),
		RefreshRate:     r.positive(p.GetRefreshRate(), join(path, "refresh_rate"), defaultSentinelRefresh),
		SentinelsUseTLS: p.GetTls(),
	}
	if len(d.Masters) == 0 {
		r.fail(join(path, "masters"), "is empty")
	}
	seen := make(map[string]bool, len(d.Masters))
	for i, m := range d.Masters {
		if m == "" || seen[m] {
			r.fail(index(join(path, "masters"), i), "%q is empty or there twice", m)
		}
		seen[m] = true
	}
	if k := p.GetUsername(); k != nil {
		d.UsernameSecret = r.secretKey(k, join(path, "username"))
	}
	if k := p.GetPassword(); k != nil {
		d.PasswordSecret = r.secretKey(k, join(path, "password"))
	}
	return d
}

func (r *reader) redisUpstream(p *clusterv3.Cluster) RedisUpstream {
	u := RedisUpstream{ConnectionsPerEndpoint: 1}
	options := p.GetTypedExtensionProtocolOptions()
	for key := range options {
		if key != RedisProtocolOptionsKey && key != RedisUpstreamOptions && key != HTTPProtocolOptionsKey {
			r.fail("typed_extension_protocol_options["+strconv.Quote(key)+"]", "is not supported")
		}
	}
	if packed, ok := options[RedisProtocolOptionsKey]; ok {
		path := "typed_extension_protocol_options[" + strconv.Quote(RedisProtocolOptionsKey) + "]"
		var o redisv3.RedisProtocolOptions
		if r.unpack(packed, &o, path) {
			r.only(&o, path, "auth_username", "auth_password")
			u.UsernameSecret = r.liftGeneric(o.GetAuthUsername(), join(path, "auth_username"))
			u.PasswordSecret = r.liftGeneric(o.GetAuthPassword(), join(path, "auth_password"))
		}
	}
	if packed, ok := options[RedisUpstreamOptions]; ok {
		path := "typed_extension_protocol_options[" + strconv.Quote(RedisUpstreamOptions) + "]"
		var o upstreamsv1.RedisUpstream
		if r.unpack(packed, &o, path) {
			r.ownUpstream(&o, path, &u)
		}
	}
	return u
}

func (r *reader) ownUpstream(o *upstreamsv1.RedisUpstream, path string, u *RedisUpstream) {
	const most = 1024
	u.ConnectionsPerEndpoint = r.atLeast(o.GetConnectionsPerEndpoint(), join(path, "connections_per_endpoint"), 1, 1)
	if u.ConnectionsPerEndpoint > most {
		r.fail(join(path, "connections_per_endpoint"), "must be at most %d", most)
	}
	if o.GetDatabase() > maxDatabase {
		r.fail(join(path, "database"), "is not a database number")
	}
	u.Shards = r.shards(o.GetShards(), join(path, "shards"))
	u.Database, u.ProbeRole, u.PreConnect = o.GetDatabase(), o.GetProbeRole(), o.GetPreConnect()
	if (o.GetUsername() != nil || o.GetPassword() != nil) && (u.UsernameSecret.Set() || u.PasswordSecret.Set()) {
		r.fail(path, "has credentials, and so does %s", RedisProtocolOptionsKey)
		return
	}
	if k := o.GetUsername(); k != nil {
		u.UsernameSecret = r.secretKey(k, join(path, "username"))
	}
	if k := o.GetPassword(); k != nil {
		u.PasswordSecret = r.secretKey(k, join(path, "password"))
	}
}

func (r *reader) shards(list []*upstreamsv1.Shard, path string) []Shard {
	var out []Shard
	seen := make(map[string]bool, len(list))
	for i, p := range list {
		at := index(path, i)
		if p.GetName() == "" || seen[p.GetName()] {
			r.fail(join(at, "name"), "%q is empty or there twice", p.GetName())
		}
		seen[p.GetName()] = true
		out = append(out, Shard{Name: p.GetName(), Weight: r.atLeast(p.GetWeight(), join(at, "weight"), 1, 1)})
	}
	return out
}

func (r *reader) keepalive(o *clusterv3.UpstreamConnectionOptions) *TCPKeepalive {
	if o == nil {
		return nil
	}
	r.only(o, "upstream_connection_options", "tcp_keepalive")
	return keepalive(o.GetTcpKeepalive())
}

func keepalive(k *corev3.TcpKeepalive) *TCPKeepalive {
	if k == nil {
		return nil
	}
	return &TCPKeepalive{
		Probes:   k.GetKeepaliveProbes().GetValue(),
		Time:     time.Duration(k.GetKeepaliveTime().GetValue()) * time.Second,
		Interval: time.Duration(k.GetKeepaliveInterval().GetValue()) * time.Second,
	}
}

// limits reads the thresholds of the default priority; there is no other.
func (r *reader) limits(b *clusterv3.CircuitBreakers) ClusterLimits {
	var out ClusterLimits
	r.only(b, "circuit_breakers", "thresholds")
	for i, t := range b.GetThresholds() {
		at := index("circuit_breakers.thresholds", i)
		r.only(t, at, "priority", "max_connections", "max_pending_requests", "max_requests", "max_retries", "retry_budget", "track_remaining")
		if t.GetPriority() != corev3.RoutingPriority_DEFAULT {
			continue
		}
		out = ClusterLimits{
			MaxConnections: unbounded(t.GetMaxConnections().GetValue()),
			MaxPending:     unbounded(t.GetMaxPendingRequests().GetValue()),
			MaxRequests:    unbounded(t.GetMaxRequests().GetValue()),
			MaxRetries:     unbounded(t.GetMaxRetries().GetValue()),
		}
		if b := t.GetRetryBudget(); b != nil {
			r.only(b, join(at, "retry_budget"), "budget_percent", "min_retry_concurrency")
			out.RetryBudget, out.RetryMinimum = defaultRetryBudget, r.atLeast(b.GetMinRetryConcurrency(), join(at, "retry_budget.min_retry_concurrency"), defaultRetryMinimum, 0)
			if b.GetBudgetPercent() != nil {
				out.RetryBudget = r.percent(b.GetBudgetPercent(), join(at, "retry_budget.budget_percent"))
			}
		}
	}
	return out
}

// unbounded turns the number that others use for "no bound" into ours.
func unbounded(n uint32) uint32 {
	if n == math.MaxUint32 {
		return 0
	}
	return n
}
