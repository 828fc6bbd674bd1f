package listener

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/upstream/secrets"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// SecretSource gives out the secrets of a snapshot as they are now.
type SecretSource interface {
	filters.SecretSource
	Certificate(name string) (*tls.Certificate, error)
	Validation(name string) (secrets.Validation, error)
}

// Errors of a client's certificate.
var (
	ErrNoCertificate = errors.New("client shows no certificate")
	ErrName          = errors.New("client's certificate carries none of the names that are allowed")
)

// serverTLS makes the server's side of TLS; nil for plain text. Certificates
// and authorities are read at each handshake, so that a rotation needs no new
// configuration.
func serverTLS(spec *resource.DownstreamTLS, source SecretSource) *tls.Config {
	if spec == nil {
		return nil
	}
	cfg := &tls.Config{
		MinVersion: max(spec.MinVersion, tls.VersionTLS12),
		MaxVersion: spec.MaxVersion,
		NextProtos: spec.ALPN,
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			return choose(hello, spec.Certificates, source)
		},
	}
	if spec.ClientCA == "" {
		return cfg
	}
	cfg.ClientAuth = tls.RequestClientCert
	if spec.RequireClientCert {
		cfg.ClientAuth = tls.RequireAnyClientCert
	}
	cfg.VerifyConnection = func(state tls.ConnectionState) error {
		return verifyClient(state.PeerCertificates, spec, source)
	}
	return cfg
}

// choose takes the first certificate that suits the client, else the first.
func choose(hello *tls.ClientHelloInfo, names []string, source SecretSource) (*tls.Certificate, error) {
	var first *tls.Certificate
	for _, name := range names {
		cert, err := source.Certificate(name)
		if err != nil {
			return nil, err
		}
		if hello.SupportsCertificate(cert) == nil {
			return cert, nil
		}
		if first == nil {
			first = cert
		}
	}
	return first, nil
}

// verifyClient runs for resumed sessions too, against the authorities of now.
func verifyClient(chain []*x509.Certificate, spec *resource.DownstreamTLS, source SecretSource) error {
	if len(chain) == 0 {
		if spec.RequireClientCert {
			return ErrNoCertificate
		}
		return nil
	}
	trust, err := source.Validation(spec.ClientCA)
	if err != nil {
		return err
	}
	opts := x509.VerifyOptions{
		Roots: trust.Roots, Intermediates: x509.NewCertPool(),
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	for _, c := range chain[1:] {
		opts.Intermediates.AddCert(c)
	}
	if _, err := chain[0].Verify(opts); err != nil {
		return err
	}
	for _, names := range [][]string{trust.Names, spec.ClientNames} {
		if len(names) > 0 && !carries(chain[0], names) {
			return fmt.Errorf("%w: %v", ErrName, names)
		}
	}
	return nil
}

func carries(cert *x509.Certificate, names []string) bool {
	for _, n := range names {
		if cert.VerifyHostname(n) == nil {
			return true
		}
	}
	return false
}
