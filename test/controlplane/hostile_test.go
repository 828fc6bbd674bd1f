package controlplane_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/dragoman-mesh/dragoman/internal/adstest"
	"github.com/dragoman-mesh/dragoman/internal/filetest"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// clients is an authority of client certificates.
type clients struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

func newClients(t *testing.T) *clients {
	t.Helper()
	c := &clients{t: t, file: filepath.Join(t.TempDir(), "clients.crt")}
	template := template("clients")
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign
	c.key = newKey(t)
	c.cert = c.sign(template, template, c.key)
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.cert.Raw})
	if err := os.WriteFile(c.file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return c
}

func template(commonName string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: commonName},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
	}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (c *clients) sign(template, parent *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
	c.t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, c.key)
	if err != nil {
		c.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		c.t.Fatal(err)
	}
	return cert
}

// issue makes a certificate for a common name or a URI.
func (c *clients) issue(commonName, uri string) *tls.Certificate {
	c.t.Helper()
	template := template(commonName)
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	if uri != "" {
		u, err := url.Parse(uri)
		if err != nil {
			c.t.Fatal(err)
		}
		template.URIs = []*url.URL{u}
	}
	key := newKey(c.t)
	return &tls.Certificate{Certificate: [][]byte{c.sign(template, c.cert, key).Raw}, PrivateKey: key}
}

// TestClientCertificates: a node is known by the name in its certificate, and a
// stranger's certificate does not even make a connection.
func TestClientCertificates(t *testing.T) {
	t.Parallel()
	known, unknown := newClients(t), newClients(t)
	s := start(t, "--client-ca-file", known.file)
	show := func(cert *tls.Certificate) adstest.Options {
		return adstest.Options{CA: s.CA, Certificate: cert, Node: "somebody"}
	}
	vm := adstest.Dial(t, s.XDS, show(known.issue("vm-0", "")))
	vm.Subscribe(resource.ListenerType)
	var l listenerv3.Listener
	vm.Await(resource.ListenerType, "shop/cache", &l)

	account := adstest.Dial(t, s.XDS, show(known.issue("", "spiffe://mesh.example/ns/shop/sa/batch")))
	account.Subscribe(resource.ListenerType, "shop/cache")
	account.AwaitGone(resource.ListenerType, "shop/cache") // it has no labels
	s.shows("/proxies", `"identity": "shop/serviceaccount/batch"`)

	if err := s.ends(show(known.issue("nobody", ""))); status.Code(err) != codes.Unauthenticated {
		t.Errorf("a name that nobody has: %v", err)
	}
	if err := s.ends(show(unknown.issue("vm-0", ""))); status.Code(err) != codes.Unavailable {
		t.Errorf("a certificate of another authority: %v", err)
	}
}

// TestFloodOfStreams: 10,000 streams of one identity, over a hundred connections;
// the memory of the process stays bounded, and who behaves is served.
func TestFloodOfStreams(t *testing.T) {
	t.Parallel()
	const streams, connections = 10_000, 100
	s := start(t)
	good := s.dial("the-token-of-web-1")
	good.Subscribe(resource.ListenerType)
	var l listenerv3.Listener
	good.Await(resource.ListenerType, "shop/cache", &l)

	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel() // those that were let in stay until all are answered
	ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+webToken)
	var flood sync.WaitGroup
	codesSeen := make(chan codes.Code, streams)
	for range connections {
		conn, err := adstest.Connect(s.XDS, s.options(webToken))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		flood.Go(func() {
			var opened []discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesClient
			for range streams / connections {
				stream, err := discoveryv3.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(ctx)
				if err != nil {
					codesSeen <- status.Code(err)
					continue
				}
				_ = stream.Send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: resource.ListenerType}) // Recv says why
				opened = append(opened, stream)
			}
			for _, stream := range opened {
				_, err := stream.Recv()
				codesSeen <- status.Code(err)
			}
		})
	}
	flood.Wait()
	close(codesSeen)
	seen := map[codes.Code]int{}
	for code := range codesSeen {
		seen[code]++
	}
	if seen[codes.OK] == 0 || seen[codes.OK] > 16 || seen[codes.OK]+seen[codes.ResourceExhausted] != streams {
		t.Errorf("streams by how they ended: %v", seen)
	}
	if kb := residentKB(t, s.Pid()); kb > 400<<10 {
		t.Errorf("%d MiB resident", kb>>10)
	} else {
		t.Logf("%d MiB resident, streams ended: %v", kb>>10, seen)
	}
	filetest.Put(s.t, s.documents, strings.Replace(cache, "6380", "6381", 1)+endpoints(7001))
	good.AwaitWhen(resource.ListenerType, "shop/cache", &l, func() bool {
		return l.GetAddress().GetSocketAddress().GetPortValue() == 6381
	})
	if _, body, err := s.Get("/metrics"); err != nil || !strings.Contains(body, `dragoman_xds_server_refused_total{reason="connect_rate"}`) &&
		!strings.Contains(body, `dragoman_xds_server_refused_total{reason="identity_streams"}`) {
		t.Errorf("the flood is not counted: %v", err)
	}
}

func residentKB(t *testing.T, pid int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			n, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatal("no VmHWM")
	return 0
}

// TestImmenseRequest: a message that says it has 1 GiB is refused by its length,
// and not read.
func TestImmenseRequest(t *testing.T) {
	t.Parallel()
	s := start(t)
	before := residentKB(t, s.Pid())
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(s.CA)
	transport := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
	t.Cleanup(transport.CloseIdleConnections)
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	const size = 1 << 30
	message := io.MultiReader(bytes.NewReader([]byte{0, size >> 24, 0, 0, 0}), io.LimitReader(zeros{}, size))
	req, err := http.NewRequestWithContext(ctx, http.MethodPost,
		"https://"+s.XDS+"/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources", message)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/grpc")
	req.Header.Set("Te", "trailers")
	req.Header.Set("Authorization", "Bearer "+webToken)
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body) // the trailer is behind it
	code := resp.Trailer.Get("Grpc-Status") + resp.Header.Get("Grpc-Status")
	if code != strconv.Itoa(int(codes.ResourceExhausted)) {
		t.Errorf("status %q, %v", code, resp.Trailer)
	}
	if grown := residentKB(t, s.Pid()) - before; grown > 64<<10 {
		t.Errorf("%d MiB more resident", grown>>10)
	}
	s.shows("/metrics", `dragoman_xds_server_refused_total{reason="request_bytes"} 1`)
	c := s.dial(webToken)
	c.Subscribe(resource.ListenerType)
	var l listenerv3.Listener
	c.Await(resource.ListenerType, "shop/cache", &l)
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
