package resource

import (
	"crypto/tls"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
)

// defaultHandshakeTimeout is for listeners that name none.
const defaultHandshakeTimeout = 15 * time.Second

func (r *reader) downstreamTLS(s *corev3.TransportSocket, path string) *DownstreamTLS {
	path = join(path, "typed_config")
	s, late := r.startTLS(s, path)
	var p tlsv3.DownstreamTlsContext
	if !r.unpack(s.GetTypedConfig(), &p, path) {
		return nil
	}
	r.only(&p, path, "common_tls_context", "require_client_certificate",
		"disable_stateful_session_resumption", "prefer_client_ciphers")
	c := r.tlsContext(p.GetCommonTlsContext(), join(path, "common_tls_context"))
	t := &DownstreamTLS{
		Certificates:      c.certificates,
		ClientCA:          c.validation,
		ClientNames:       c.names,
		RequireClientCert: p.GetRequireClientCertificate().GetValue(),
		MinVersion:        c.minVersion,
		MaxVersion:        c.maxVersion,
		ALPN:              c.alpn,
		StartTLS:          late,
	}
	if len(t.Certificates) == 0 {
		r.fail(join(path, "common_tls_context"), "needs a certificate")
	}
	if t.RequireClientCert && t.ClientCA == "" {
		r.fail(join(path, "require_client_certificate"), "needs a validation context")
	}
	return t
}

func (r *reader) upstreamTLS(s *corev3.TransportSocket, path string) *UpstreamTLS {
	if s == nil {
		return nil
	}
	path = join(path, "typed_config")
	s, late := r.startTLS(s, path)
	var p tlsv3.UpstreamTlsContext
	if !r.unpack(s.GetTypedConfig(), &p, path) {
		return nil
	}
	r.only(&p, path, "common_tls_context", "sni", "auto_host_sni", "auto_sni_san_validation",
		"max_session_keys", "enforce_rsa_key_usage")
	c := r.tlsContext(p.GetCommonTlsContext(), join(path, "common_tls_context"))
	t := &UpstreamTLS{
		Validation:     c.validation,
		ServerName:     p.GetSni(),
		AutoServerName: p.GetAutoHostSni() && p.GetSni() == "",
		VerifyName:     p.GetAutoSniSanValidation(),
		Names:          c.names,
		MinVersion:     c.minVersion,
		MaxVersion:     c.maxVersion,
		ALPN:           c.alpn,
		StartTLS:       late,
	}
	switch len(c.certificates) {
	case 0:
	case 1:
		t.Certificate = c.certificates[0]
	default:
		r.fail(join(path, "common_tls_context"), "has several certificates: a client shows one")
	}
	if t.VerifyName && (t.Validation == "" || t.ServerName == "" && !t.AutoServerName) {
		r.fail(join(path, "auto_sni_san_validation"), "needs a validation context, and sni or auto_host_sni")
	}
	return t
}

// tlsContext is what both directions have in common.
type tlsContext struct {
	certificates           []string
	validation             string
	names                  []string
	minVersion, maxVersion uint16
	alpn                   []string
}

func (r *reader) tlsContext(p *tlsv3.CommonTlsContext, path string) tlsContext {
	r.only(p, path, "tls_params", "tls_certificates", "tls_certificate_sds_secret_configs", "validation_context",
		"validation_context_sds_secret_config", "combined_validation_context", "alpn_protocols")
	c := tlsContext{alpn: p.GetAlpnProtocols()}
	for i, cert := range p.GetTlsCertificates() {
		at := index(join(path, "tls_certificates"), i)
		c.certificates = append(c.certificates, r.lift(&Secret{Certificate: r.certificate(cert, at)}, at))
	}
	for i, s := range p.GetTlsCertificateSdsSecretConfigs() {
		c.certificates = append(c.certificates, r.sds(s, index(join(path, "tls_certificate_sds_secret_configs"), i)))
	}
	params := p.GetTlsParams()
	r.only(params, join(path, "tls_params"), "tls_minimum_protocol_version", "tls_maximum_protocol_version")
	c.minVersion = r.tlsVersion(params.GetTlsMinimumProtocolVersion(), join(path, "tls_params.tls_minimum_protocol_version"))
	c.maxVersion = r.tlsVersion(params.GetTlsMaximumProtocolVersion(), join(path, "tls_params.tls_maximum_protocol_version"))
	if c.maxVersion != 0 && c.minVersion > c.maxVersion {
		r.fail(join(path, "tls_params"), "has a minimum above the maximum")
	}
	r.tlsValidation(p, path, &c)
	return c
}

