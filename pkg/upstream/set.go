package upstream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// Errors of a Set.
var (
	ErrClosed    = errors.New("clusters are closed")
	ErrDuplicate = errors.New("two clusters of one name")
)

// Options are what a Set needs beside its clusters. Zero values mean defaults.
type Options struct {
	Log      *slog.Logger // slog.Default
	Resolver Resolver     // SystemResolver
}

// Set is all running clusters of a process. Its methods may be called from any
// goroutine; Cluster does not block.
type Set struct {
	// read-only after construction
	env    *environment
	cancel context.CancelFunc
	shared *sharedSecrets

	clusters atomic.Pointer[map[string]*cluster]

	mu      sync.Mutex // guards below, and the order of Prepare, Commit, Release, Close
	retired []*cluster
	lasting map[string]lasting
	closed  bool

	running sync.WaitGroup
}

// lasting is what stays while the clusters of one name come and go.
type lasting struct {
	stats   *stats
	secrets *secretView
}

// NewSet returns a Set without clusters. Close ends it.
func NewSet(o Options) *Set { return newSet(o, defaultTiming()) }

func newSet(o Options, t timing) *Set {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Resolver == nil {
		o.Resolver = SystemResolver
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &Set{cancel: cancel, shared: &sharedSecrets{}, lasting: make(map[string]lasting)}
	s.env = &environment{ctx: ctx, spawn: s.running.Go, resolver: o.Resolver, timing: &t, log: o.Log}
	s.clusters.Store(&map[string]*cluster{})
	return s
}

// Apply is Prepare and Commit. It does not wait for anybody; Warm does.
func (s *Set) Apply(specs []*resource.Cluster, source filters.SecretSource) error {
	c, err := s.Prepare(specs, source)
	if err != nil {
		return err
	}
	c.Commit()
	return nil
}

// Release closes the clusters that a Change has replaced or removed. Their tables
// stay readable, but are not kept up any more.
func (s *Set) Release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.retired {
		c.close()
	}
	s.retired = nil
	running := *s.clusters.Load()
	maps.DeleteFunc(s.lasting, func(name string, _ lasting) bool { return running[name] == nil })
}

// Warm waits until each of the clusters has had its first look at its
// endpoints, successful or not. An error means that the context ended first, or
// that there is no such cluster.
func (s *Set) Warm(ctx context.Context, names []string) error {
	running := *s.clusters.Load()
	for _, name := range names {
		c, ok := running[name]
		if !ok {
			return fmt.Errorf("no cluster %q", name)
		}
		if err := c.warm(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Cluster implements filters.ClusterSource.
func (s *Set) Cluster(name string) (filters.Cluster, bool) {
	c, ok := (*s.clusters.Load())[name]
	if !ok {
		return nil, false
	}
	return c, true
}

// Close ends all clusters and waits until nothing of them runs any more.
func (s *Set) Close() {
	s.mu.Lock()
	s.closed = true
	for _, c := range s.retired {
		c.close()
	}
	s.retired = nil
	for _, c := range *s.clusters.Load() {
		c.close()
	}
	s.mu.Unlock()
	s.cancel()
	s.running.Wait()
}

// sorted lists the running clusters by name.
func (s *Set) sorted() []*cluster {
	running := *s.clusters.Load()
	list := make([]*cluster, 0, len(running))
	for _, name := range slices.Sorted(maps.Keys(running)) {
		list = append(list, running[name])
	}
	return list
}
