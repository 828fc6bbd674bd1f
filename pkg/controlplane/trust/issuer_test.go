package trust_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/controlplane/trust"
)

const day = 24 * time.Hour

// clock is one that the test moves.
type clock struct{ now atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.now.Store(time.Now().Unix())
	return c
}

func (c *clock) Now() time.Time          { return time.Unix(c.now.Load(), 0) }
func (c *clock) advance(d time.Duration) { c.now.Add(int64(d / time.Second)) }

func open(t *testing.T, dir string, c *clock) *trust.Issuer {
	t.Helper()
	i, err := trust.Open(t.Context(), trust.Options{
		Store: trust.NewFolder(dir), Names: []string{"dragoman.example", "127.0.0.1"},
		Log: slog.New(slog.DiscardHandler), Now: c.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func renew(t *testing.T, i *trust.Issuer) {
	t.Helper()
	if err := i.Renew(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// verify checks the certificate as a proxy does that trusts a bundle.
func verify(i *trust.Issuer, bundle []byte, name string, now time.Time) error {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(bundle)
	_, err := i.Certificate().Verify(x509.VerifyOptions{Roots: pool, DNSName: name, CurrentTime: now})
	return err
}

// TestAuthorityIsMadeOnce: the second start, and another replica, find the
// authority that the first has made; nobody else may read its key.
func TestAuthorityIsMadeOnce(t *testing.T) {
	t.Parallel()
	dir, c := filepath.Join(t.TempDir(), "pki"), newClock()
	first := open(t, dir, c)
	second := open(t, dir, c)
	if string(first.Bundle()) != string(second.Bundle()) {
		t.Error("the second start made another authority")
	}
	for _, name := range []string{"dragoman.example", "127.0.0.1"} {
		if err := verify(second, first.Bundle(), name, c.Now()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if verify(second, first.Bundle(), "other.example", c.Now()) == nil {
		t.Error("the certificate is good for names that nobody gave")
	}
	published, err := os.ReadFile(filepath.Join(dir, trust.BundleFile))
	if err != nil || string(published) != string(first.Bundle()) {
		t.Errorf("published: %v\n%s", err, published)
	}
	for name, want := range map[string]fs.FileMode{"authority.json": 0o600, trust.BundleFile: 0o644} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v, want %v", name, info.Mode(), err, want)
		}
	}
}

// TestReplicasStartAtOnce: of several that find nothing, one makes the
// authority and the others take it.
func TestReplicasStartAtOnce(t *testing.T) {
	t.Parallel()
	dir, c := t.TempDir(), newClock()
	const replicas = 4
	bundles := make(chan string, replicas)
	for range replicas {
		go func() {
			i, err := trust.Open(t.Context(), trust.Options{
				Store: trust.NewFolder(dir), Names: []string{"a"}, Log: slog.New(slog.DiscardHandler), Now: c.Now,
			})
			if err != nil {
				bundles <- err.Error()
				return
			}
			bundles <- string(i.Bundle())
		}()
	}
	first := <-bundles
	for range replicas - 1 {
		if other := <-bundles; other != first {
			t.Errorf("replicas differ:\n%s\n%s", first, other)
		}
	}
}

// TestBrokenAuthorityIsNotReplaced: a new one in its place would cut off every
// proxy.
func TestBrokenAuthorityIsNotReplaced(t *testing.T) {
	t.Parallel()
	dir, c := t.TempDir(), newClock()
	open(t, dir, c)
	if err := os.WriteFile(filepath.Join(dir, "authority.json"), []byte(`{"tls.crt": "gone"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := trust.Open(t.Context(), trust.Options{
		Store: trust.NewFolder(dir), Names: []string{"a"}, Log: slog.New(slog.DiscardHandler), Now: c.Now,
	})
	if err == nil || !strings.Contains(err.Error(), "mend it, or remove it") {
		t.Errorf("got %v", err)
	}
}

// TestCertificateIsRenewedInTime: after two thirds of its life, and not before.
func TestCertificateIsRenewedInTime(t *testing.T) {
	t.Parallel()
	c := newClock()
	i := open(t, t.TempDir(), c)
	first := i.Certificate().SerialNumber
	c.advance(15 * time.Hour)
	renew(t, i)
	if i.Certificate().SerialNumber.Cmp(first) != 0 {
		t.Error("renewed before its time")
	}
	c.advance(2 * time.Hour)
	renew(t, i)
	if i.Certificate().SerialNumber.Cmp(first) == 0 {
		t.Error("not renewed after two thirds of its life")
	}
	if err := verify(i, i.Bundle(), "dragoman.example", c.Now().Add(20*time.Hour)); err != nil {
		t.Error(err)
	}
}

// TestAuthorityChangesWithOverlap follows an authority to its end. At every
// moment a proxy that read the bundle a day ago trusts the certificate that is
// shown now.
func TestAuthorityChangesWithOverlap(t *testing.T) {
	t.Parallel()
	c := newClock()
	i := open(t, t.TempDir(), c)
	original, yesterday := string(i.Bundle()), i.Bundle()
	sizes := []int{}
	c.advance(8*365*day - 2*day) // the last two years of ten are about to begin
	for range 24 {
		renew(t, i)
		if err := verify(i, yesterday, "dragoman.example", c.Now()); err != nil {
			t.Fatalf("with the bundle of the day before: %v", err)
		}
		yesterday = i.Bundle()
		if n := strings.Count(string(yesterday), "BEGIN"); len(sizes) == 0 || sizes[len(sizes)-1] != n {
			sizes = append(sizes, n)
		}
		c.advance(day)
	}
	if len(sizes) != 3 || sizes[0] != 1 || sizes[1] != 2 || sizes[2] != 1 {
		t.Errorf("authorities that were trusted at a time: %v, want 1, 2 and 1 again", sizes)
	}
	if string(yesterday) == original {
		t.Error("the old authority still signs")
	}
}

// TestConnectionOutlivesRotation: a connection made before goes on, one made
// afterwards sees the new certificate.
func TestConnectionOutlivesRotation(t *testing.T) {
	t.Parallel()
	c := newClock()
	i := open(t, t.TempDir(), c)
	addr := echo(t, i)
	before := dial(t, addr, i.Bundle(), c)
	c.advance(20 * time.Hour)
	renew(t, i)
	after := dial(t, addr, i.Bundle(), c)
	if serial(before) == serial(after) {
		t.Error("the new connection sees the old certificate")
	}
	for name, conn := range map[string]*tls.Conn{"before": before, "after": after} {
		if _, err := conn.Write([]byte("ping\n")); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		line, err := bufio.NewReader(conn).ReadString('\n')
		if err != nil || line != "ping\n" {
			t.Errorf("%s: %q, %v", name, line, err)
		}
	}
}

func serial(c *tls.Conn) string { return c.ConnectionState().PeerCertificates[0].SerialNumber.String() }

// echo serves lines back over TLS.
func echo(t *testing.T, i *trust.Issuer) string {
	t.Helper()
	ln, err := tls.Listen("tcp", "127.0.0.1:0", i.ServerConfig(nil))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				line, _ := bufio.NewReader(conn).ReadString('\n')
				_, _ = conn.Write([]byte(line))
			}()
		}
	}()
	return ln.Addr().String()
}

func dial(t *testing.T, addr string, bundle []byte, c *clock) *tls.Conn {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(bundle)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	d := tls.Dialer{NetDialer: &net.Dialer{}, Config: &tls.Config{RootCAs: pool, Time: c.Now, ServerName: "dragoman.example", MinVersion: tls.VersionTLS12}}
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn.(*tls.Conn)
}
