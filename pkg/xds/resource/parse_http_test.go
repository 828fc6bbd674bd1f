package resource_test

import (
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"

	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// TestHTTPRefused has what would be without effect be refused, not ignored.
func TestHTTPRefused(t *testing.T) {
	t.Parallel()
	const (
		template = `{"name": "l", "address": ` + anywhere + `, "filter_chains": [{"filters": [{"name": "f", "typed_config": {
		  "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager", "stat_prefix": "x",
		  "http_filters": [{"name": "router", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" $ROUTER}}],
		  "route_config": {"name": "r", "virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [
		    {"match": {"prefix": "/"}, "route": {"cluster": "c" $ACTION} $ROUTE}]}]}
		  $MANAGER}}]}]}`
		config = "filter_chains[0].filters[0].typed_config."
		entry  = config + "route_config.virtual_hosts[0].routes[0]."
		closes = "must not be true: after what is no request nobody knows where the next one begins, so the connection is closed"
	)
	tests := []struct {
		name                           string
		manager, route, action, router string
		want                           []string
	}{
		{name: "nothing of it"},
		{name: "said as it is", manager: `, "stream_error_on_invalid_http_message": false, "http_protocol_options": {"enable_trailers": true}`},
		{name: "tracing", manager: `, "tracing": {"random_sampling": {"value": 101}, "operation": "x", "custom_tags": [{"tag": "a", "metadata": {}}, {"request_header": {}}]}`, want: []string{
			config + "tracing.operation: is not supported",
			config + "tracing.random_sampling: must be from 0 to 100",
			config + "tracing.custom_tags[0]: must be a literal, an environment or a request_header",
			config + "tracing.custom_tags[1].tag: is missing",
			config + "tracing.custom_tags[1].request_header.name: is missing",
		}},
		{name: "tracing that is well", manager: `, "tracing": {"provider": {"name": "envoy.tracers.opentelemetry"}, "custom_tags": [{"tag": "a", "literal": {"value": "b"}}]}`},
		{name: "tracing of a route", route: `, "tracing": {}`, want: []string{entry + "tracing: is not supported"}},
		{name: "tracing of a router", router: `, "start_child_span": true`, want: []string{
			config + "http_filters[0].typed_config.start_child_span: is not supported",
		}},
		{
			name:    "manager",
			manager: `, "add_user_agent": true, "internal_address_config": {"unix_sockets": true}, "access_log_options": {"flush_access_log_on_new_request": true}`,
			want: []string{
				config + "access_log_options: is not supported", config + "add_user_agent: is not supported",
				config + "internal_address_config: is not supported",
			},
		},
		{
			name:    "invalid requests",
			manager: `, "stream_error_on_invalid_http_message": true, "http_protocol_options": {"override_stream_error_on_invalid_http_message": true}`,
			want: []string{
				config + "stream_error_on_invalid_http_message: " + closes,
				config + "http_protocol_options.override_stream_error_on_invalid_http_message: " + closes,
			},
		},
		{
			name:   "action",
			action: `, "priority": "HIGH", "retry_policy": {"retry_on": "5xx", "per_try_idle_timeout": "1s"}, "request_mirror_policies": [{"cluster": "m", "trace_sampled": true}]`,
			want: []string{
				entry + "route.priority: is not supported", entry + "route.retry_policy.per_try_idle_timeout: is not supported",
				entry + "route.request_mirror_policies[0].trace_sampled: is not supported",
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := fromJSON(t, &listenerv3.Listener{}, template, "$MANAGER", tt.manager, "$ROUTER", tt.router, "$ROUTE", tt.route, "$ACTION", tt.action)
			_, err := resource.ParseListener(l)
			checkPaths(t, err, tt.want...)
		})
	}
}

// TestHTTPFloods reads the limits against floods, where 0 means none at all and
// nothing the default.
func TestHTTPFloods(t *testing.T) {
	t.Parallel()
	const template = `{"name": "l", "address": ` + anywhere + `, "filter_chains": [{"filters": [{"name": "f", "typed_config": {
	  "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager", "stat_prefix": "x",
	  "http_filters": [{"name": "router", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}],
	  "route_config": {"name": "r"}, "http2_protocol_options": {$OPTIONS}}}]}]}`
	for options, want := range map[string]resource.HTTP2Floods{
		``: {},
		`"max_outbound_frames": 1, "max_outbound_control_frames": 2, "max_consecutive_inbound_frames_with_empty_payload": 0,
		 "max_inbound_priority_frames_per_stream": 3, "max_inbound_window_update_frames_per_data_frame_sent": 4`: {
			Outbound: 1, Control: 2, Empty: -1, Priority: 3, WindowUpdates: 4,
		},
	} {
		l, err := resource.ParseListener(fromJSON(t, &listenerv3.Listener{}, template, "$OPTIONS", options))
		if err != nil {
			t.Fatal(err)
		}
		m, ok := l.Filter.Config.(*resource.HTTPManager)
		if !ok || m.HTTP2.Floods != want {
			t.Errorf("%s: got %+v, want %+v", options, m, want)
		}
	}
}

// TestHTTPUpstream reads how a cluster's servers are spoken to.
func TestHTTPUpstream(t *testing.T) {
	t.Parallel()
	const template = `{"name": "c", "type": "STATIC", "load_assignment": {"cluster_name": "c", "endpoints": []},
	  "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
	    "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions", $OPTIONS}}}`
	const at = `typed_extension_protocol_options["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"].`
	c, err := resource.ParseCluster(fromJSON(t, &clusterv3.Cluster{}, template, "$OPTIONS", `"explicit_http_config": {
	  "http2_protocol_options": {"hpack_table_size": 8192, "initial_stream_window_size": 65536, "initial_connection_window_size": 1048576}}`))
	if err != nil {
		t.Fatal(err)
	}
	if got := c.HTTP; got.Protocol != resource.UpstreamHTTP2 || got.TableSize != 8192 || got.StreamWindow != 65536 || got.ConnectionWindow != 1048576 {
		t.Errorf("got %+v", got)
	}
	_, err = resource.ParseCluster(fromJSON(t, &clusterv3.Cluster{}, template, "$OPTIONS", `"common_http_protocol_options": {"max_headers_count": 5},
	  "upstream_http_protocol_options": {"auto_sni": true}, "explicit_http_config": {"http_protocol_options": {"header_key_format": {"proper_case_words": {}}}}`))
	checkPaths(
		t, err, at+"common_http_protocol_options.max_headers_count: is not supported",
		at+"upstream_http_protocol_options: is not supported: use sni or auto_host_sni, and auto_sni_san_validation, of the cluster's TLS context",
		at+"http_protocol_options.header_key_format: is not supported",
	)
}
