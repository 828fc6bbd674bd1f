package resource

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	starttlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/starttls/v3"
	"google.golang.org/protobuf/types/known/anypb"
)

// startTLS opens the transport socket of Envoy for TLS that begins in
// mid-connection, and gives the TLS socket in it; false for another socket. into
// is one of the two messages that there are for it, and inner gives its TLS.
func (r *reader) startTLS(s *corev3.TransportSocket, path string) (*corev3.TransportSocket, bool) {
	packed := s.GetTypedConfig()
	inner := &anypb.Any{}
	switch packed.MessageName() {
	case nameOf(&starttlsv3.StartTlsConfig{}):
		var p starttlsv3.StartTlsConfig
		if !r.unpack(packed, &p, path) {
			return s, false
		}
		r.only(p.GetCleartextSocketConfig(), join(path, "cleartext_socket_config"))
		r.must(inner.MarshalFrom(p.GetTlsSocketConfig()), join(path, "tls_socket_config"))
	case nameOf(&starttlsv3.UpstreamStartTlsConfig{}):
		var p starttlsv3.UpstreamStartTlsConfig
		if !r.unpack(packed, &p, path) {
			return s, false
		}
		r.only(p.GetCleartextSocketConfig(), join(path, "cleartext_socket_config"))
		r.must(inner.MarshalFrom(p.GetTlsSocketConfig()), join(path, "tls_socket_config"))
	default:
		return s, false
	}
	return &corev3.TransportSocket{
		Name: s.GetName(), ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: inner},
	}, true
}

func (r *reader) must(err error, path string) {
	if err != nil {
		r.fail(path, "cannot be read: %v", err)
	}
}
