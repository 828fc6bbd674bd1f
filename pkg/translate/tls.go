package translate

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	rawv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/raw_buffer/v3"
	starttlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/starttls/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dragoman-mesh/dragoman/pkg/mesh"
)

const (
	tlsSocket      = "envoy.transport_sockets.tls"
	startTLSSocket = "envoy.transport_sockets.starttls"
)

func (t *translator) genericSecret(name string, d *corev3.DataSource) {
	t.addSecret(&tlsv3.Secret{
		Name: name,
		Type: &tlsv3.Secret_GenericSecret{GenericSecret: &tlsv3.GenericSecret{Secret: d}},
	})
}

// certificate gives where a certificate and its key come from: a Secret, or
// files, of which it makes a secret.
func (t *translator) certificate(name, certFile, keyFile string, cert *mesh.SecretSource) []*tlsv3.SdsSecretConfig {
	switch {
	case cert != nil:
		name = t.certificateSecret(&cert.Secret)
	case certFile != "":
		t.addSecret(&tlsv3.Secret{
			Name: name,
			Type: &tlsv3.Secret_TlsCertificate{TlsCertificate: &tlsv3.TlsCertificate{
				CertificateChain: fileSource(certFile),
				PrivateKey:       fileSource(keyFile),
			}},
		})
	default:
		return nil
	}
	return []*tlsv3.SdsSecretConfig{{Name: name, SdsConfig: aggregated()}}
}

// authorities sets whom a context trusts: a Secret or ConfigMap, or a file, of
// which it makes a secret, or else the system's.
func (t *translator) authorities(c *tlsv3.CommonTlsContext, name, file string, ca *mesh.CASource) {
	switch {
	case ca != nil:
		name = t.authoritySecret(ca)
	case file != "":
		t.addSecret(&tlsv3.Secret{
			Name: name,
			Type: &tlsv3.Secret_ValidationContext{ValidationContext: &tlsv3.CertificateValidationContext{
				TrustedCa: fileSource(file),
			}},
		})
	default:
		c.ValidationContextType = &tlsv3.CommonTlsContext_ValidationContext{
			ValidationContext: &tlsv3.CertificateValidationContext{
				SystemRootCerts: &tlsv3.CertificateValidationContext_SystemRootCerts{},
			},
		}
		return
	}
	c.ValidationContextType = &tlsv3.CommonTlsContext_ValidationContextSdsSecretConfig{
		ValidationContextSdsSecretConfig: &tlsv3.SdsSecretConfig{Name: name, SdsConfig: aggregated()},
	}
}

// downstreamTLS is how a listener speaks to apps.
func (t *translator) downstreamTLS(listener string, s *mesh.DownstreamTLS) *corev3.TransportSocket {
	if s == nil {
		return nil
	}
	common := &tlsv3.CommonTlsContext{
		TlsCertificateSdsSecretConfigs: t.certificate(listener+"/certificate", s.CertFile, s.KeyFile, s.Cert),
	}
	if s.ClientCA != nil || s.ClientCAFile != "" {
		t.authorities(common, listener+"/client-ca", s.ClientCAFile, s.ClientCA)
	}
	p := &tlsv3.DownstreamTlsContext{CommonTlsContext: common}
	if s.RequireClientCert {
		p.RequireClientCertificate = wrapperspb.Bool(true)
	}
	if t.protocol.IsDatabase() {
		common.AlpnProtocols = alpn(t.protocol)
		return socket(startTLSSocket, &starttlsv3.StartTlsConfig{
			CleartextSocketConfig: &rawv3.RawBuffer{}, TlsSocketConfig: p,
		})
	}
	return socket(tlsSocket, p)
}

func socket(name string, m proto.Message) *corev3.TransportSocket {
	return &corev3.TransportSocket{Name: name, ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: pack(m)}}
}

// alpn is what PostgreSQL's clients and servers tell with direct TLS.
func alpn(p mesh.Protocol) []string {
	if p == mesh.ProtocolPostgres {
		return []string{"postgresql"}
	}
	return nil
}

func (t *translator) upstreamTLS(s *mesh.UpstreamTLS, cluster string) *corev3.TransportSocket {
	if s == nil || s.Mode == mesh.TLSDisable {
		return nil
	}
	common := &tlsv3.CommonTlsContext{
		TlsCertificateSdsSecretConfigs: t.certificate(cluster+"/certificate", s.CertFile, s.KeyFile, s.Cert),
	}
	if s.Mode != mesh.TLSRequire && s.Mode != mesh.TLSPrefer {
		t.authorities(common, cluster+"/ca", s.CAFile, s.CA)
	}
	p := &tlsv3.UpstreamTlsContext{
		CommonTlsContext:     common,
		Sni:                  s.ServerName,
		AutoHostSni:          s.ServerName == "",
		AutoSniSanValidation: s.Mode == mesh.TLSVerifyFull || s.Mode == "",
	}
	switch {
	case s.Direct:
		common.AlpnProtocols = alpn(t.protocol)
	case t.protocol.IsDatabase():
		return socket(startTLSSocket, &starttlsv3.UpstreamStartTlsConfig{
			CleartextSocketConfig: &rawv3.RawBuffer{}, TlsSocketConfig: p,
		})
	}
	return socket(tlsSocket, p)
}
