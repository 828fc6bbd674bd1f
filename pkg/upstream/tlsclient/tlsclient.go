// Package tlsclient makes the client side of TLS for upstream endpoints.
// Certificates and trusted roots are read at each handshake, so that a rotation
// needs no new configuration.
package tlsclient

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/dragoman-mesh/dragoman/pkg/upstream/secrets"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// Errors of a handshake's verification.
var (
	ErrNoCertificate = errors.New("peer shows no certificate")
	ErrName          = errors.New("peer's certificate carries none of the names that are allowed")
)

// sessions is how many sessions are kept to resume, per endpoint.
const sessions = 4

// Source gives out certificates and trusted roots by the name of their secret.
type Source interface {
	Certificate(name string) (*tls.Certificate, error)
	Validation(name string) (secrets.Validation, error)
}

// Peer is the endpoint that the configuration is for.
type Peer struct {
	Hostname string // without port; "" where only an address is known
	IP       string // "" for a unix socket
}

// Config returns the configuration of handshakes with one endpoint:
//
//   - without spec.Validation the channel is encrypted and nothing is verified;
//   - with it, the peer's certificate must lead to one of its roots, and carry
//     one of its names if it has any;
//   - with spec.VerifyName too, the certificate must be for the name that is
//     sent as SNI, else for the peer's host name, else for its address.
func Config(spec *resource.UpstreamTLS, peer Peer, source Source) *tls.Config {
	cfg := &tls.Config{
		ServerName: ServerName(spec, peer),
		MinVersion: max(spec.MinVersion, tls.VersionTLS12),
		MaxVersion: spec.MaxVersion,
		NextProtos: spec.ALPN,
		// VerifyConnection does all the verification, against roots that may
		// change, also of sessions that are resumed.
		InsecureSkipVerify: true, //nolint:gosec // see above
		ClientSessionCache: tls.NewLRUClientSessionCache(sessions),
	}
	if spec.Certificate != "" {
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return source.Certificate(spec.Certificate)
		}
	}
	if spec.Validation != "" {
		name := ""
		if spec.VerifyName {
			name = firstOf(cfg.ServerName, peer.Hostname, peer.IP)
		}
		cfg.VerifyConnection = func(state tls.ConnectionState) error {
			trust, err := source.Validation(spec.Validation)
			if err != nil {
				return err
			}
			return verify(state.PeerCertificates, trust, name)
		}
	}
	return cfg
}

// ServerName is the name that is sent as SNI, "" if none is.
func ServerName(spec *resource.UpstreamTLS, peer Peer) string {
	if spec.ServerName == "" && spec.AutoServerName {
		return peer.Hostname
	}
	return spec.ServerName
}

func verify(chain []*x509.Certificate, trust secrets.Validation, name string) error {
	if len(chain) == 0 {
		return ErrNoCertificate
	}
	opts := x509.VerifyOptions{Roots: trust.Roots, DNSName: name, Intermediates: x509.NewCertPool()}
	for _, c := range chain[1:] {
		opts.Intermediates.AddCert(c)
	}
	if _, err := chain[0].Verify(opts); err != nil {
		return err
	}
	if len(trust.Names) == 0 {
		return nil
	}
	for _, allowed := range trust.Names {
		if chain[0].VerifyHostname(allowed) == nil {
			return nil
		}
	}
	return fmt.Errorf("%w: %v", ErrName, trust.Names)
}

func firstOf(names ...string) string {
	for _, n := range names {
		if n != "" {
			return n
		}
	}
	return ""
}
