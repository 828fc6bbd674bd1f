package resource_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/echo/v3" // a filter that is known to JSON, but not here
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// fromJSON reads a proto; in the templates below, $NAME stands for a part.
func fromJSON[M proto.Message](t *testing.T, m M, template string, parts ...string) M {
	t.Helper()
	text := strings.NewReplacer(parts...).Replace(template)
	if err := protojson.Unmarshal([]byte(text), m); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return m
}

// checkPaths compares the field paths, or the whole texts, of all errors.
func checkPaths(t *testing.T, err error, want ...string) {
	t.Helper()
	var errs resource.Errors
	if err != nil && !errors.As(err, &errs) {
		t.Fatalf("not an Errors: %v", err)
	}
	var got []string
	for _, e := range errs {
		got = append(got, e.Path+": "+e.Reason)
	}
	if diff := cmp.Diff(want, got, cmpopts.SortSlices(strings.Compare)); diff != "" {
		t.Errorf("errors (-want +got):\n%s", diff)
	}
}

const (
	redisType  = `"@type": "type.googleapis.com/envoy.extensions.filters.network.redis_proxy.v3.RedisProxy"`
	tcpType    = `"@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"`
	optionType = `"@type": "type.googleapis.com/dragoman.filters.redis.v1.RedisOptions"`
	redisLeast = `"settings": {}, "prefix_routes": {"catch_all_route": {"cluster": "c"}}`
	anywhere   = `{"socket_address": {"address": "127.0.0.1", "port_value": 6380}}`
)

// foreign is a listener as another control plane may send it, with all that is
// understood of Envoy's own fields.
const foreign = `{
  "name": "l", "address": {"pipe": {"path": "/run/l.sock", "mode": 432}}, "stat_prefix": "x", "tcp_backlog_size": 99, "tcp_keepalive": {"keepalive_time": 20, "keepalive_interval": 5},
  "default_filter_chain": {
    "transport_socket_connect_timeout": "3s",
    "transport_socket": {"name": "tls", "typed_config": {
      "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
      "require_client_certificate": true,
      "common_tls_context": {
        "alpn_protocols": ["redis"], "tls_params": {"tls_minimum_protocol_version": "TLSv1_3"},
        "tls_certificates": [{"certificate_chain": {"inline_string": "CERT"}, "private_key": {"filename": "/key"}}],
        "combined_validation_context": {
          "default_validation_context": {"match_typed_subject_alt_names": [{"san_type": "DNS", "matcher": {"exact": "app"}}]},
          "validation_context_sds_secret_config": {"name": "ca", "sds_config": {"ads": {}}}}}}},
    "filters": [
      {"name": "limit", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit", "stat_prefix": "l", "max_connections": 7}},
      {"name": "redis", "typed_config": {` + redisType + `, "stat_prefix": "x",
        "downstream_auth_username": {"inline_string": "bob"}, "downstream_auth_passwords": [{"inline_string": "pw"}, {"environment_variable": "PW"}],
        "custom_commands": ["JSON.SET", "json.get", "json.get"],
        "settings": {"op_timeout": "1s", "enable_hashtagging": true, "enable_redirection": true, "enable_command_stats": true, "read_policy": "LOCAL_ZONE_AFFINITY"},
        "prefix_routes": {"case_insensitive": true, "routes": [
          {"prefix": "a", "cluster": "short"},
          {"prefix": "ab", "cluster": "long", "remove_prefix": true, "read_command_policy": {"cluster": "ro"},
           "request_mirror_policy": [{"cluster": "m", "runtime_fraction": {"default_value": {"numerator": 5}}, "exclude_read_commands": true}, {"cluster": "n"}]}]}}}]}}`

