package resource_test

import (
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

const (
	endpoints  = `"load_assignment": {"cluster_name": "c", "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {"socket_address": {"address": "10.0.0.1", "port_value": 1}}}}]}]}`
	slotsType  = `"@type": "type.googleapis.com/envoy.extensions.clusters.redis.v3.RedisClusterConfig"`
	sentinels  = `"@type": "type.googleapis.com/dragoman.clusters.v1.Sentinel"`
	redisCheck = `"custom_health_check": {"name": "r", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.health_checkers.redis.v3.Redis", "key": "down"}}`
	// databaseCheck is the type of the health check of databases.
	databaseCheck = `"@type": "type.googleapis.com/dragoman.health_checkers.database.v1.DatabaseCheck"`

	plainTLS = `"transport_socket": {"name": "tls", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"`
)

// least is what every cluster gets that says nothing.
func least(change func(*resource.Cluster)) *resource.Cluster {
	c := &resource.Cluster{
		Name:           "c",
		ConnectTimeout: 5 * time.Second,
		Discovery: resource.Discovery{DNS: resource.DNS{
			RefreshRate: 5 * time.Second, FailureRefreshRate: 5 * time.Second, FailureRefreshMax: 5 * time.Second,
		}},
		LB:        resource.LoadBalancing{Policy: resource.LBRoundRobin},
		Redis:     resource.RedisUpstream{ConnectionsPerEndpoint: 1},
		Endpoints: []resource.Endpoint{{Host: "10.0.0.1", Port: 1, Name: "10.0.0.1:1", Shard: "10.0.0.1:1", Weight: 1}},
	}
	change(c)
	return c
}

func TestClusters(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, text string
		change     func(*resource.Cluster)
	}{
		{"least", endpoints, func(*resource.Cluster) {}},
		{"random", endpoints + `, "lb_policy": "RANDOM"`, func(c *resource.Cluster) { c.LB.Policy = resource.LBRandom }},
		{
			"least request", endpoints + `, "lb_policy": "LEAST_REQUEST", "least_request_lb_config": {"choice_count": 4}`,
			func(c *resource.Cluster) {
				c.LB = resource.LoadBalancing{Policy: resource.LBLeastRequest, ChoiceCount: 4}
			},
		},
		{
			"ring", endpoints + `, "lb_policy": "RING_HASH", "ring_hash_lb_config": {"minimum_ring_size": 8, "hash_function": "MURMUR_HASH_2"}`,
			func(c *resource.Cluster) {
				c.LB = resource.LoadBalancing{
					Policy: resource.LBRingHash, Hash: resource.HashMurmur2, RingFunction: resource.RingMurmur2, MinRing: 8, MaxRing: 8 << 20,
				}
			},
		},
		{
			"ring as extension", endpoints + `, "load_balancing_policy": {"policies": [
			  {"typed_extension_config": {"name": "unknown", "typed_config": {` + redisType + `}}},
			  {"typed_extension_config": {"name": "r", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.load_balancing_policies.ring_hash.v3.RingHash", "maximum_ring_size": 2048}}}]}`,
			func(c *resource.Cluster) {
				c.LB = resource.LoadBalancing{
					Policy: resource.LBRingHash, Hash: resource.HashMurmur2, RingFunction: resource.RingXXHash, MinRing: 1024, MaxRing: 2048,
				}
			},
		},
		{"maglev", endpoints + `, "lb_policy": "MAGLEV"`, func(c *resource.Cluster) {
			c.LB = resource.LoadBalancing{Policy: resource.LBMaglev, Hash: resource.HashMurmur2, TableSize: 65537}
		}},
		{
			"ketama", endpoints + `, "load_balancing_policy": {"policies": [{"typed_extension_config": {"name": "k", "typed_config": {
			  "@type": "type.googleapis.com/dragoman.load_balancing.v1.Ketama", "auto_eject": {}}}}]}`,
			func(c *resource.Cluster) {
				c.LB = resource.LoadBalancing{
					Policy: resource.LBKetama, Hash: "fnv1a_64", AutoEject: &resource.AutoEject{Failures: 2, RetryAfter: 30 * time.Second},
				}
			},
		},
		{
			"EDS", `"type": "EDS", "eds_cluster_config": {"eds_config": {"ads": {}, "resource_api_version": "V3"}}`,
			func(c *resource.Cluster) {
				c.Discovery.Type, c.Discovery.EDSServiceName, c.Endpoints = resource.DiscoverEDS, "c", nil
			},
		},
		{
			"DNS", `"type": "STRICT_DNS", "dns_refresh_rate": "1s", "dns_lookup_family": "ALL", "dns_failure_refresh_rate": {"base_interval": "2s"},
			  "load_assignment": {"cluster_name": "c", "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {"socket_address": {"address": "redis", "port_value": 1}}}}]}]}`,
			func(c *resource.Cluster) {
				c.Discovery = resource.Discovery{Type: resource.DiscoverDNS, DNS: resource.DNS{
					RefreshRate: time.Second, FailureRefreshRate: 2 * time.Second, FailureRefreshMax: 20 * time.Second, Family: resource.DNSAll,
				}}
				c.Endpoints = []resource.Endpoint{{Host: "redis", Port: 1, Name: "redis:1", Shard: "redis:1", Weight: 1}}
			},
		},
		{
			"slots", endpoints + `, "lb_policy": "CLUSTER_PROVIDED", "cluster_type": {"name": "envoy.clusters.redis", "typed_config": {` + slotsType + `, "redirect_refresh_threshold": 0, "failure_refresh_threshold": 3}}`,
			func(c *resource.Cluster) {
				c.Discovery.Type = resource.DiscoverRedisCluster
				c.Discovery.RedisCluster = resource.RedisClusterDiscovery{
					RefreshRate: 5 * time.Second, RefreshTimeout: 3 * time.Second, RedirectInterval: 5 * time.Second, FailureThreshold: 3,
				}
				c.LB = resource.LoadBalancing{Policy: resource.LBSlots, Hash: resource.HashCRC16}
			},
		},
		{
			"sentinel", endpoints + `, "cluster_type": {"name": "s", "typed_config": {` + sentinels + `, "masters": ["b", "a"], "password": {"name": "s", "key": "p"}}}`,
			func(c *resource.Cluster) {
				c.Discovery.Type = resource.DiscoverSentinel
				c.Discovery.Sentinel = resource.SentinelDiscovery{
					Masters: []string{"b", "a"}, RefreshRate: 10 * time.Second, PasswordSecret: resource.SecretKey{Name: "s", Key: "p"},
				}
			},
		},
		{
			"health of a database", endpoints + `, "health_checks": [{"interval": "2s", "timeout": "1s", "unhealthy_threshold": 2, "healthy_threshold": 1,
			  "custom_health_check": {"name": "d", "typed_config": {` + databaseCheck + `, "protocol": "MYSQL", "tls_optional": true, "probe_role": true,
			    "login": {"username": {"name": "u"}, "password": {"name": "p", "key": "k"}, "database": "orders"}}}}]`,
			func(c *resource.Cluster) {
				c.HealthCheck = &resource.HealthCheck{
					Kind: resource.HealthCheckMySQL, Interval: 2 * time.Second, Timeout: time.Second, UnhealthyThreshold: 2, HealthyThreshold: 1,
					Database: resource.DatabaseCheck{
						Login: resource.DatabaseLogin{
							Username: resource.SecretKey{Name: "u"}, Password: resource.SecretKey{Name: "p", Key: "k"}, Database: "orders",
						},
						TLSOptional: true, ProbeRole: true,
					},
				}
			},
		},
		{
			"health", endpoints + `, "health_checks": [{"interval": "2s", "timeout": "1s", "unhealthy_threshold": 3, "healthy_threshold": 2, "interval_jitter_percent": 50, ` + redisCheck + `}]`,
			func(c *resource.Cluster) {
				c.HealthCheck = &resource.HealthCheck{
					Kind: resource.HealthCheckRedis, Key: "down", Interval: 2 * time.Second, Timeout: time.Second,
					Jitter: 0.5, UnhealthyThreshold: 3, HealthyThreshold: 2,
				}
			},
		},
		{"outlier", endpoints + `, "outlier_detection": {"base_ejection_time": "600s"}`, func(c *resource.Cluster) {
			c.Outlier = &resource.Outlier{
				ConsecutiveFailures: 5, Interval: 10 * time.Second, BaseEjection: 10 * time.Minute, MaxEjection: 10 * time.Minute, MaxEjectionPercent: 10,
			}
		}},
		{"outlier off", endpoints + `, "outlier_detection": {"enforcing_consecutive_5xx": 0}`, func(*resource.Cluster) {}},
		{
			"limits", endpoints + `, "circuit_breakers": {"thresholds": [{"priority": "HIGH", "max_requests": 9}, {"max_requests": 5, "max_connections": 4294967295}]},
			  "upstream_connection_options": {"tcp_keepalive": {"keepalive_time": 30}}`,
			func(c *resource.Cluster) {
				c.Limits.MaxRequests = 5
				c.TCPKeepalive = &resource.TCPKeepalive{Time: 30 * time.Second}
			},
		},
		{
			"TLS", endpoints + `, ` + plainTLS + `, "sni": "redis.example", "auto_sni_san_validation": true, "common_tls_context": {
			  "tls_certificate_sds_secret_configs": [{"name": "me"}], "validation_context": {"trusted_ca": {"filename": "/ca"}}}}}`,
			func(c *resource.Cluster) {
				const ca = "c#transport_socket.typed_config.common_tls_context.validation_context"
				c.TLS = &resource.UpstreamTLS{Certificate: "me", Validation: ca, ServerName: "redis.example", VerifyName: true}
				c.Secrets = []*resource.Secret{{Name: ca, Validation: &resource.ValidationSecret{CA: resource.DataSource{Filename: "/ca"}}}}
			},
		},
		{
			"auth", endpoints + `, "typed_extension_protocol_options": {
			  "envoy.filters.network.redis_proxy": {"@type": "type.googleapis.com/envoy.extensions.filters.network.redis_proxy.v3.RedisProtocolOptions", "auth_username": {"inline_string": ""}, "auth_password": {"filename": "/p"}},
			  "mesh.dragoman.io/redis": {"@type": "type.googleapis.com/dragoman.upstreams.redis.v1.RedisUpstream", "database": 2, "connections_per_endpoint": 3, "probe_role": true, "pre_connect": true, "shards": [{"name": "s2"}, {"name": "s1", "weight": 3}]}}`,
			func(c *resource.Cluster) {
				password := `c#typed_extension_protocol_options["envoy.filters.network.redis_proxy"].auth_password`
				c.Redis = resource.RedisUpstream{
					PasswordSecret: resource.SecretKey{Name: password}, Database: 2, ConnectionsPerEndpoint: 3, ProbeRole: true, PreConnect: true,
					Shards: []resource.Shard{{Name: "s2", Weight: 1}, {Name: "s1", Weight: 3}},
				}
				c.Secrets = []*resource.Secret{{Name: password, Generic: map[string]resource.DataSource{"": {Filename: "/p"}}}}
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := resource.ParseCluster(fromJSON(t, &clusterv3.Cluster{}, `{"name": "c", `+tt.text+`}`))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(least(tt.change), got, cmpopts.IgnoreFields(resource.Cluster{}, "Raw")); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestClusterErrors(t *testing.T) {
	t.Parallel()
	const options = `typed_extension_protocol_options["mesh.dragoman.io/redis"]`
	tests := []struct {
		name, text string
		want       []string
	}{
		{"fields", endpoints + `, "type": "LOGICAL_DNS", "lb_policy": 77, "connect_timeout": "0s", "lrs_server": {}, "dns_lookup_family": 99,
		  "common_lb_config": {"healthy_panic_threshold": {"value": 50}, "zone_aware_lb_config": {}}, "eds_cluster_config": {}`, []string{
			"lrs_server: is not supported", "common_lb_config.zone_aware_lb_config: is not supported",
			"common_lb_config.healthy_panic_threshold: must be 0 or absent",
			"connect_timeout: must be longer than 0", "dns_lookup_family: has the unknown value 99",
			"type: LOGICAL_DNS is not supported", "eds_cluster_config: goes with type EDS only", "lb_policy: 77 is not supported",
		}},
		{"kinds of endpoint", `"load_assignment": {"endpoints": [{"lb_endpoints": [{"endpoint": {"address": {"socket_address": {"address": "redis", "port_value": 1}}}}]}]}`, []string{
			`load_assignment: "redis" is not an IP address: use type STRICT_DNS`,
		}},
		{"socket by DNS", `"type": "STRICT_DNS", "load_assignment": {"endpoints": [{"lb_endpoints": [{"endpoint": {"address": {"pipe": {"path": "/x"}}}}]}]}`, []string{
			"load_assignment: /x: a unix socket does not go with STRICT_DNS",
		}},
		{"no endpoints", `"type": "STRICT_DNS"`, []string{"load_assignment: has no endpoints"}},
		{"EDS", `"type": "EDS", "eds_cluster_config": {"eds_config": {"path": "/x"}}, ` + endpoints, []string{
			"load_assignment: does not go with type EDS", "eds_cluster_config.eds_config.path: is not supported",
			"eds_cluster_config.eds_config: must be ads or self",
		}},
		{"unknown type", endpoints + `, "cluster_type": {"name": "x", "typed_config": {` + tcpType + `}}`, []string{
			`cluster_type.typed_config: "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy" is not a kind of cluster of this proxy`,
		}},
		{"sentinel", endpoints + `, "cluster_type": {"name": "s", "typed_config": {` + sentinels + `, "masters": ["a", "a"], "tls": true, "username": {}}}`, []string{
			`cluster_type.typed_config.masters[1]: "a" is empty or there twice`, "cluster_type.typed_config.username.name: is missing",
			"cluster_type.typed_config.tls: needs a transport_socket",
		}},
		{"no masters", endpoints + `, "cluster_type": {"name": "s", "typed_config": {` + sentinels + `}}`, []string{"cluster_type.typed_config.masters: is empty"}},
		{"policies", endpoints + `, "load_balancing_policy": {"policies": [{"typed_extension_config": {"name": "u", "typed_config": {` + tcpType + `}}}]}`, []string{
			"load_balancing_policy: names no policy of this proxy",
		}},
		{"modula", endpoints + `, "load_balancing_policy": {"policies": [{"typed_extension_config": {"name": "m", "typed_config": {
		  "@type": "type.googleapis.com/dragoman.load_balancing.v1.Modula", "hash": 99, "auto_eject": {"retry_after": "0s"}}}}]}`, []string{
			"load_balancing_policy.policies[0].typed_extension_config.typed_config.hash: has the unknown value 99",
			"load_balancing_policy.policies[0].typed_extension_config.typed_config.auto_eject.retry_after: must be longer than 0",
		}},
		{"ring", endpoints + `, "lb_policy": "RING_HASH", "ring_hash_lb_config": {"minimum_ring_size": 9000000}`, []string{
			"ring_hash_lb_config: must have 1 <= minimum_ring_size <= maximum_ring_size <= 8388608",
		}},
		{"maglev", endpoints + `, "lb_policy": "MAGLEV", "maglev_lb_config": {"table_size": 100}`, []string{
			"maglev_lb_config.table_size: must be a prime, at most 5000011",
		}},
		{"health of a database", endpoints + `, "health_checks": [{"timeout": "1s", "interval": "1s", "unhealthy_threshold": 1, "healthy_threshold": 1,
		  "custom_health_check": {"name": "d", "typed_config": {` + databaseCheck + `, "protocol": 7, "login": {"password": {}}}}}]`, []string{
			"health_checks[0].custom_health_check.typed_config.protocol: has the unknown value 7",
			"health_checks[0].custom_health_check.typed_config.login.username: is missing",
			"health_checks[0].custom_health_check.typed_config.login.password.name: is missing",
		}},
		{"health by HTTP", endpoints + `, "health_checks": [{"timeout": "1s", "interval": "1s", "http_health_check": {
			"path": "a", "method": "TRACE", "codec_client_type": "HTTP3", "expected_statuses": [{"start": "200", "end": "200"}], "send": {"text": "00"}}}]`, []string{
			"health_checks[0].http_health_check.send: is not supported",
			`health_checks[0].http_health_check.path: "a" is not a path`,
			"health_checks[0].http_health_check.codec_client_type: HTTP3 is not supported",
			"health_checks[0].http_health_check.method: TRACE is not supported",
			"health_checks[0].http_health_check.expected_statuses[0]: must be from 100 to 599, and its end after its start",
		}},
		{"health", endpoints + `, "health_checks": [{"timeout": "0s", "unhealthy_threshold": 0, "event_log_path": "x"}]`, []string{
			"health_checks[0].event_log_path: is not supported", "health_checks[0].interval: is missing",
			"health_checks[0].timeout: must be longer than 0", "health_checks[0].unhealthy_threshold: must be at least 1",
			"health_checks[0]: must be a tcp_health_check, an http_health_check, a grpc_health_check or a custom_health_check for Redis or a database",
		}},
		{"outlier", endpoints + `, "outlier_detection": {"consecutive_5xx": 0, "max_ejection_time": "1s", "enforcing_failure_percentage": 100}`, []string{
			"outlier_detection.enforcing_failure_percentage: is not supported", "outlier_detection.consecutive_5xx: must be at least 1",
			"outlier_detection.max_ejection_time: must not be shorter than base_ejection_time",
		}},
		{"half an outlier", endpoints + `, "outlier_detection": {"enforcing_consecutive_5xx": 50}`, []string{"outlier_detection.enforcing_consecutive_5xx: must be 0 or 100"}},
		{"TLS", endpoints + `, ` + plainTLS + `, "allow_renegotiation": true, "auto_sni_san_validation": true, "common_tls_context": {
		  "tls_certificate_sds_secret_configs": [{"name": "a"}, {"name": "b", "sds_config": {"path": "/x"}}]}}}`, []string{
			"transport_socket.typed_config.allow_renegotiation: is not supported",
			"transport_socket.typed_config.common_tls_context.tls_certificate_sds_secret_configs[1].sds_config.path: is not supported",
			"transport_socket.typed_config.common_tls_context.tls_certificate_sds_secret_configs[1].sds_config: must be ads or self",
			"transport_socket.typed_config.common_tls_context: has several certificates: a client shows one",
			"transport_socket.typed_config.auto_sni_san_validation: needs a validation context, and sni or auto_host_sni",
		}},
		{"options", endpoints + `, "typed_extension_protocol_options": {
		  "envoy.filters.network.redis_proxy": {"@type": "type.googleapis.com/envoy.extensions.filters.network.redis_proxy.v3.RedisProtocolOptions", "auth_password": {"filename": "/p"}, "aws_iam": {}},
		  "http": {` + tcpType + `},
		  "mesh.dragoman.io/redis": {"@type": "type.googleapis.com/dragoman.upstreams.redis.v1.RedisUpstream", "database": 4294967295, "connections_per_endpoint": 5000, "password": {"name": "x"},
		    "shards": [{}, {"name": "s", "weight": 0}, {"name": "s"}]}}`, []string{
			`typed_extension_protocol_options["http"]: is not supported`,
			`typed_extension_protocol_options["envoy.filters.network.redis_proxy"].aws_iam: is not supported`,
			options + `.shards[0].name: "" is empty or there twice`, options + ".shards[1].weight: must be at least 1",
			options + `.shards[2].name: "s" is empty or there twice`,
			options + ".connections_per_endpoint: must be at most 1024", options + ".database: is not a database number",
			options + ": has credentials, and so does envoy.filters.network.redis_proxy",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := resource.ParseCluster(fromJSON(t, &clusterv3.Cluster{}, `{"name": "c", `+tt.text+`}`))
			checkPaths(t, err, tt.want...)
		})
	}
}

func TestAssignment(t *testing.T) {
	t.Parallel()
	p := fromJSON(t, &endpointv3.ClusterLoadAssignment{}, `{"cluster_name": "c", "endpoints": [
	  {"locality": {"region": "eu", "zone": "a"}, "priority": 1, "lb_endpoints": [
	    {"endpoint": {"address": {"socket_address": {"address": "::1", "port_value": 1}}, "hostname": "one"}, "health_status": "DRAINING", "load_balancing_weight": 3,
	     "metadata": {"filter_metadata": {"envoy.lb": {"hash_key": "key"}, "mesh.dragoman.io": {"shard": "s", "role": "primary"}}}},
	    {"endpoint": {"address": {"pipe": {"path": "/x"}}}, "health_status": "DEGRADED",
	     "metadata": {"filter_metadata": {"mesh.dragoman.io": {"shard": "s", "role": "replica"}}}},
	    {"endpoint": {"address": {"socket_address": {"address": "h", "port_value": 2}}}, "health_status": "TIMEOUT",
	     "metadata": {"filter_metadata": {"envoy.lb": {"hash_key": "other"}}}}]}]}`)
	got, err := resource.ParseAssignment(p)
	if err != nil {
		t.Fatal(err)
	}
	want := []resource.Endpoint{
		{
			Host: "::1", Port: 1, Hostname: "one", Name: "key", Shard: "s", Role: resource.RolePrimary,
			Weight: 3, Region: "eu", Zone: "a", Priority: 1, Health: resource.HealthDraining,
		},
		{
			Path: "/x", Name: "s", Shard: "s", Role: resource.RoleReplica,
			Weight: 1, Region: "eu", Zone: "a", Priority: 1, Health: resource.HealthHealthy,
		},
		{Host: "h", Port: 2, Name: "other", Shard: "other", Weight: 1, Region: "eu", Zone: "a", Priority: 1, Health: resource.HealthUnhealthy},
	}
	if diff := cmp.Diff(want, got.Endpoints); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := want[0].Address() + " " + want[1].Address(); got != "[::1]:1 /x" {
		t.Error(got)
	}
	p = fromJSON(t, &endpointv3.ClusterLoadAssignment{}, `{"cluster_name": "c", "policy": {}, "endpoints": [{"lb_endpoints": [
	  {"endpoint_name": "x"},
	  {"load_balancing_weight": 0, "endpoint": {"address": {"socket_address": {"port_value": 70000}}, "health_check_config": {"port_value": 1}}},
	  {"endpoint": {"address": {"socket_address": {"address": "a", "port_value": 1}}}, "metadata": {"filter_metadata": {"mesh.dragoman.io": {"role": "boss"}}}},
	  {"endpoint": {"address": {"socket_address": {"address": "a", "port_value": 1}}}}]}]}`)
	_, err = resource.ParseAssignment(p)
	checkPaths(
		t, err, "policy: is not supported",
		"endpoints[0].lb_endpoints[0].endpoint_name: is not supported",
		"endpoints[0].lb_endpoints[0].endpoint.address: must be a socket_address or a pipe",
		"endpoints[0].lb_endpoints[1].endpoint.health_check_config.port_value: is not supported",
		"endpoints[0].lb_endpoints[1].load_balancing_weight: must be at least 1",
		"endpoints[0].lb_endpoints[1].endpoint.address.socket_address.address: is missing",
		"endpoints[0].lb_endpoints[1].endpoint.address.socket_address.port_value: must be from 1 to 65535",
		`endpoints[0].lb_endpoints[2].metadata.filter_metadata["mesh.dragoman.io"].role: must be primary or replica, is "boss"`,
		"endpoints[0].lb_endpoints[3]: a:1 is there twice",
	)
}
