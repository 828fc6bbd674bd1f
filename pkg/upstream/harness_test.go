package upstream

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// patience bounds what a loaded machine may take.
const patience = 30 * time.Second

// testSet makes a Set that the end of the test closes, which also proves that
// all its goroutines end.
func testSet(t *testing.T, resolver Resolver) *Set {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	s := NewSet(Options{Log: log, Resolver: resolver})
	t.Cleanup(func() { closeSet(t, s) })
	return s
}

func closeSet(t *testing.T, s *Set) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Close()
	}()
	select {
	case <-done:
	case <-time.After(patience):
		t.Error("Close does not end: a goroutine goes on")
	}
}

// apply makes the specs the running clusters and waits until they are warm.
func apply(t *testing.T, s *Set, specs ...*resource.Cluster) {
	t.Helper()
	if err := s.Apply(specs, nil); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, spec := range specs {
		names = append(names, spec.Name)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.Warm(ctx, names); err != nil {
		t.Fatal(err)
	}
	s.Release()
}

func running(t *testing.T, s *Set, name string) *cluster {
	t.Helper()
	c, ok := (*s.clusters.Load())[name]
	if !ok {
		t.Fatalf("no cluster %q", name)
	}
	return c
}

// spec is a Redis cluster of one shard an endpoint, with twemproxy's ketama.
func spec(name string, endpoints ...resource.Endpoint) *resource.Cluster {
	return &resource.Cluster{
		Name:           name,
		Endpoints:      endpoints,
		LB:             resource.LoadBalancing{Policy: resource.LBKetama, Hash: "fnv1a_64"},
		ConnectTimeout: time.Second,
		Redis:          resource.RedisUpstream{ConnectionsPerEndpoint: 1},
	}
}

func at(n *redistest.Node) resource.Endpoint {
	return resource.Endpoint{Host: "127.0.0.1", Port: uint32(n.Port()), Weight: 1}
}

func host(name string, port int) resource.Endpoint {
	return resource.Endpoint{Host: name, Port: uint32(port), Weight: 1}
}

func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	redistest.Eventually(t, patience, what, check)
}

func health(e *filters.Endpoint, want bool) func() error {
	return func() error {
		if got := e.Healthy(); got != want {
			return fmt.Errorf("healthy = %v", got)
		}
		return nil
	}
}

// shape writes a table in short: "shard=primary+replica,replica".
func shape(t *filters.Table) string {
	var parts []string
	for _, s := range t.Shards {
		text := s.Name + "="
		if s.Primary != nil {
			text += s.Primary.Address
		}
		var replicas []string
		for _, r := range s.Replicas {
			replicas = append(replicas, r.Address)
		}
		if len(replicas) > 0 {
			text += "+" + strings.Join(replicas, ",")
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, " ")
}

func shaped(c filters.Cluster, want string) func() error {
	return func() error {
		if got := shape(c.Table()); got != want {
			return fmt.Errorf("table %s, want %s", got, want)
		}
		return nil
	}
}

func ip(text string) netip.Addr { return netip.MustParseAddr(text) }
