package sqlprobe_test

import (
	"crypto/tls"
	"errors"
	"net"
	"testing"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/internal/nettest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/upstream/probe"
)

// TestHintOfTLS: where TLS ends before PostgreSQL, as at a balancer, a plain session and
// one that asks for TLS in the protocol are told what is there.
func TestHintOfTLS(t *testing.T) {
	t.Parallel()
	pki := redistest.NewPKI(t)
	certificate, err := tls.LoadX509KeyPair(pki.ServerCertFile, pki.ServerKeyFile)
	if err != nil {
		t.Fatal(err)
	}
	addr := nettest.Serve(t, func(c net.Conn) {
		_ = tls.Server(c, &tls.Config{Certificates: []tls.Certificate{certificate}}).HandshakeContext(t.Context())
	})
	target := postgresAt(addr, dbtest.SCRAMUser)
	if _, err := ask(t, target); !errors.Is(err, probe.ErrSpeaksTLS) {
		t.Errorf("plain: %v", err)
	}
	target.TLS, target.StartTLS = trusting(pki), true
	if _, err := ask(t, target); !errors.Is(err, probe.ErrSpeaksTLS) {
		t.Errorf("with TLS in the protocol: %v", err)
	}
}
