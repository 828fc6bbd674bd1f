package listener_test

import (
	"crypto/tls"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/upstream/secrets"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

func certificate(name, cert, key string) *resource.Secret {
	return &resource.Secret{Name: name, Certificate: &resource.CertificateSecret{
		Chain: resource.DataSource{Filename: cert}, Key: resource.DataSource{Filename: key},
	}}
}

// hearTLS is what a client with a configuration is told, or its error.
func hearTLS(t *testing.T, addr string, cfg *tls.Config) (string, *tls.ConnectionState) {
	t.Helper()
	d := tls.Dialer{NetDialer: &net.Dialer{Timeout: 5 * time.Second}, Config: cfg}
	c, err := d.DialContext(t.Context(), "tcp", addr)
	if err != nil {
		return "error: " + err.Error(), nil
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	b, err := io.ReadAll(c)
	if err != nil {
		return "error: " + err.Error(), nil
	}
	state := c.(*tls.Conn).ConnectionState()
	return string(b), &state
}

func TestTLS(t *testing.T) {
	t.Parallel()
	pki := redistest.NewPKI(t)
	other := redistest.NewPKI(t)
	otherCert, otherKey := pki.Issue("other", "other.test", "127.0.0.1")
	f := newFixture(t)
	f.deps.Secrets = secrets.NewStore([]*resource.Secret{
		certificate("cert", pki.ServerCertFile, pki.ServerKeyFile),
		certificate("other", otherCert, otherKey),
		{Name: "ca", Validation: &resource.ValidationSecret{CA: resource.DataSource{Filename: pki.CAFile}}},
	})
	addr := freePort(t)
	l := spec("a", addr, &greeting{text: "in secret"})
	l.TLS = &resource.DownstreamTLS{Certificates: []string{"cert", "other"}}
	f.mustApply(t, l)

	plain := pki.ClientConfig().Clone()
	plain.Certificates, plain.ServerName = nil, "localhost"
	if got, _ := hearTLS(t, addr, plain); got != "in secret" {
		t.Errorf("got %q", got)
	}
	byName := plain.Clone()
	byName.ServerName = "other.test"
	if got, state := hearTLS(t, addr, byName); got != "in secret" || state.PeerCertificates[0].Subject.CommonName != "other" {
		t.Errorf("by SNI: got %q", got)
	}

	mutual := spec("a", addr, &greeting{text: "in secret"})
	mutual.TLS = &resource.DownstreamTLS{Certificates: []string{"cert"}, ClientCA: "ca", RequireClientCert: true}
	f.mustApply(t, mutual)
	if got, _ := hearTLS(t, addr, plain); !strings.HasPrefix(got, "error") {
		t.Errorf("without a certificate: %q", got)
	}
	withCert := pki.ClientConfig().Clone()
	withCert.ServerName = "localhost"
	if got, _ := hearTLS(t, addr, withCert); got != "in secret" {
		t.Errorf("with a certificate: %q", got)
	}
	stranger := withCert.Clone()
	stranger.Certificates = other.ClientConfig().Certificates
	if got, _ := hearTLS(t, addr, stranger); !strings.HasPrefix(got, "error") {
		t.Errorf("with a stranger's certificate: %q", got)
	}

	// A rotation is seen by the next handshake, without a new configuration.
	fresh, freshKey := pki.Issue("fresh", "localhost")
	for from, to := range map[string]string{fresh: pki.ServerCertFile, freshKey: pki.ServerKeyFile} {
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	if got, state := hearTLS(t, addr, withCert); got != "in secret" || state.PeerCertificates[0].Subject.CommonName != "fresh" {
		t.Errorf("after a rotation: %q", got)
	}
	if n := f.all.built.Load(); n != 1 {
		t.Errorf("the filter was built %d times although only TLS changed", n)
	}
}
