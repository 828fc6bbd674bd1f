package resource

import (
	"maps"
	"slices"
	"strconv"

	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
)

// ParseSecret validates a secret. The error is an Errors; it never holds a
// value.
func ParseSecret(p *tlsv3.Secret) (*Secret, error) {
	r := &reader{typeURL: SecretType, name: p.GetName()}
	s := &Secret{Name: p.GetName(), Raw: p}
	if s.Name == "" {
		r.fail("name", "is missing")
	}
	switch t := p.GetType().(type) {
	case *tlsv3.Secret_GenericSecret:
		s.Generic = r.generic(t.GenericSecret)
	case *tlsv3.Secret_TlsCertificate:
		s.Certificate = r.certificate(t.TlsCertificate, "tls_certificate")
	case *tlsv3.Secret_ValidationContext:
		s.Validation = r.validation(t.ValidationContext, "validation_context")
	default:
		r.fail("", "must be a generic_secret, tls_certificate or validation_context")
	}
	return s, r.err()
}

func (r *reader) generic(p *tlsv3.GenericSecret) map[string]DataSource {
	values := make(map[string]DataSource, len(p.GetSecrets())+1)
	if p.GetSecret() != nil {
		values[""] = r.dataSource(p.GetSecret(), "generic_secret.secret")
	}
	for _, key := range slices.Sorted(maps.Keys(p.GetSecrets())) {
		values[key] = r.dataSource(p.GetSecrets()[key], "generic_secret.secrets["+strconv.Quote(key)+"]")
	}
	if len(values) == 0 {
		r.fail("generic_secret", "is empty")
	}
	return values
}
