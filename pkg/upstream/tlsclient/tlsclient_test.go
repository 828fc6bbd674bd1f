package tlsclient_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/filetest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/upstream/probe"
	"github.com/dragoman-mesh/dragoman/pkg/upstream/secrets"
	"github.com/dragoman-mesh/dragoman/pkg/upstream/tlsclient"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

func file(path string) resource.DataSource { return resource.DataSource{Filename: path} }

func store(caFile, certFile, keyFile string, names ...string) *secrets.Store {
	return secrets.NewStore([]*resource.Secret{
		{Name: "ca", Validation: &resource.ValidationSecret{CA: file(caFile), Names: names}},
		{Name: "cert", Certificate: &resource.CertificateSecret{Chain: file(certFile), Key: file(keyFile)}},
	})
}

func ping(t *testing.T, addr string, cfg *tls.Config) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	c, err := probe.Dial(ctx, probe.Target{Network: "tcp", Address: addr, TLS: cfg})
	if err != nil {
		return err
	}
	defer c.Close()
	return c.Ping(ctx)
}

func TestModes(t *testing.T) {
	t.Parallel()
	pki, other := redistest.NewPKI(t), redistest.NewPKI(t)
	node := redistest.Server(t, redistest.WithTLS(pki))
	mutual := redistest.Server(t, redistest.WithTLS(pki), redistest.WithConfig("tls-auth-clients yes"))
	right := store(pki.CAFile, pki.ClientCertFile, pki.ClientKeyFile)
	wrong := store(other.CAFile, other.ClientCertFile, other.ClientKeyFile)
	named := store(pki.CAFile, "", "", "redis.example", "localhost")
	misnamed := store(pki.CAFile, "", "", "redis.example")
	localhost := tlsclient.Peer{Hostname: "localhost", IP: "127.0.0.1"}
	full := resource.UpstreamTLS{Validation: "ca", VerifyName: true, AutoServerName: true}
	chain := resource.UpstreamTLS{Validation: "ca"}
	tests := []struct {
		name   string
		addr   string
		spec   resource.UpstreamTLS
		peer   tlsclient.Peer
		source *secrets.Store
		ok     bool
	}{
		{"require", node.Addr(), resource.UpstreamTLS{}, localhost, wrong, true},
		{"verify-ca", node.Addr(), chain, tlsclient.Peer{Hostname: "elsewhere"}, right, true},
		{"verify-ca, unknown authority", node.Addr(), chain, localhost, wrong, false},
		{"verify-full by name", node.Addr(), full, localhost, right, true},
		{"verify-full by address", node.Addr(), full, tlsclient.Peer{IP: "127.0.0.1"}, right, true},
		{"verify-full, another name", node.Addr(), full, tlsclient.Peer{Hostname: "elsewhere", IP: "127.0.0.1"}, right, false},
		{"verify-full, another address", node.Addr(), full, tlsclient.Peer{IP: "127.0.0.2"}, right, false},
		{"one of the names", node.Addr(), chain, localhost, named, true},
		{"none of the names", node.Addr(), chain, localhost, misnamed, false},
		{"client's certificate", mutual.Addr(), resource.UpstreamTLS{Certificate: "cert", Validation: "ca"}, localhost, right, true},
		{"no client's certificate", mutual.Addr(), chain, localhost, right, false},
		{"TLS 1.2", node.Addr(), resource.UpstreamTLS{MaxVersion: tls.VersionTLS12}, localhost, right, true},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			err := ping(t, tc.addr, tlsclient.Config(&tc.spec, tc.peer, tc.source))
			if (err == nil) != tc.ok {
				t.Errorf("ping = %v, want ok = %v", err, tc.ok)
			}
		})
	}
}

func TestRootsAreReadAgain(t *testing.T) {
	t.Parallel()
	pki, other := redistest.NewPKI(t), redistest.NewPKI(t)
	node := redistest.Server(t, redistest.WithTLS(pki))
	ca := filepath.Join(t.TempDir(), "ca.crt")
	spec := &resource.UpstreamTLS{Validation: "ca"}
	cfg := tlsclient.Config(spec, tlsclient.Peer{IP: "127.0.0.1"}, store(ca, "", ""))
	for _, step := range []struct {
		from string
		ok   bool
	}{{pki.CAFile, true}, {other.CAFile, false}, {pki.CAFile, true}} {
		replace(t, ca, step.from)
		if err := ping(t, node.Addr(), cfg); (err == nil) != step.ok {
			t.Errorf("with the roots of %s: %v, want ok = %v", step.from, err, step.ok)
		}
	}
}

func replace(t *testing.T, path, from string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	filetest.Put(t, path, b)
}

// TestSessionsAreResumed also pins that a resumed session is verified again: a
// root that is no longer trusted ends it.
func TestSessionsAreResumed(t *testing.T) {
	t.Parallel()
	pki, other := redistest.NewPKI(t), redistest.NewPKI(t)
	node := redistest.Server(t, redistest.WithTLS(pki))
	ca := filepath.Join(t.TempDir(), "ca.crt")
	replace(t, ca, pki.CAFile)
	spec := &resource.UpstreamTLS{Validation: "ca", MaxVersion: tls.VersionTLS12}
	cfg := tlsclient.Config(spec, tlsclient.Peer{IP: "127.0.0.1"}, store(ca, "", ""))
	resumed := false
	verify := cfg.VerifyConnection
	cfg.VerifyConnection = func(s tls.ConnectionState) error {
		resumed = s.DidResume
		return verify(s)
	}
	for i := range 2 {
		if err := ping(t, node.Addr(), cfg); err != nil {
			t.Fatalf("handshake %d: %v", i+1, err)
		}
	}
	if !resumed {
		t.Error("the second handshake is a full one")
	}
	replace(t, ca, other.CAFile)
	if err := ping(t, node.Addr(), cfg); err == nil {
		t.Error("a resumed session escapes the new roots")
	}
}

// TestExpired: a certificate whose time is over is refused as soon as anything of it is
// verified.
func TestExpired(t *testing.T) {
	t.Parallel()
	pki := redistest.NewPKI(t)
	pair, err := tls.LoadX509KeyPair(pki.IssueExpired("expired", "localhost", "127.0.0.1"))
	if err != nil {
		t.Fatal(err)
	}
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_ = c.(*tls.Conn).HandshakeContext(t.Context())
			_ = c.Close()
		}
	}()
	for name, spec := range map[string]resource.UpstreamTLS{
		"verify-ca":   {Validation: "ca"},
		"verify-full": {Validation: "ca", VerifyName: true, AutoServerName: true},
	} {
		err := ping(t, ln.Addr().String(), tlsclient.Config(&spec, tlsclient.Peer{Hostname: "localhost", IP: "127.0.0.1"}, store(pki.CAFile, "", "")))
		if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); !ok || invalid.Reason != x509.Expired {
			t.Errorf("%s: %v", name, err)
		}
	}
}
