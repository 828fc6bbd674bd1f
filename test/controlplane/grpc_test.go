package controlplane_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/xds"

	"github.com/dragoman-mesh/dragoman/internal/filetest"
)

const web = `
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {ports: [{port: 80}]}
`

// healthServer answers health checks on a port of its own. Two endpoints of one
// address are one endpoint to Kubernetes; so each has its own.
func healthServer(t *testing.T, host string) string {
	t.Helper()
	s := grpc.NewServer()
	grpc_health_v1.RegisterHealthServer(s, health.NewServer())
	ln, err := net.Listen("tcp", host+":0")
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve(ln)
	t.Cleanup(s.Stop)
	return ln.Addr().String()
}

func slice(addresses ...string) string {
	var text string
	for i, address := range addresses {
		host, port, _ := strings.Cut(address, ":")
		text += fmt.Sprintf(`---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-%d, namespace: shop, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{port: %s}]
endpoints: [{addresses: [%s]}]
`, i, port, host)
	}
	return text
}

// foreign makes gRPC's own xDS client of somebody with a certificate.
func (s *setup) foreign(cert *tls.Certificate) resolver.Builder {
	s.t.Helper()
	dir := s.t.TempDir()
	key, err := x509.MarshalECPrivateKey(cert.PrivateKey.(*ecdsa.PrivateKey))
	if err != nil {
		s.t.Fatal(err)
	}
	files := map[string]*pem.Block{
		"client.crt": {Type: "CERTIFICATE", Bytes: cert.Certificate[0]},
		"client.key": {Type: "EC PRIVATE KEY", Bytes: key},
	}
	for name, block := range files {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
	r, err := xds.NewXDSResolverWithConfigForTesting(fmt.Appendf(nil, `{
		"xds_servers": [{"server_uri": %q, "channel_creds": [{"type": "tls", "config": {
			"ca_certificate_file": %q, "certificate_file": %q, "private_key_file": %q}}]}],
		"node": {"id": "a gRPC client"}}`,
		s.XDS, s.CAFile, filepath.Join(dir, "client.crt"), filepath.Join(dir, "client.key")))
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

// TestGRPCClientCallsAService: grpc-go's xDS client, with a certificate, resolves
// a Service through the control plane, calls all of its endpoints, and follows
// them. One of another namespace gets nothing.
func TestGRPCClientCallsAService(t *testing.T) {
	t.Parallel()
	known := newClients(t)
	s := start(t, "--client-ca-file", known.file)
	a, b, c := healthServer(t, "127.0.0.1"), healthServer(t, "127.0.0.2"), healthServer(t, "127.0.0.3")
	filetest.Put(s.t, s.documents, web+slice(a, b))
	s.shows("/metrics", "dragoman_controlplane_changes_total")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()

	conn := dialXDS(t, s.foreign(known.issue("", "spiffe://mesh.example/ns/shop/sa/batch")))
	untilCalled(ctx, t, conn, a, b)
	filetest.Put(s.t, s.documents, web+slice(c))
	untilCalled(ctx, t, conn, c)

	stranger := dialXDS(t, s.foreign(known.issue("", "spiffe://mesh.example/ns/bank/sa/batch")))
	_, err := grpc_health_v1.NewHealthClient(stranger).Check(ctx, &grpc_health_v1.HealthCheckRequest{})
	if status.Code(err) != codes.Unavailable {
		t.Errorf("another namespace calls it, too: %v", err)
	}
}

func dialXDS(t *testing.T, r resolver.Builder) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("xds:///web.shop:80", grpc.WithResolvers(r), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// untilCalled calls until all of these answer, and nobody else.
func untilCalled(ctx context.Context, t *testing.T, conn *grpc.ClientConn, addresses ...string) {
	t.Helper()
	const calls = 20
	for {
		seen := map[string]int{}
		for range calls {
			var p peer.Peer
			_, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{}, grpc.Peer(&p), grpc.WaitForReady(true))
			if err != nil {
				t.Fatalf("%v; calls so far: %v, want %v", err, seen, addresses)
			}
			seen[p.Addr.String()]++
		}
		all := len(seen) == len(addresses)
		for _, address := range addresses {
			all = all && seen[address] > 1
		}
		if all {
			return
		}
	}
}
