package resource

import (
	"strconv"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	httpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
)

// defaultHTTPHeader bounds a response's head, in KiB, as Envoy does.
const defaultHTTPHeader = 60

func (r *reader) httpUpstream(p *clusterv3.Cluster) HTTPUpstream {
	var u HTTPUpstream
	packed, ok := p.GetTypedExtensionProtocolOptions()[HTTPProtocolOptionsKey]
	if !ok {
		return u
	}
	path := "typed_extension_protocol_options[" + strconv.Quote(HTTPProtocolOptionsKey) + "]"
	var o httpv3.HttpProtocolOptions
	if !r.unpack(packed, &o, path) {
		return u
	}
	r.only(&o, path, "common_http_protocol_options", "upstream_http_protocol_options", "explicit_http_config",
		"use_downstream_protocol_config", "auto_config")
	c, at := o.GetCommonHttpProtocolOptions(), join(path, "common_http_protocol_options")
	r.only(c, at, "idle_timeout", "max_connection_duration", "max_requests_per_connection", "max_response_headers_kb")
	u.Idle = r.zeroMeansNone(c.GetIdleTimeout(), join(at, "idle_timeout"))
	u.MaxConnection = r.duration(c.GetMaxConnectionDuration(), join(at, "max_connection_duration"), 0)
	u.MaxRequests = c.GetMaxRequestsPerConnection().GetValue()
	kib := r.atLeast(c.GetMaxResponseHeadersKb(), join(at, "max_response_headers_kb"), defaultHTTPHeader, 1)
	if kib > maxHeaderKiB {
		r.fail(join(at, "max_response_headers_kb"), "must be at most %d", maxHeaderKiB)
	}
	u.HeaderBytes = int(kib) << 10
	if o.GetUpstreamHttpProtocolOptions() != nil {
		r.fail(join(path, "upstream_http_protocol_options"), "is not supported: use sni or auto_host_sni, and auto_sni_san_validation, of the cluster's TLS context")
	}
	var h1 *corev3.Http1ProtocolOptions
	var h2 *corev3.Http2ProtocolOptions
	switch s := o.GetUpstreamProtocolOptions().(type) {
	case *httpv3.HttpProtocolOptions_ExplicitHttpConfig_:
		switch e := s.ExplicitHttpConfig.GetProtocolConfig().(type) {
		case nil:
		case *httpv3.HttpProtocolOptions_ExplicitHttpConfig_HttpProtocolOptions:
			h1 = e.HttpProtocolOptions
		case *httpv3.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions:
			u.Protocol, h2 = UpstreamHTTP2, e.Http2ProtocolOptions
		default:
			r.fail(join(path, "explicit_http_config"), "must be HTTP/1 or HTTP/2")
		}
	case *httpv3.HttpProtocolOptions_UseDownstreamProtocolConfig:
		u.Protocol, h2 = UpstreamLikeDown, s.UseDownstreamProtocolConfig.GetHttp2ProtocolOptions()
		h1 = s.UseDownstreamProtocolConfig.GetHttpProtocolOptions()
	case *httpv3.HttpProtocolOptions_AutoConfig:
		u.Protocol, h2 = UpstreamALPN, s.AutoConfig.GetHttp2ProtocolOptions()
		h1 = s.AutoConfig.GetHttpProtocolOptions()
		if p.GetTransportSocket() == nil {
			r.fail(join(path, "auto_config"), "needs a transport_socket: it is TLS that agrees on the protocol")
		}
	default:
		r.fail(path, "needs explicit_http_config, use_downstream_protocol_config or auto_config")
	}
	// Trailers of responses are always read; the listener says whether they go on.
	r.only(h1, join(path, "http_protocol_options"), "enable_trailers", "use_balsa_parser", "allow_custom_methods")
	r.http2Upstream(h2, path, &u)
	return u
}

func (r *reader) http2Upstream(p *corev3.Http2ProtocolOptions, path string, u *HTTPUpstream) {
	r.only(p, join(path, "http2_protocol_options"), "hpack_table_size", "max_concurrent_streams", "initial_stream_window_size",
		"initial_connection_window_size", "connection_keepalive", "override_stream_error_on_invalid_http_message")
	u.TableSize = p.GetHpackTableSize().GetValue()
	u.StreamWindow = p.GetInitialStreamWindowSize().GetValue()
	u.ConnectionWindow = p.GetInitialConnectionWindowSize().GetValue()
	u.MaxStreams = p.GetMaxConcurrentStreams().GetValue()
	k, at := p.GetConnectionKeepalive(), join(path, "http2_protocol_options.connection_keepalive")
	u.PingInterval = r.duration(k.GetInterval(), join(at, "interval"), 0)
	if k != nil {
		u.PingTimeout = r.positive(k.GetTimeout(), join(at, "timeout"), 15*time.Second)
	}
}