func (r *reader) tlsValidation(p *tlsv3.CommonTlsContext, path string, c *tlsContext) {
	if v := p.GetValidationContext(); v != nil {
		at := join(path, "validation_context")
		c.validation = r.lift(&Secret{Validation: r.validation(v, at)}, at)
		return
	}
	if s := p.GetValidationContextSdsSecretConfig(); s != nil {
		c.validation = r.sds(s, join(path, "validation_context_sds_secret_config"))
		return
	}
	combined := p.GetCombinedValidationContext()
	if combined == nil {
		return
	}
	at := join(path, "combined_validation_context")
	r.only(combined, at, "default_validation_context", "validation_context_sds_secret_config")
	c.validation = r.sds(combined.GetValidationContextSdsSecretConfig(), join(at, "validation_context_sds_secret_config"))
	own := combined.GetDefaultValidationContext()
	at = join(at, "default_validation_context")
	r.only(own, at, "match_typed_subject_alt_names")
	c.names = r.subjectNames(own, at)
}

func (r *reader) tlsVersion(v tlsv3.TlsParameters_TlsProtocol, path string) uint16 {
	switch v {
	case tlsv3.TlsParameters_TLS_AUTO:
		return 0
	case tlsv3.TlsParameters_TLSv1_2:
		return tls.VersionTLS12
	case tlsv3.TlsParameters_TLSv1_3:
		return tls.VersionTLS13
	}
	r.fail(path, "%v is not supported: use TLSv1_2 or TLSv1_3", v)
	return 0
}

func (r *reader) certificate(p *tlsv3.TlsCertificate, path string) *CertificateSecret {
	r.only(p, path, "certificate_chain", "private_key", "watched_directory")
	return &CertificateSecret{
		Chain: r.dataSource(p.GetCertificateChain(), join(path, "certificate_chain")),
		Key:   r.dataSource(p.GetPrivateKey(), join(path, "private_key")),
	}
}

func (r *reader) validation(p *tlsv3.CertificateValidationContext, path string) *ValidationSecret {
	r.only(p, path, "trusted_ca", "system_root_certs", "watched_directory", "match_typed_subject_alt_names")
	v := &ValidationSecret{
		SystemRoots: p.GetSystemRootCerts() != nil,
		Names:       r.subjectNames(p, path),
	}
	switch {
	case p.GetTrustedCa() != nil && v.SystemRoots:
		r.fail(path, "has trusted_ca and system_root_certs")
	case p.GetTrustedCa() != nil:
		v.CA = r.dataSource(p.GetTrustedCa(), join(path, "trusted_ca"))
	case !v.SystemRoots:
		r.fail(path, "needs trusted_ca or system_root_certs")
	}
	return v
}

func (r *reader) subjectNames(p *tlsv3.CertificateValidationContext, path string) []string {
	var names []string
	for i, m := range p.GetMatchTypedSubjectAltNames() {
		at := index(join(path, "match_typed_subject_alt_names"), i)
		exact, ok := m.GetMatcher().GetMatchPattern().(*matcherv3.StringMatcher_Exact)
		switch {
		case m.GetSanType() != tlsv3.SubjectAltNameMatcher_DNS && m.GetSanType() != tlsv3.SubjectAltNameMatcher_IP_ADDRESS:
			r.fail(join(at, "san_type"), "%v is not supported: use DNS or IP_ADDRESS", m.GetSanType())
		case !ok || exact.Exact == "" || m.GetMatcher().GetIgnoreCase():
			r.fail(join(at, "matcher"), "must be exact")
		default:
			names = append(names, exact.Exact)
		}
	}
	return names
}
