package fetch

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"

	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// maxPEM bounds a file of certificates.
const maxPEM = 1 << 20

// StartTLS makes the connection one of TLS, with the files as they are now.
// address is that of the server, whose name the certificate must have unless t
// names another.
func StartTLS(ctx context.Context, conn net.Conn, t *resource.MetricsTLS, address string) (net.Conn, error) {
	cfg, err := TLSConfig(t, address)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	c := tls.Client(conn, cfg)
	if err := c.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return c, nil
}

// TLSConfig reads the files as they are now. address is as in [StartTLS].
func TLSConfig(t *resource.MetricsTLS, address string) (*tls.Config, error) {
	cfg := &tls.Config{
		MinVersion: tls.VersionTLS12, ServerName: t.ServerName,
		InsecureSkipVerify: t.InsecureSkipVerify, //nolint:gosec // the document asks for it
	}
	if cfg.ServerName == "" {
		cfg.ServerName = address
		if host, _, err := net.SplitHostPort(address); err == nil {
			cfg.ServerName = host
		}
	}
	if t.CAFile != "" {
		pem, err := ReadFile(t.CAFile, maxPEM)
		if err != nil {
			return nil, fmt.Errorf("reading authorities: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate", t.CAFile)
		}
	}
	if t.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("reading our certificate: %w", err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg, nil
}
