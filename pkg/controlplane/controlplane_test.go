package controlplane_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/dragoman-mesh/dragoman/internal/adstest"
	"github.com/dragoman-mesh/dragoman/internal/filetest"
	"github.com/dragoman-mesh/dragoman/pkg/controlplane"
	"github.com/dragoman-mesh/dragoman/pkg/controlplane/trust"
	"github.com/dragoman-mesh/dragoman/pkg/exit"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

const token = "the-token-of-web-0"

const nodes = "nodes:\n- {name: web-0, namespace: shop, token: " + token + ", labels: {app: web}}\n"

func document(port int) string {
	return fmt.Sprintf(`
apiVersion: mesh.dragoman.io/v1alpha1
kind: Ambassador
metadata: {name: cache, namespace: shop}
spec:
  protocol: tcp
  listen: {port: %d}
  environments: {dev: {address: "127.0.0.1:6379"}}
  defaultEnvironment: dev
`, port)
}

// plane is a control plane in this process, of files.
type plane struct {
	*controlplane.ControlPlane
	t      *testing.T
	dir    string
	issuer *trust.Issuer
	spans  *tracetest.SpanRecorder
	now    atomic.Int64 // of the issuer's clock
	end    context.CancelFunc
}

func start(t *testing.T, change ...func(*plane, *controlplane.Options)) *plane {
	t.Helper()
	p := &plane{t: t, dir: t.TempDir(), spans: tracetest.NewSpanRecorder()}
	p.now.Store(time.Now().Unix())
	if err := os.Mkdir(filepath.Join(p.dir, "documents"), 0o700); err != nil {
		t.Fatal(err)
	}
	p.write("nodes.yaml", nodes)
	p.write("documents/a.yaml", document(6380))
	log := slog.New(slog.DiscardHandler)
	auth := trust.NewAuthenticator(nil, nil)
	platform, err := controlplane.FromFiles([]string{filepath.Join(p.dir, "documents")}, filepath.Join(p.dir, "nodes.yaml"),
		filepath.Join(p.dir, "trust"), auth, log)
	if err != nil {
		t.Fatal(err)
	}
	p.issuer, err = trust.Open(t.Context(), trust.Options{
		Store: platform.Authority, Names: []string{"127.0.0.1"}, Log: log,
		Now: func() time.Time { return time.Unix(p.now.Load(), 0) },
	})
	if err != nil {
		t.Fatal(err)
	}
	options := controlplane.Options{
		Platform: platform, Auth: auth, TLS: p.issuer.ServerConfig(nil),
		XDSAddress: "127.0.0.1:0", AdminAddress: "127.0.0.1:0", DrainTimeout: time.Second,
		Traces: sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(p.spans)), Log: log, Level: &slog.LevelVar{},
	}
	for _, f := range change {
		f(p, &options)
	}
	if p.ControlPlane, err = controlplane.New(t.Context(), options); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := p.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	p.end = cancel
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return p
}

func (p *plane) write(name, text string) {
	p.t.Helper()
	filetest.Put(p.t, filepath.Join(p.dir, filepath.FromSlash(name)), text)
}

func (p *plane) options() adstest.Options {
	return adstest.Options{CA: p.issuer.Bundle(), Token: token, Node: "web-0"}
}

// follows waits until a stream has the listener on a port.
func follows(c *adstest.Client, port int) {
	var l listenerv3.Listener
	c.AwaitWhen(resource.ListenerType, "shop/cache", &l, func() bool {
		return l.GetAddress().GetSocketAddress().GetPortValue() == uint32(port)
	})
}

