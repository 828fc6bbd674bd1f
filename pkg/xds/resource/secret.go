package resource

import (
	"reflect"

	secretv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
)

// Secret is one SDS secret. Exactly one of Generic, Certificate and Validation
// is set.
type Secret struct {
	Name        string
	Generic     map[string]DataSource // by key; a single value has the key ""
	Certificate *CertificateSecret
	Validation  *ValidationSecret
	Raw         *secretv3.Secret // nil if the secret was inline in another resource
}

// SecretKey names one value of a generic secret. The zero value names none.
type SecretKey struct {
	Name string // of the Secret
	Key  string // within Secret.Generic
}

// Set reports whether a secret is named.
func (k SecretKey) Set() bool { return k.Name != "" }

// DataSource says where bytes come from. Exactly one field is set, unless the
// value is an empty inline one.
type DataSource struct {
	Inline   []byte
	Filename string // read again when the file changes
	Env      string // name of an environment variable
}

// CertificateSecret is a certificate chain and its private key, both PEM.
type CertificateSecret struct {
	Chain DataSource
	Key   DataSource
}

// ValidationSecret says whom to trust.
type ValidationSecret struct {
	CA          DataSource // PEM; unset with SystemRoots
	SystemRoots bool
	// Names, of which the peer's certificate must carry one (exact DNS names or
	// IP addresses); empty: any name.
	Names []string
}

// Equal reports whether two secrets are the same but for Raw.
func (s *Secret) Equal(other *Secret) bool {
	a, b := *s, *other
	a.Raw, b.Raw = nil, nil
	return reflect.DeepEqual(a, b)
}
