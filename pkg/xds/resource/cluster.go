package resource

import (
	"slices"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
)

// Cluster is a set of endpoints that together are one upstream.
type Cluster struct {
	Name      string
	Discovery Discovery
	// Endpoints are those that the resource carries itself. With DiscoverEDS
	// they come from the EDS resource instead; with DiscoverRedisCluster and
	// DiscoverSentinel these are the seeds that are asked for the real ones.
	Endpoints []Endpoint

	LB             LoadBalancing
	ConnectTimeout time.Duration // never 0
	HealthCheck    *HealthCheck  // nil: no active checks
	Outlier        *Outlier      // nil: no passive ejection
	Limits         ClusterLimits
	TLS            *UpstreamTLS // nil: plain text
	Redis          RedisUpstream
	HTTP           HTTPUpstream
	TCPKeepalive   *TCPKeepalive // nil: the proxy's default
	// Secrets are those that the resource carries inline instead of naming
	// them; their names are unique and begin with the cluster's name.
	Secrets []*Secret
	Raw     *clusterv3.Cluster
}

// SecretNames lists every secret the cluster needs, sorted, once each.
func (c *Cluster) SecretNames() []string {
	names := []string{
		c.Redis.UsernameSecret.Name, c.Redis.PasswordSecret.Name,
		c.Discovery.Sentinel.UsernameSecret.Name, c.Discovery.Sentinel.PasswordSecret.Name,
	}
	if c.TLS != nil {
		names = append(names, c.TLS.Certificate, c.TLS.Validation)
	}
	for _, k := range c.LoginKeys() {
		names = append(names, k.Name)
	}
	return sortedNames(names)
}

// LateSecrets lists those of SecretNames that the cluster can be without for a
// while: until they are there the health check of a database fails, and Redis' clients
// get errors. Without them it is not found out which servers a Redis Cluster or Sentinels
// have.
func (c *Cluster) LateSecrets() []string {
	var names, others []string
	for _, k := range c.LoginKeys() {
		names = append(names, k.Name)
	}
	user, password := c.Redis.UsernameSecret.Name, c.Redis.PasswordSecret.Name
	if c.Discovery.Type != DiscoverRedisCluster && c.Discovery.Type != DiscoverSentinel {
		names = append(names, password)
	}
	if user != password {
		others = append(others, user) // with the password alone it would be somebody else's login
	}
	if c.TLS != nil {
		others = append(others, c.TLS.Certificate, c.TLS.Validation)
	}
	return sortedNames(lessNames(names, others))
}

// LoginKeys lists the values of secrets that the health check of a database logs
// in with.
func (c *Cluster) LoginKeys() []SecretKey {
	h := c.HealthCheck
	if h == nil || !h.Kind.SQL() {
		return nil
	}
	keys := []SecretKey{h.Database.Login.Username}
	if h.Database.Login.Password.Set() {
		keys = append(keys, h.Database.Login.Password)
	}
	return keys
}

// sortedNames sorts, and drops empty and doubled names.
func sortedNames(names []string) []string {
	names = slices.DeleteFunc(names, func(s string) bool { return s == "" })
	slices.Sort(names)
	return slices.Compact(names)
}

// lessNames gives the names that are not among others.
func lessNames(names, others []string) []string {
	return slices.DeleteFunc(names, func(s string) bool { return slices.Contains(others, s) })
}

// DiscoveryType says where a cluster's endpoints come from.
type DiscoveryType uint8

// The discovery types.
const (
	DiscoverStatic       DiscoveryType = iota // the endpoints are IP addresses or unix sockets
	DiscoverDNS                               // each host is resolved, every answer is an endpoint; resolved again for ever
	DiscoverEDS                               // a ClusterLoadAssignment of its own
	DiscoverRedisCluster                      // CLUSTER SLOTS, asked of the endpoints
	DiscoverSentinel                          // Sentinels, which the endpoints are
)

// String gives Envoy's name, or ours where it has none.
func (t DiscoveryType) String() string {
	names := [...]string{"STATIC", "STRICT_DNS", "EDS", "REDIS_CLUSTER", "SENTINEL"}
	if int(t) < len(names) {
		return names[t]
	}
	return "unknown"
}

// Discovery is how a cluster learns of its endpoints.
type Discovery struct {
	Type           DiscoveryType
	EDSServiceName string // DiscoverEDS: name of the ClusterLoadAssignment, never ""
	DNS            DNS    // DiscoverDNS, and for seeds that are host names
	RedisCluster   RedisClusterDiscovery
	Sentinel       SentinelDiscovery
}

// DNSFamily says which addresses of a host are used.
type DNSFamily uint8

// The address families.
const (
	DNSAuto        DNSFamily = iota // IPv6 if there is any, else IPv4
	DNSV4Only                       // IPv4 alone
	DNSV6Only                       // IPv6 alone
	DNSV4Preferred                  // IPv4 if there is any, else IPv6
	DNSAll                          // both
)