func (p *plane) get(path string) (int, string) {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, "http://"+p.AdminAddr()+path, http.NoBody)
	if err != nil {
		p.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// TestCertificateIsRotatedUnderAStream: the stream goes on, and connections made
// afterwards see the new certificate.
func TestCertificateIsRotatedUnderAStream(t *testing.T) {
	t.Parallel()
	p := start(t)
	c := adstest.Dial(t, p.XDSAddr(), p.options())
	c.Subscribe(resource.ListenerType)
	follows(c, 6380)
	first := p.issuer.Certificate().SerialNumber
	p.now.Add(int64(16*time.Hour/time.Second) + 3600)
	if err := p.issuer.Renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	if p.issuer.Certificate().SerialNumber.Cmp(first) == 0 {
		t.Fatal("the certificate is the old one")
	}
	p.write("documents/a.yaml", document(6381))
	follows(c, 6381)
}

// TestAdmin is the rest of what the admin server has.
func TestAdmin(t *testing.T) {
	t.Parallel()
	p := start(t)
	c := adstest.Dial(t, p.XDSAddr(), p.options())
	c.Subscribe(resource.ListenerType)
	follows(c, 6380)
	for path, want := range map[string]string{
		"/ready": "LIVE", "/healthz": "OK", "/proxies": `"identity": "shop/web-0"`, "/config_dump": `"name": "shop/cache"`,
		"/debug/pprof/cmdline": "", "/metrics": "dragoman_controlplane_nodes 1",
	} {
		if code, body := p.get(path); code != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%s: %d, no %q in\n%s", path, code, want, body)
		}
	}
	_, text := p.get("/metrics")
	parser := expfmt.NewTextParser(model.UTF8Validation)
	if _, err := parser.TextToMetricFamilies(strings.NewReader(text)); err != nil {
		t.Error(err)
	}
	if code, _ := p.get("/logging"); code != http.StatusMethodNotAllowed {
		t.Errorf("GET /logging: %d", code)
	}
}

// TestProblemsOfBoth: a file of nodes beside the API server hides nothing of what that
// does not give.
func TestProblemsOfBoth(t *testing.T) {
	t.Parallel()
	p := &controlplane.Platform{Problems: func() []string { return []string{"watching pods: forbidden"} }}
	p.WithNodes(filepath.Join(t.TempDir(), "nodes.yaml"), trust.NewAuthenticator(nil, nil), slog.New(slog.DiscardHandler))
	if got := p.Problems(); !slices.Contains(got, "watching pods: forbidden") {
		t.Errorf("problems: %q", got)
	}
}

// TestSpans: a change is a span, and so are the translation and the push that it
// leads to, below it.
func TestSpans(t *testing.T) {
	t.Parallel()
	p := start(t)
	c := adstest.Dial(t, p.XDSAddr(), p.options())
	c.Subscribe(resource.ListenerType)
	follows(c, 6380)
	p.write("documents/a.yaml", document(6381))
	follows(c, 6381)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(adstest.Deadline)
	for {
		parents := p.parents()
		if parents["translate"] == "apply changes" && parents["push"] == "apply changes" {
			return
		}
		select {
		case <-tick.C: // a span ends after what it is about has been seen
		case <-deadline:
			t.Fatalf("spans by parent: %v", parents)
		}
	}
}

// parents gives the names of the spans that have ended, and those of their
// parents.
func (p *plane) parents() map[string]string {
	names, parents := map[string]string{}, map[string]string{}
	for _, s := range p.spans.Started() {
		names[s.SpanContext().SpanID().String()] = s.Name()
	}
	for _, s := range p.spans.Ended() {
		if name := names[s.Parent().SpanID().String()]; name != "" {
			parents[s.Name()] = name
		}
	}
	return parents
}

// TestClientAuthoritiesAreFollowed: a file that changes counts for the next
// connection, one that is broken does not.
func TestClientAuthoritiesAreFollowed(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "clients.crt")
	log := slog.New(slog.DiscardHandler)
	auth := trust.NewAuthenticator(nil, nil)
	if _, err := controlplane.ClientCAs(file, auth, log); exit.Code(err) != exit.CodeUsage {
		t.Errorf("a file that is not there: %v", err)
	}
	replace := func(text []byte) { filetest.Put(t, file, text) }
	one, other := authority(t), authority(t)
	replace(one)
	follow, err := controlplane.ClientCAs(file, auth, log)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = follow(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	first := auth.Clients()
	replace([]byte("nonsense"))
	replace(append(one, other...))
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(adstest.Deadline); auth.Clients().Equal(first); {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("the new file does not count")
		}
	}
}

// authority is the certificate of some authority.
func authority(t *testing.T) []byte {
	t.Helper()
	issuer, err := trust.Open(t.Context(), trust.Options{
		Store: trust.NewFolder(t.TempDir()), Names: []string{"a"}, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return issuer.Bundle()
}