func TestForeignListener(t *testing.T) {
	t.Parallel()
	got, err := resource.ParseListener(fromJSON(t, &listenerv3.Listener{}, foreign))
	if err != nil {
		t.Fatal(err)
	}
	const chain = "l#default_filter_chain."
	passwords := []resource.SecretKey{
		{Name: chain + "filters[1].typed_config.downstream_auth_passwords[0]"},
		{Name: chain + "filters[1].typed_config.downstream_auth_passwords[1]"},
	}
	certificate := chain + "transport_socket.typed_config.common_tls_context.tls_certificates[0]"
	want := &resource.Listener{
		Name:                "l",
		Address:             resource.ListenAddress{Network: "unix", Addr: "/run/l.sock", Mode: 0o660},
		Backlog:             99,
		TCPKeepalive:        &resource.TCPKeepalive{Time: 20 * time.Second, Interval: 5 * time.Second},
		MaxConnections:      7,
		TLSHandshakeTimeout: 3 * time.Second,
		TLS: &resource.DownstreamTLS{
			Certificates: []string{certificate}, ClientCA: "ca", ClientNames: []string{"app"},
			RequireClientCert: true, MinVersion: 0x0304, ALPN: []string{"redis"},
		},
		Drain: resource.DrainPolicy{Deadline: 30 * time.Second},
		Filter: resource.Filter{Name: "redis", TypeURL: resource.RedisProxyType, Config: &resource.RedisFilter{
			StatPrefix: "x",
			Routes: []resource.RedisRoute{
				{Prefix: "ab", RemovePrefix: true, Cluster: "long", ReadCluster: "ro", Mirrors: []resource.Mirror{
					{Cluster: "m", Fraction: 50_000, ExcludeReads: true}, {Cluster: "n", Fraction: resource.MirrorScale},
				}},
				{Prefix: "a", Cluster: "short"},
			},
			CaseInsensitive: true,
			ReadPolicy:      resource.ReadZoneAffinity,
			HashTag:         resource.HashTag{Open: '{', Close: '}'},
			OpTimeout:       time.Second,
			Redirection:     true,
			CommandStats:    true,
			CustomCommands:  []string{"json.get", "json.set"},
			Users:           []resource.User{{Name: "bob", Passwords: passwords}},
			Limits:          resource.RedisLimits{MaxRequestBytes: 512<<20 + 64<<10, MaxPipeline: 1024, SlowClientTimeout: time.Minute},
			SlowLog:         resource.SlowLog{Threshold: -1},
		}},
		Secrets: []*resource.Secret{
			{Name: certificate, Certificate: &resource.CertificateSecret{
				Chain: resource.DataSource{Inline: []byte("CERT")}, Key: resource.DataSource{Filename: "/key"},
			}},
			{Name: passwords[0].Name, Generic: map[string]resource.DataSource{"": {Inline: []byte("pw")}}},
			{Name: passwords[1].Name, Generic: map[string]resource.DataSource{"": {Env: "PW"}}},
		},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(resource.Listener{}, "Raw")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"long", "m", "n", "ro", "short"}, got.Filter.Config.ClusterNames()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"ca", passwords[0].Name, passwords[1].Name, certificate}, got.SecretNames(), cmpopts.SortSlices(strings.Compare)); diff != "" {
		t.Error(diff)
	}
	if config := got.Filter.Config.(*resource.RedisFilter); config.SlowLog.Enabled() || config.HotKeys.Enabled() || !config.HashTag.Set() {
		t.Error("what the options would switch on is on without them")
	}
}