// DNS is how hosts are resolved.
type DNS struct {
	RefreshRate        time.Duration // never 0
	FailureRefreshRate time.Duration // first pause after a failure, doubled up to FailureRefreshMax; never 0
	FailureRefreshMax  time.Duration
	Family             DNSFamily
}

// RedisClusterDiscovery is how the topology of a Redis Cluster is kept fresh.
type RedisClusterDiscovery struct {
	RefreshRate       time.Duration // between topology queries without cause; never 0
	RefreshTimeout    time.Duration // for one query; never 0
	RedirectInterval  time.Duration // at least so long between queries caused by redirections
	RedirectThreshold uint32        // redirections within RedirectInterval that cause a query
	FailureThreshold  uint32        // failed requests that cause a query; 0: never
}

// SentinelDiscovery is how primaries and replicas are learnt from Sentinels.
type SentinelDiscovery struct {
	Masters         []string // each is one shard, in this order; at least one
	RefreshRate     time.Duration
	UsernameSecret  SecretKey // as in RedisUpstream, but for the Sentinels themselves
	PasswordSecret  SecretKey
	SentinelsUseTLS bool // with the cluster's TLS settings
}

// LBPolicy names a way to choose an endpoint.
type LBPolicy string

// The load-balancing policies. The first six choose a shard by a key.
const (
	LBKetama       LBPolicy = "ketama"    // as twemproxy
	LBModula       LBPolicy = "modula"    // as twemproxy
	LBTwemRandom   LBPolicy = "random"    // as twemproxy: any shard for any key
	LBRingHash     LBPolicy = "ring_hash" // as Envoy
	LBMaglev       LBPolicy = "maglev"    // as Envoy
	LBSlots        LBPolicy = "slots"     // a Redis Cluster's own
	LBRoundRobin   LBPolicy = "round_robin"
	LBLeastRequest LBPolicy = "least_request"
	LBRandom       LBPolicy = "any_random" // Envoy's RANDOM
)

// LoadBalancing is how an endpoint is chosen.
type LoadBalancing struct {
	Policy LBPolicy
	// Hash names the function that keys are hashed with: a name of twemproxy's
	// (fnv1a_64, ...), or HashMurmur2 for Envoy's policies, or crc16 with slots.
	// "" with the policies that hash nothing.
	Hash string
	// RingFunction hashes the points of a ring_hash ring: RingXXHash or RingMurmur2.
	RingFunction string
	MinRing      uint64 // ring_hash: points at least
	MaxRing      uint64 // ring_hash: points at most
	TableSize    uint64 // maglev: a prime
	ChoiceCount  uint32 // least_request: endpoints drawn
	// AutoEject takes a failing shard out of the distribution for a time, as
	// twemproxy's auto_eject_hosts; nil: its keys get errors instead.
	AutoEject *AutoEject
}

// Names of hash functions beside twemproxy's.
const (
	HashMurmur2 = "murmur2_64a" // key hash of Envoy's Redis proxy, seed 0xc70f6907
	HashCRC16   = "crc16"
	RingXXHash  = "xx_hash"
	RingMurmur2 = "murmur_hash_2"
)

// AutoEject is twemproxy's auto_eject_hosts.
type AutoEject struct {
	Failures   uint32        // failures in a row that eject; never 0
	RetryAfter time.Duration // then the shard is taken in again; never 0
}

// HealthCheckKind says how an endpoint is asked.
type HealthCheckKind uint8

// The kinds of health check.
const (
	HealthCheckTCP      HealthCheckKind = iota // a connection can be made
	HealthCheckRedis                           // PING answers PONG; with a Key, EXISTS answers 0
	HealthCheckPostgres                        // a login, and a question for the role
	HealthCheckMySQL                           // the same, at MySQL or MariaDB
	HealthCheckHTTP                            // a request has a status that is expected; or gRPC's health protocol
)

// SQL reports whether the check logs in at a database.
func (k HealthCheckKind) SQL() bool { return k == HealthCheckPostgres || k == HealthCheckMySQL }

// HealthCheck asks every endpoint periodically whether it is well.
type HealthCheck struct {
	Kind               HealthCheckKind
	Key                string        // HealthCheckRedis: EXISTS of this key must say 0, instead of PING
	Database           DatabaseCheck // of a database
	HTTP               HTTPCheck     // HealthCheckHTTP
	Interval           time.Duration
	Timeout            time.Duration
	Jitter             float64 // fraction of Interval, 0 to 1
	UnhealthyThreshold uint32  // never 0
	HealthyThreshold   uint32  // never 0
}

// HTTPCheck is how an endpoint is asked by HTTP.
type HTTPCheck struct {
	Host     string        // "": that of the endpoint, as it is configured
	Path     string        // with its query
	Method   string        // "": GET
	Statuses []StatusRange // none: 200
	HTTP2    bool
	GRPC     bool   // by gRPC's health protocol instead; Path, Method and Statuses mean nothing
	Service  string // that gRPC is asked for; "": the server as a whole
}

