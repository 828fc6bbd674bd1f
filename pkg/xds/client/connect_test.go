package client_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/dragoman-mesh/dragoman/pkg/xds/client"
)

// TestUnixSocket reaches a control plane on the same machine.
func TestUnixSocket(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "xds.sock")
	var config net.ListenConfig
	l, err := config.Listen(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	(&ads{delta: simple}).register(s)
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() { s.Stop(); <-done })
	for _, target := range []string{"unix://" + path, "unix:" + path} {
		proxy := newConsumer()
		_, stop := start(t, options(t, proxy, target))
		proxy.runs(t, "l1:c1:10.0.0.1")
		stop()
	}
}

// TestTLS reads the authority anew for every connection: one that is wrong at
// first is put right without a restart.
func TestTLS(t *testing.T) {
	t.Parallel()
	authority := httptest.NewTLSServer(nil)
	defer authority.Close()
	good := x509.NewCertPool()
	good.AddCert(authority.Certificate())
	address, _ := serve(t, (&ads{delta: simple}).register, grpc.Creds(credentials.NewServerTLSFromCert(&authority.TLS.Certificates[0])))
	var right atomic.Bool
	proxy := newConsumer()
	o := options(t, proxy, address)
	o.Credentials = func(string) (credentials.TransportCredentials, error) {
		pool := x509.NewCertPool()
		if right.Load() {
			pool = good
		}
		return credentials.NewTLS(&tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}), nil
	}
	c, _ := start(t, o)
	eventually(t, func() bool { return strings.Contains(c.Status().LastError, "certificate") },
		func() string { return "the last error is " + c.Status().LastError })
	right.Store(true)
	proxy.runs(t, "l1:c1:10.0.0.1")
}

// TestForeignChurn changes everything all the time, and breaks the connection
// now and then; in the end what is there runs.
func TestForeignChurn(t *testing.T) {
	t.Parallel()
	for _, mode := range []client.Mode{client.Delta, client.SotW} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			f := newForeign(false)
			address, stop := serve(t, f.register)
			proxy := newConsumer()
			o := options(t, proxy, address)
			o.Mode, o.CachePath = mode, cachePath(t)
			start(t, o)
			r := rand.New(rand.NewPCG(1, uint64(mode)))
			for i := range 150 {
				f.set(t, someResources(r)...)
				if i%50 == 49 {
					stop()
					_, stop = serveAt(t, address, f.register)
				}
			}
			f.set(t, listener("l1", 1001, "c1"), edsCluster("c1"), assignment("c1", "10.0.0.99"),
				tlsListener("l2", 1002, "c2", "s1"), staticCluster("c2", "10.0.0.98"), certificate("s1"))
			proxy.runs(t, "l1:c1:10.0.0.99", "l2:c2:10.0.0.98")
		})
	}
}

// someResources are valid and complete, but different each time.
func someResources(r *rand.Rand) []types.Resource {
	out := []types.Resource{certificate("s1")}
	for i := range 4 {
		name, host := fmt.Sprint("c", i), fmt.Sprintf("10.0.%d.%d", i, r.IntN(200))
		if r.IntN(2) == 0 {
			out = append(out, staticCluster(name, host))
		} else {
			out = append(out, edsCluster(name), assignment(name, host))
		}
		cluster := fmt.Sprint("c", r.IntN(i+1)) // one that is there
		switch r.IntN(3) {
		case 0:
			out = append(out, listener(fmt.Sprint("l", i), 1001+i, cluster))
		case 1:
			out = append(out, tlsListener(fmt.Sprint("l", i), 1001+i, cluster, "s1"))
		}
	}
	return out
}