func TestListenerErrors(t *testing.T) {
	t.Parallel()
	const (
		template = `{"name": "l", "address": $ADDRESS, "filter_chains": [{"filters": [{"name": "f", "typed_config": {$CONFIG}}] $CHAIN}] $MORE}`
		config   = "filter_chains[0].filters[0].typed_config"
		options  = `filter_chains[0].metadata.typed_filter_metadata["mesh.dragoman.io/redis"]`
	)
	withOptions := func(fields string) string {
		return `, "metadata": {"typed_filter_metadata": {"mesh.dragoman.io/redis": {` + optionType + fields + `}}}`
	}
	tests := []struct {
		name                         string
		address, config, chain, more string
		want                         []string
	}{
		{name: "good"},
		{name: "address", address: `{"socket_address": {"address": "localhost", "port_value": 70000, "protocol": "UDP", "resolver_name": "x"}}`, want: []string{
			"address.socket_address.resolver_name: is not supported",
			"address.socket_address.protocol: must be TCP",
			`address.socket_address.address: "localhost" is not an IP address`,
			"address.socket_address.port_value: must be at most 65535",
		}},
		{name: "no address", address: `{}`, want: []string{"address: must be a socket_address or a pipe"}},
		{name: "pipe", address: `{"pipe": {"path": "x", "mode": 4096}}`, want: []string{
			"address.pipe.path: must be absolute (or begin with @) and at most 107 bytes",
			"address.pipe.mode: has other bits than those of permissions",
		}},
		{name: "fields", more: `, "use_original_dst": true, "bind_to_port": false, "listener_filters": [{"name": "x"}]`, want: []string{
			"listener_filters: is not supported", "use_original_dst: is not supported", "bind_to_port: must be true: every listener binds",
		}},
		{name: "two chains", more: `, "default_filter_chain": {}`, want: []string{"filter_chains: must be exactly one"}},
		{name: "drain", more: `, "metadata": {"typed_filter_metadata": {"mesh.dragoman.io/listener": {"@type": "type.googleapis.com/dragoman.listener.v1.ListenerOptions", "drain_mode": 9, "drain_deadline": "0s"}}}`, want: []string{
			`metadata.typed_filter_metadata["mesh.dragoman.io/listener"].drain_mode: has the unknown value 9`,
			`metadata.typed_filter_metadata["mesh.dragoman.io/listener"].drain_deadline: must be longer than 0`,
		}},
		{name: "match", chain: `, "filter_chain_match": {"server_names": ["x"]}`, want: []string{"filter_chains[0].filter_chain_match.server_names: is not supported"}},
		{
			name: "filter", config: `"@type": "type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo"`,
			want: []string{config + `: "type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo" is not a network filter of this proxy`},
		},
		{name: "tcp", config: tcpType + `, "max_connect_attempts": 0, "hash_policy": [{}]`, want: []string{
			config + ".hash_policy: is not supported", config + ".cluster: is missing", config + ".max_connect_attempts: must be at least 1",
		}},
		{name: "redis empty", config: redisType, want: []string{
			config + ".settings: is missing", config + ".prefix_routes: has neither routes nor a catch_all_route",
		}},
		{name: "redis", config: redisType + `, "faults": [{}], "protocol_version": "RESP3", "downstream_auth_username": {"filename": "x"},
			"settings": {"op_timeout": "-1s", "read_policy": 77, "connection_rate_limit": {}},
			"prefix_routes": {"routes": [{"prefix": "a"}, {"prefix": "a", "cluster": "c", "key_formatter": "x", "read_command_policy": {}, "request_mirror_policy": [{}]}],
			  "catch_all_route": {"prefix": "b", "cluster": "c"}}`, want: []string{
			config + ".faults: is not supported", config + ".protocol_version: is not supported",
			config + ".settings.connection_rate_limit: is not supported",
			config + ".settings.op_timeout: is not a duration of 0 or more",
			config + ".settings.read_policy: has the unknown value 77",
			config + ".prefix_routes.routes[0].cluster: is missing",
			config + `.prefix_routes.routes[1].prefix: "a" is there twice`,
			config + ".prefix_routes.routes[1].key_formatter: is not supported",
			config + ".prefix_routes.routes[1].read_command_policy.cluster: is missing",
			config + ".prefix_routes.routes[1].request_mirror_policy[0].cluster: is missing",
			config + ".prefix_routes.catch_all_route.prefix: does not belong in a catch-all",
			config + ".downstream_auth_username: must be inline: a user name is no secret here",
			config + ".downstream_auth_username: needs a password",
		}},
		{name: "options", chain: withOptions(`, "hash_tag": "abc", "unknown_commands": 7, "database": 4294967295,
			"users": [{"name": "a", "passwords": [{}]}, {"name": "a"}], "limits": {"max_request_bytes": 1, "max_pipeline": 0, "idle_timeout": "-1s"},
			"hot_keys": {"sample_rate": 1, "top": 1001}`), want: []string{
			options + ".unknown_commands: has the unknown value 7",
			options + ".hash_tag: must be two characters",
			options + ".database: is not a database number",
			options + ".users[0].passwords[0].name: is missing",
			options + `.users[1].name: "a" is empty or there twice`,
			options + ".limits.max_request_bytes: must be at least 1024",
			options + ".limits.max_pipeline: must be at least 1",
			options + ".limits.idle_timeout: is not a duration of 0 or more",
			options + ".hot_keys.top: must be at most 1000",
		}},
		{
			name: "two kinds of users", config: redisType + `, ` + redisLeast + `, "downstream_auth_passwords": [{"inline_string": "x"}]`,
			chain: withOptions(`, "users": [{"name": "a"}]`), want: []string{options + ".users: does not go with downstream_auth_passwords"},
		},
		{
			name: "tls", chain: `, "transport_socket": {"name": "tls", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
			"require_sni": true, "require_client_certificate": true, "common_tls_context": {"key_log": {}, "tls_params": {"tls_minimum_protocol_version": "TLSv1_0"}}}}`, want: []string{
				"filter_chains[0].transport_socket.typed_config.require_sni: is not supported",
				"filter_chains[0].transport_socket.typed_config.common_tls_context.key_log: is not supported",
				"filter_chains[0].transport_socket.typed_config.common_tls_context.tls_params.tls_minimum_protocol_version: TLSv1_0 is not supported: use TLSv1_2 or TLSv1_3",
				"filter_chains[0].transport_socket.typed_config.common_tls_context: needs a certificate",
				"filter_chains[0].transport_socket.typed_config.require_client_certificate: needs a validation context",
			},
		},
		{
			name: "raw buffer", chain: `, "transport_socket": {"name": "x", "typed_config": {` + tcpType + `}}`, want: []string{
				`filter_chains[0].transport_socket.typed_config: must be a envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext, is "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"`,
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.address == "" {
				tt.address = anywhere
			}
			if tt.config == "" {
				tt.config = redisType + `, ` + redisLeast
			}
			p := fromJSON(t, &listenerv3.Listener{}, template, "$ADDRESS", tt.address, "$CONFIG", tt.config, "$CHAIN", tt.chain, "$MORE", tt.more)
			_, err := resource.ParseListener(p)
			checkPaths(t, err, tt.want...)
		})
	}
}

