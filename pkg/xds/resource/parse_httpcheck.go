package resource

import (
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
)

func (r *reader) httpCheck(p *corev3.HealthCheck_HttpHealthCheck, path string, h *HealthCheck) {
	r.only(p, path, "host", "path", "method", "expected_statuses", "codec_client_type")
	h.Kind = HealthCheckHTTP
	h.HTTP = HTTPCheck{Host: p.GetHost(), Path: p.GetPath(), HTTP2: p.GetCodecClientType() == typev3.CodecClientType_HTTP2}
	if !strings.HasPrefix(p.GetPath(), "/") || strings.ContainsAny(p.GetPath(), " #") {
		r.fail(join(path, "path"), "%q is not a path", p.GetPath())
		h.HTTP.Path = "/"
	}
	if p.GetCodecClientType() == typev3.CodecClientType_HTTP3 {
		r.fail(join(path, "codec_client_type"), "HTTP3 is not supported")
	}
	switch m := p.GetMethod(); m {
	case corev3.RequestMethod_METHOD_UNSPECIFIED:
	case corev3.RequestMethod_CONNECT, corev3.RequestMethod_TRACE:
		r.fail(join(path, "method"), "%v is not supported", m)
	default:
		h.HTTP.Method = m.String()
	}
	for i, s := range p.GetExpectedStatuses() {
		if s.GetStart() < 100 || s.GetEnd() > 600 || s.GetStart() >= s.GetEnd() {
			r.fail(index(join(path, "expected_statuses"), i), "must be from 100 to 599, and its end after its start")
			continue
		}
		h.HTTP.Statuses = append(h.HTTP.Statuses, StatusRange{int(s.GetStart()), int(s.GetEnd())})
	}
}

func (r *reader) grpcCheck(p *corev3.HealthCheck_GrpcHealthCheck, path string, h *HealthCheck) {
	r.only(p, path, "service_name", "authority")
	h.Kind = HealthCheckHTTP
	h.HTTP = HTTPCheck{Host: p.GetAuthority(), GRPC: true, HTTP2: true, Service: p.GetServiceName()}
}
