// Package resource turns xDS protos into the plain, validated Go structs that
// the data plane is built from. It is the only reader of the protos: what it
// accepts is complete and consistent in itself, and what it cannot honour it
// refuses by resource name and field path, so that nothing is silently ignored.
//
// Whether one resource fits another (a listener's cluster exists) is checked
// where all of them are known, in pkg/xds/snapshot.
//
// The structs are read-only once parsed; they may be shared between loops.
package resource

// Type URLs of the resources that make up a snapshot.
const (
	ListenerType = "type.googleapis.com/envoy.config.listener.v3.Listener"
	ClusterType  = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
	EndpointType = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
	SecretType   = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
	RouteType    = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
	// ExtensionType is that of ECDS.
	ExtensionType = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig"
)

// Type URLs of the terminal network filters whose configuration is known.
const (
	RedisProxyType = "type.googleapis.com/envoy.extensions.filters.network.redis_proxy.v3.RedisProxy"
	TCPProxyType   = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
	PostgresType   = "type.googleapis.com/dragoman.filters.postgres.v1.PostgresProxy"
	MySQLType      = "type.googleapis.com/dragoman.filters.mysql.v1.MysqlProxy"
	LogsType       = "type.googleapis.com/dragoman.filters.logs.v1.Logs"
	HTTPType       = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
)

// Type URLs of the HTTP filters whose configuration is known.
const (
	RouterType = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
	// MetricsType is the filter of metrics adapters.
	MetricsType = "type.googleapis.com/dragoman.filters.http.metrics.v1.Metrics"
	// TransformType is the filter of API adapters, TransformRouteType what a route
	// says for it.
	TransformType      = "type.googleapis.com/dragoman.filters.http.transform.v1.Transform"
	TransformRouteType = "type.googleapis.com/dragoman.filters.http.transform.v1.Route"
)

// Names under which Dragoman's own options travel in Envoy's metadata.
const (
	// EndpointMetadata is the namespace of filter_metadata on an endpoint; its
	// keys are EndpointShardKey and EndpointRoleKey.
	EndpointMetadata = "mesh.dragoman.io"
	EndpointShardKey = "shard"
	EndpointRoleKey  = "role"
	// HashKeyMetadata and HashKeyKey are Envoy's own: the name of an endpoint
	// that is hashed instead of its address.
	HashKeyMetadata = "envoy.lb"
	HashKeyKey      = "hash_key"
	// ListenerMetadata is the key of dragoman.listener.v1.ListenerOptions in a
	// listener's typed_filter_metadata.
	ListenerMetadata = "mesh.dragoman.io/listener"
	// RedisMetadata is the key of dragoman.filters.redis.v1.RedisOptions in a
	// filter chain's typed_filter_metadata.
	RedisMetadata = "mesh.dragoman.io/redis"
	// RedisUpstreamOptions is the key of dragoman.upstreams.redis.v1.RedisUpstream
	// in a cluster's typed_extension_protocol_options.
	RedisUpstreamOptions = "mesh.dragoman.io/redis"
	// HTTPProtocolOptionsKey is the key of Envoy's HttpProtocolOptions there.
	HTTPProtocolOptionsKey = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
	// RedisProtocolOptionsKey is the key of Envoy's RedisProtocolOptions there.
	RedisProtocolOptionsKey = "envoy.filters.network.redis_proxy"
)
