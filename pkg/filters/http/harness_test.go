package http_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	filterhttp "github.com/dragoman-mesh/dragoman/pkg/filters/http"
	"github.com/dragoman-mesh/dragoman/pkg/netloop"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// answer is the configuration of a filter that tests bring along.
type answer struct {
	serve func(w http.ResponseWriter, r *http.Request, next http.Handler)
}

func (*answer) ClusterNames() []string { return nil }
func (*answer) SecretNames() []string  { return nil }

// testChain builds the filters of answer.
type testChain struct{ closed atomic.Int32 }

func (*testChain) Describe(chan<- *prometheus.Desc) {}
func (*testChain) Collect(chan<- prometheus.Metric) {}
func (*testChain) Drain(context.Context) error      { return nil }
func (c *testChain) BuildHTTP(cfg any, _ filters.Context) (filters.HTTP, error) {
	a, ok := cfg.(*answer)
	if !ok {
		return nil, fmt.Errorf("unknown filter %T", cfg)
	}
	return &testFilter{a, c}, nil
}

type testFilter struct {
	*answer
	chain *testChain
}

func (f *testFilter) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { f.serve(w, r, next) })
}
func (f *testFilter) Close() { f.chain.closed.Add(1) }

// host is a listener whose filter can be exchanged.
type host struct {
	t       *testing.T
	builder *filterhttp.Builder
	context filters.Context
	chain   *testChain
	ln      *netloop.Listener
	current atomic.Pointer[filters.Network]
}

func manager(serve func(w http.ResponseWriter, r *http.Request, next http.Handler)) *resource.HTTPManager {
	return &resource.HTTPManager{
		Filters: []resource.HTTPFilter{{Name: "answer", Config: &answer{serve}}},
		Limits:  resource.HTTPLimits{HeaderBytes: 60 << 10, HeaderCount: 100, HeadersTimeout: 10 * time.Second, Idle: time.Minute},
		Path:    resource.HTTPPath{Normalize: true},
		Headers: resource.HTTPHeaders{ServerName: "dragoman"},
	}
}

func text(s string) func(http.ResponseWriter, *http.Request, http.Handler) {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { fmt.Fprint(w, s) }
}

func newHost(t *testing.T, conf *resource.HTTPManager, cfg *tls.Config) *host {
	t.Helper()
	return newHostWith(t, conf, cfg, &testChain{}, filters.Context{Listener: "l"})
}

func newHostWith(t *testing.T, conf *resource.HTTPManager, cfg *tls.Config, chain filters.HTTPChain, ctx filters.Context) *host {
	t.Helper()
	group, err := netloop.NewGroup(netloop.GroupOptions{Loops: 2})
	if err != nil {
		t.Fatal(err)
	}
	group.Start()
	h := &host{t: t, context: ctx}
	h.chain, _ = chain.(*testChain)
	h.builder = filterhttp.NewBuilder(slog.New(slog.DiscardHandler), chain)
	h.swap(conf)
	h.ln, err = netloop.Listen(group, "tcp", "127.0.0.1:0", netloop.ListenOptions{TLS: cfg, StartTLS: cfg != nil},
		func(_ *netloop.Loop, c *netloop.Conn) netloop.Driver { return (*h.current.Load()).Accept(c) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		h.ln.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := h.builder.Drain(ctx); err != nil {
			t.Errorf("drain: %v", err)
		}
		if err := group.Stop(ctx); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	return h
}

// swap puts another filter under the listener and returns the one before.
func (h *host) swap(conf *resource.HTTPManager) filters.Network {
	h.t.Helper()
	f, err := h.builder.Build(conf, h.context)
	if err != nil {
		h.t.Fatal(err)
	}
	before := h.current.Swap(&f)
	if before == nil {
		return nil
	}
	return *before
}

func (h *host) url(path string) string { return "http://" + h.ln.Addr() + path }

func (h *host) dial() net.Conn {
	h.t.Helper()
	c, err := (&net.Dialer{}).DialContext(h.t.Context(), "tcp", h.ln.Addr())
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		h.t.Fatal(err)
	}
	return c
}
