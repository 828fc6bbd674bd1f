package resource

import (
	"cmp"
	"math"
	"strings"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// Envoy's defaults where a connection manager does not say, but for the time
// that headers may take, which Envoy does not bound.
const (
	defaultHeaderKiB      = 60
	maxHeaderKiB          = 8192
	defaultHeaderCount    = 100
	defaultHeadersTimeout = 30 * time.Second
	defaultStreamIdle     = 5 * time.Minute
	defaultHTTPIdle       = time.Hour
	defaultServerName     = "dragoman"
)

// closesInvalid is why a connection cannot be kept after what is no request.
const closesInvalid = "must not be true: after what is no request nobody knows where the next one begins, so the connection is closed"

func (r *reader) httpManager(packed *anypb.Any, path string) *HTTPManager {
	m := &HTTPManager{}
	var p hcmv3.HttpConnectionManager
	if !r.unpack(packed, &p, path) {
		return m
	}
	// What is named and not read tunes statistics of Envoy's own, and how it closes.
	r.only(&p, path, "codec_type", "stat_prefix", "http_filters", "tracing", "common_http_protocol_options",
		"http1_safe_max_connection_duration", "http_protocol_options", "http2_protocol_options", "server_name",
		"server_header_transformation", "max_request_headers_kb", "stream_idle_timeout", "request_timeout",
		"request_headers_timeout", "drain_timeout", "delayed_close_timeout", "use_remote_address", "xff_num_trusted_hops",
		"skip_xff_append", "via", "generate_request_id", "preserve_external_request_id", "always_set_request_id_in_response",
		"proxy_100_continue", "upgrade_configs", "normalize_path", "merge_slashes", "path_with_escaped_slashes_action",
		"strip_matching_host_port", "strip_any_host_port", "strip_trailing_host_dot", "append_x_forwarded_port",
		"stream_error_on_invalid_http_message", "rds", "route_config", "access_log")
	m.Tracing = r.httpTracing(p.GetTracing(), join(path, "tracing"))
	if p.GetStreamErrorOnInvalidHttpMessage().GetValue() {
		r.fail(join(path, "stream_error_on_invalid_http_message"), closesInvalid)
	}
	m.StatPrefix = p.GetStatPrefix()
	switch p.GetCodecType() {
	case hcmv3.HttpConnectionManager_AUTO:
	case hcmv3.HttpConnectionManager_HTTP1:
		m.Codec = HTTPOne
	case hcmv3.HttpConnectionManager_HTTP2:
		m.Codec = HTTPTwo
	default:
		r.fail(join(path, "codec_type"), "%v is not supported", p.GetCodecType())
	}
	r.httpLimits(&p, path, &m.Limits)
	r.httpPath(&p, path, &m.Path)
	r.httpHeaders(&p, path, &m.Headers)
	r.http1(p.GetHttpProtocolOptions(), join(path, "http_protocol_options"), &m.HTTP1)
	r.http2(p.GetHttp2ProtocolOptions(), join(path, "http2_protocol_options"), m)
	r.httpUpgrades(&p, path, m)
	r.httpFilters(p.GetHttpFilters(), join(path, "http_filters"), m)
	switch s := p.GetRouteSpecifier().(type) {
	case *hcmv3.HttpConnectionManager_RouteConfig:
		m.Routes = r.routes(s.RouteConfig, join(path, "route_config"))
	case *hcmv3.HttpConnectionManager_Rds:
		if m.RoutesName = s.Rds.GetRouteConfigName(); m.RoutesName == "" {
			r.fail(join(path, "rds.route_config_name"), "is missing")
		}
		r.aggregated(s.Rds.GetConfigSource(), join(path, "rds.config_source"))
	}
	m.AccessLogs = r.accessLogs(p.GetAccessLog(), join(path, "access_log"))
	m.Expect100 = p.GetProxy_100Continue()
	return m
}

// percent reads a percentage as a fraction; absent: all.
func (r *reader) percent(p *typev3.Percent, path string) float64 {
	if p == nil {
		return 1
	}
	if v := p.GetValue(); v >= 0 && v <= 100 {
		return v / 100
	}
	r.fail(path, "must be from 0 to 100")
	return 1
}

func (r *reader) httpLimits(p *hcmv3.HttpConnectionManager, path string, l *HTTPLimits) {
	kib := r.atLeast(p.GetMaxRequestHeadersKb(), join(path, "max_request_headers_kb"), defaultHeaderKiB, 1)
	if kib > maxHeaderKiB {
		r.fail(join(path, "max_request_headers_kb"), "must be at most %d", maxHeaderKiB)
	}
	l.HeaderBytes = int(kib) << 10
	l.HeadersTimeout = r.duration(p.GetRequestHeadersTimeout(), join(path, "request_headers_timeout"), defaultHeadersTimeout)
	l.RequestTimeout = r.duration(p.GetRequestTimeout(), join(path, "request_timeout"), 0)
	l.StreamIdle = r.duration(p.GetStreamIdleTimeout(), join(path, "stream_idle_timeout"), defaultStreamIdle)
	c := p.GetCommonHttpProtocolOptions()
	path = join(path, "common_http_protocol_options")
	r.only(c, path, "idle_timeout", "max_connection_duration", "max_headers_count", "max_stream_duration",
		"headers_with_underscores_action", "max_requests_per_connection")
	l.Idle = r.duration(c.GetIdleTimeout(), join(path, "idle_timeout"), defaultHTTPIdle)
	l.MaxConnection = r.duration(c.GetMaxConnectionDuration(), join(path, "max_connection_duration"), 0)
	l.MaxStream = r.duration(c.GetMaxStreamDuration(), join(path, "max_stream_duration"), 0)
	l.HeaderCount = int(r.atLeast(c.GetMaxHeadersCount(), join(path, "max_headers_count"), defaultHeaderCount, 1) & math.MaxInt32)
	l.MaxRequests = c.GetMaxRequestsPerConnection().GetValue()
}

func (r *reader) httpPath(p *hcmv3.HttpConnectionManager, path string, out *HTTPPath) {
	out.Normalize = p.GetNormalizePath() == nil || p.GetNormalizePath().GetValue()
	out.MergeSlashes = p.GetMergeSlashes()
	out.StripDot = p.GetStripTrailingHostDot()
	switch a := p.GetPathWithEscapedSlashesAction(); a {
	case hcmv3.HttpConnectionManager_IMPLEMENTATION_SPECIFIC_DEFAULT, hcmv3.HttpConnectionManager_KEEP_UNCHANGED:
	case hcmv3.HttpConnectionManager_REJECT_REQUEST:
		out.Escaped = SlashesRefused
	case hcmv3.HttpConnectionManager_UNESCAPE_AND_REDIRECT:
		out.Escaped = SlashesRedirected
	case hcmv3.HttpConnectionManager_UNESCAPE_AND_FORWARD:
		out.Escaped = SlashesUnescaped
	default:
		r.fail(join(path, "path_with_escaped_slashes_action"), "has the unknown value %d", a)
	}
	switch {
	case p.GetStripAnyHostPort():
		out.StripPort = PortAny
	case p.GetStripMatchingHostPort():
		out.StripPort = PortMatching
	}
}

func (r *reader) httpHeaders(p *hcmv3.HttpConnectionManager, path string, h *HTTPHeaders) {
	h.ServerName = cmp.Or(p.GetServerName(), defaultServerName)
	switch p.GetServerHeaderTransformation() {
	case hcmv3.HttpConnectionManager_OVERWRITE:
	case hcmv3.HttpConnectionManager_APPEND_IF_ABSENT:
		h.Server = ServerIfAbsent
	case hcmv3.HttpConnectionManager_PASS_THROUGH:
		h.Server = ServerPassThrough
	default:
		r.fail(join(path, "server_header_transformation"), "has the unknown value %d", p.GetServerHeaderTransformation())
	}
	h.Via = p.GetVia()
	for field, value := range map[string]string{"server_name": p.GetServerName(), "via": p.GetVia()} {
		if strings.ContainsAny(value, "\r\n\x00") {
			r.fail(join(path, field), "is not a header's value")
		}
	}
	h.RequestID = p.GetGenerateRequestId() == nil || p.GetGenerateRequestId().GetValue()
	h.KeepRequestID = p.GetPreserveExternalRequestId()
	h.ReturnRequestID = p.GetAlwaysSetRequestIdInResponse()
	h.UseRemoteAddress = p.GetUseRemoteAddress().GetValue()
	h.TrustedHops = p.GetXffNumTrustedHops()
	h.SkipForwarded = p.GetSkipXffAppend()
	h.ForwardedPort = p.GetAppendXForwardedPort()
	switch a := p.GetCommonHttpProtocolOptions().GetHeadersWithUnderscoresAction(); a {
	case corev3.HttpProtocolOptions_ALLOW:
	case corev3.HttpProtocolOptions_REJECT_REQUEST:
		h.UnderscoreRefused = true
	case corev3.HttpProtocolOptions_DROP_HEADER:
		h.UnderscoreDropped = true
	default:
		r.fail(join(path, "common_http_protocol_options.headers_with_underscores_action"), "has the unknown value %d", a)
	}
}

func (r *reader) http1(p *corev3.Http1ProtocolOptions, path string, out *HTTP1) {
	r.only(p, path, "allow_absolute_url", "accept_http_10", "default_host_for_http_10", "enable_trailers",
		"allow_chunked_length", "override_stream_error_on_invalid_http_message", "use_balsa_parser", "allow_custom_methods")
	if a := p.GetAllowAbsoluteUrl(); a != nil && !a.GetValue() {
		r.fail(join(path, "allow_absolute_url"), "must be true: RFC 9112 section 3.2.2 demands it")
	}
	if p.GetOverrideStreamErrorOnInvalidHttpMessage().GetValue() {
		r.fail(join(path, "override_stream_error_on_invalid_http_message"), closesInvalid)
	}
	out.Accept10 = p.GetAcceptHttp_10()
	out.DefaultHost10 = p.GetDefaultHostForHttp_10()
	out.ChunkedLength = p.GetAllowChunkedLength()
	out.Trailers = p.GetEnableTrailers()
}

func (r *reader) http2(p *corev3.Http2ProtocolOptions, path string, m *HTTPManager) {
	r.only(p, path, "hpack_table_size", "max_concurrent_streams", "initial_stream_window_size",
		"initial_connection_window_size", "connection_keepalive", "max_outbound_frames", "max_outbound_control_frames",
		"max_consecutive_inbound_frames_with_empty_payload", "max_inbound_priority_frames_per_stream",
		"max_inbound_window_update_frames_per_data_frame_sent", "override_stream_error_on_invalid_http_message",
		"use_oghttp2_codec")
	const maxWindow = math.MaxInt32
	window := func(v *wrapperspb.UInt32Value, field string) uint32 {
		n := r.atLeast(v, join(path, field), 0, 65535)
		if n > maxWindow {
			r.fail(join(path, field), "must be at most %d", maxWindow)
		}
		return n
	}
	m.HTTP2 = HTTP2{
		MaxStreams:       r.atLeast(p.GetMaxConcurrentStreams(), join(path, "max_concurrent_streams"), 0, 1),
		StreamWindow:     window(p.GetInitialStreamWindowSize(), "initial_stream_window_size"),
		ConnectionWindow: window(p.GetInitialConnectionWindowSize(), "initial_connection_window_size"),
		TableSize:        p.GetHpackTableSize().GetValue(),
		Floods:           r.http2Floods(p, path),
	}
	k := p.GetConnectionKeepalive()
	path = join(path, "connection_keepalive")
	r.only(k, path, "interval", "timeout", "interval_jitter", "connection_idle_interval")
	m.Limits.KeepaliveTime = r.duration(k.GetInterval(), join(path, "interval"), 0)
	if k != nil {
		m.Limits.KeepaliveAnswer = r.positive(k.GetTimeout(), join(path, "timeout"), 15*time.Second)
	}
}

func (r *reader) http2Floods(p *corev3.Http2ProtocolOptions, path string) HTTP2Floods {
	limit := func(v *wrapperspb.UInt32Value, field string, least uint32) int {
		if v == nil {
			return 0
		}
		n := r.atLeast(v, join(path, field), 0, least)
		return cmp.Or(int(n&math.MaxInt32), -1)
	}
	return HTTP2Floods{
		Outbound:      limit(p.GetMaxOutboundFrames(), "max_outbound_frames", 1),
		Control:       limit(p.GetMaxOutboundControlFrames(), "max_outbound_control_frames", 1),
		Empty:         limit(p.GetMaxConsecutiveInboundFramesWithEmptyPayload(), "max_consecutive_inbound_frames_with_empty_payload", 0),
		Priority:      limit(p.GetMaxInboundPriorityFramesPerStream(), "max_inbound_priority_frames_per_stream", 0),
		WindowUpdates: limit(p.GetMaxInboundWindowUpdateFramesPerDataFrameSent(), "max_inbound_window_update_frames_per_data_frame_sent", 1),
	}
}

func (r *reader) httpUpgrades(p *hcmv3.HttpConnectionManager, path string, m *HTTPManager) {
	for i, u := range p.GetUpgradeConfigs() {
		at := index(join(path, "upgrade_configs"), i)
		r.only(u, at, "upgrade_type", "enabled")
		name := strings.ToLower(u.GetUpgradeType())
		if name == "" || name == "connect" || name == "connect-udp" {
			r.fail(join(at, "upgrade_type"), "%q is not supported", u.GetUpgradeType())
			continue
		}
		if m.Upgrades == nil {
			m.Upgrades = make(map[string]bool)
		}
		m.Upgrades[name] = u.GetEnabled() == nil || u.GetEnabled().GetValue()
	}
}