func TestEmptyResources(t *testing.T) {
	t.Parallel()
	_, err := resource.ParseListener(&listenerv3.Listener{})
	checkPaths(t, err, "name: is missing", "address: must be a socket_address or a pipe", "filter_chains: must be exactly one")
	_, err = resource.ParseCluster(&clusterv3.Cluster{})
	checkPaths(t, err, "name: is missing")
	_, err = resource.ParseAssignment(&endpointv3.ClusterLoadAssignment{})
	checkPaths(t, err, "cluster_name: is missing")
	_, err = resource.ParseSecret(&tlsv3.Secret{})
	checkPaths(t, err, "name: is missing", ": must be a generic_secret, tls_certificate or validation_context")
}

func TestSecrets(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, text string
		want       *resource.Secret
		errs       []string
	}{
		{
			name: "generic", text: `"generic_secret": {"secret": {"filename": "/f"}, "secrets": {"a": {"inline_bytes": "eA=="}, "b": {"environment_variable": "E"}}}`,
			want: &resource.Secret{Name: "s", Generic: map[string]resource.DataSource{"": {Filename: "/f"}, "a": {Inline: []byte("x")}, "b": {Env: "E"}}},
		},
		{
			name: "roots", text: `"validation_context": {"system_root_certs": {}, "match_typed_subject_alt_names": [{"san_type": "IP_ADDRESS", "matcher": {"exact": "10.0.0.1"}}]}`,
			want: &resource.Secret{Name: "s", Validation: &resource.ValidationSecret{SystemRoots: true, Names: []string{"10.0.0.1"}}},
		},
		{name: "empty", text: `"generic_secret": {}`, errs: []string{"generic_secret: is empty"}},
		{
			name: "validation", text: `"validation_context": {"verify_certificate_spki": ["x"], "match_typed_subject_alt_names": [{"san_type": "URI", "matcher": {"exact": "x"}}, {"san_type": "DNS", "matcher": {"prefix": "x"}}]}`,
			errs: []string{
				"validation_context.verify_certificate_spki: is not supported",
				"validation_context.match_typed_subject_alt_names[0].san_type: URI is not supported: use DNS or IP_ADDRESS",
				"validation_context.match_typed_subject_alt_names[1].matcher: must be exact",
				"validation_context: needs trusted_ca or system_root_certs",
			},
		},
		{
			name: "certificate", text: `"tls_certificate": {"certificate_chain": {}, "pkcs12": {"filename": "x"}}`,
			errs: []string{
				"tls_certificate.pkcs12: is not supported",
				"tls_certificate.certificate_chain: is missing", "tls_certificate.private_key: is missing",
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := resource.ParseSecret(fromJSON(t, &tlsv3.Secret{}, `{"name": "s", `+tt.text+`}`))
			checkPaths(t, err, tt.errs...)
			if tt.want != nil && !tt.want.Equal(got) {
				t.Errorf("got %+v", got)
			}
		})
	}
}
