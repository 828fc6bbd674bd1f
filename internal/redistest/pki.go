package redistest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// PKI is a certificate authority of one test, with a server's certificate for localhost, 127.0.0.1 and ::1, and a client's. All of it is
// on disk as PEM files, for programs, and can be had as tls.Config.
type PKI struct {
	CAFile                       string
	ServerCertFile               string
	ServerKeyFile                string
	ClientCertFile               string
	ClientKeyFile                string
	dir                          string
	tb                           TB
	caCert                       *x509.Certificate
	caKey                        *ecdsa.PrivateKey
	serverKeyPair, clientKeyPair tls.Certificate
}

// NewPKI makes a new authority, a server's and a client's certificate, valid for a day. Its files are removed when the test ends.
func NewPKI(tb TB) *PKI {
	tb.Helper()
	dir, err := os.MkdirTemp("", "pki")
	if err != nil {
		tb.Fatalf("making a directory for certificates: %v", err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	p := &PKI{tb: tb, dir: dir, CAFile: filepath.Join(dir, "ca.crt")}
	if err := p.makeCA(); err != nil {
		tb.Fatalf("making a certificate authority: %v", err)
	}
	p.ServerCertFile, p.ServerKeyFile = p.Issue("server", "localhost", "127.0.0.1", "::1")
	p.ClientCertFile, p.ClientKeyFile = p.Issue("client")
	p.serverKeyPair = p.load(p.ServerCertFile, p.ServerKeyFile)
	p.clientKeyPair = p.load(p.ClientCertFile, p.ClientKeyFile)
	return p
}

// Issue makes a further certificate, good for servers and clients alike, for host names and addresses, and returns its files.
func (p *PKI) Issue(commonName string, hosts ...string) (certFile, keyFile string) {
	p.tb.Helper()
	return p.issue(newTemplate(commonName), hosts)
}

// IssueExpired is Issue of a certificate that was good until yesterday.
func (p *PKI) IssueExpired(commonName string, hosts ...string) (certFile, keyFile string) {
	p.tb.Helper()
	template := newTemplate(commonName)
	template.NotBefore, template.NotAfter = template.NotBefore.Add(-48*time.Hour), template.NotBefore.Add(-24*time.Hour)
	return p.issue(template, hosts)
}

func (p *PKI) issue(template *x509.Certificate, hosts []string) (certFile, keyFile string) {
	p.tb.Helper()
	commonName := template.Subject.CommonName
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	certFile = filepath.Join(p.dir, commonName+".crt")
	keyFile = filepath.Join(p.dir, commonName+".key")
	if err := p.sign(template, certFile, keyFile); err != nil {
		p.tb.Fatalf("issuing a certificate for %s: %v", commonName, err)
	}
	return certFile, keyFile
}

// ServerConfig is for a TLS server of this authority. It asks for a client's certificate and verifies it when there is one.
func (p *PKI) ServerConfig() *tls.Config {
	return &tls.Config{
		MinVersion:   tls.VersionTLS12,
		Certificates: []tls.Certificate{p.serverKeyPair},
		ClientCAs:    p.pool(),
		ClientAuth:   tls.VerifyClientCertIfGiven,
	}
}

// ClientConfig is for a TLS client that trusts this authority, and shows its client's certificate when asked.
func (p *PKI) ClientConfig() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{p.clientKeyPair}, RootCAs: p.pool()}
}

func (p *PKI) makeCA() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := newTemplate("redistest CA")
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return err
	}
	p.caKey = key
	if p.caCert, err = x509.ParseCertificate(der); err != nil {
		return err
	}
	return writePEM(p.CAFile, "CERTIFICATE", der)
}

func (p *PKI) sign(template *x509.Certificate, certFile, keyFile string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.CreateCertificate(rand.Reader, template, p.caCert, &key.PublicKey, p.caKey)
	if err != nil {
		return err
	}
	if err := writePEM(certFile, "CERTIFICATE", der); err != nil {
		return err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return writePEM(keyFile, "PRIVATE KEY", keyDER)
}

func (p *PKI) load(certFile, keyFile string) tls.Certificate {
	p.tb.Helper()
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		p.tb.Fatalf("loading %s: %v", certFile, err)
	}
	return pair
}

func (p *PKI) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(p.caCert)
	return pool
}

func newTemplate(commonName string) *x509.Certificate {
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()),
		Subject:      pkix.Name{CommonName: commonName},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.Add(24 * time.Hour),
	}
}

func writePEM(path, kind string, der []byte) error {
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}