// StatusRange is statuses from one to before another.
type StatusRange struct{ From, To int }

// DatabaseCheck is how a database is asked.
type DatabaseCheck struct {
	Login DatabaseLogin // without a Database: the one called postgres, or none with MySQL
	// TLSOptional goes on in plain text with a server that does not offer TLS, or lets
	// nobody in over it.
	TLSOptional bool
	// ProbeRole has the answers decide who is the primary of a shard, and not
	// Endpoint.Role.
	ProbeRole bool
	// RequireAuth is as in PostgresFilter.
	RequireAuth LoginMethods
}

// Outlier ejects endpoints by the failures of real requests.
type Outlier struct {
	ConsecutiveFailures uint32        // failures in a row that eject; never 0
	Interval            time.Duration // between sweeps that take endpoints in again
	BaseEjection        time.Duration // times the number of ejections so far
	MaxEjection         time.Duration
	MaxEjectionPercent  uint32 // of the cluster's endpoints, 0 to 100; one may always be ejected
}

// ClusterLimits are Envoy's circuit breakers. They count per endpoint of the
// cluster and process. 0 means no bound.
type ClusterLimits struct {
	MaxConnections uint32 // upstream connections
	MaxPending     uint32 // requests that wait for a connection
	MaxRequests    uint32 // requests in flight
	// MaxRetries bounds the retries in flight where there is no budget.
	MaxRetries uint32
	// RetryBudget is the share of requests in flight that may be retries, 0 to
	// 1, and RetryMinimum how many always may. 0: MaxRetries is meant.
	RetryBudget  float64
	RetryMinimum uint32
}

// HTTPProtocol says what an upstream speaks.
type HTTPProtocol uint8

// The protocols.
const (
	UpstreamHTTP1 HTTPProtocol = iota
	UpstreamHTTP2
	UpstreamALPN     // what TLS agrees on
	UpstreamLikeDown // what the client speaks
)

// HTTPUpstream is how HTTP requests are sent to endpoints. 0 means no bound,
// where nothing else is said.
type HTTPUpstream struct {
	Protocol      HTTPProtocol
	Idle          time.Duration // of a pooled connection; 0: an hour, negative: no bound
	MaxConnection time.Duration // age of a connection that gets another request
	MaxRequests   uint32        // on one connection
	MaxStreams    uint32        // at once on one HTTP/2 connection
	HeaderBytes   int           // of a response; 0: 60 KiB
	PingInterval  time.Duration // HTTP/2
	PingTimeout   time.Duration
	// Of HTTP/2, in bytes; 0: as net/http does.
	TableSize, StreamWindow, ConnectionWindow uint32
}

// UpstreamTLS is how endpoints are spoken to.
type UpstreamTLS struct {
	// Certificate names a TLS certificate secret; "": the client shows none.
	Certificate string
	// Validation names a validation context secret; "": the endpoint's
	// certificate is not verified.
	Validation string
	// ServerName is sent as SNI. "": the endpoint's host name if AutoServerName,
	// else none.
	ServerName     string
	AutoServerName bool
	// VerifyName demands that the certificate be for the name that was sent
	// (or the endpoint's address where none was).
	VerifyName bool
	// Names are those of which the certificate must carry one, beside VerifyName;
	// empty: any name.
	Names      []string
	MinVersion uint16 // as crypto/tls; 0: its default
	MaxVersion uint16
	ALPN       []string
	// StartTLS leaves it to the filter when TLS begins.
	StartTLS bool
}

// RedisUpstream is how a connection to a Redis endpoint is begun and shared.
type RedisUpstream struct {
	// UsernameSecret unset, or a secret without that key: AUTH with a password
	// alone.
	UsernameSecret SecretKey
	PasswordSecret SecretKey // unset: no AUTH
	// Database is used for clients that have not chosen one with SELECT; it
	// comes before RedisFilter.Database.
	Database uint32
	// ConnectionsPerEndpoint is the number of shared, pipelined connections
	// per endpoint and loop; never 0.
	ConnectionsPerEndpoint uint32
	// ProbeRole asks every endpoint for its ROLE, which overrides Endpoint.Role.
	ProbeRole bool
	// PreConnect opens the connections before the first request.
	PreConnect bool
	// Shards are there whether they have endpoints or not, in this order, before
	// those that only endpoints name. Each name is there once.
	Shards []Shard
}

// Shard is the place of a primary and its replicas.
type Shard struct {
	Name   string // Endpoint.Name and Endpoint.Shard of its endpoints; never ""
	Weight uint32 // never 0
}

// TCPKeepalive are the probes of the operating system; 0 leaves its default.
type TCPKeepalive struct {
	Probes   uint32
	Time     time.Duration
	Interval time.Duration
}
