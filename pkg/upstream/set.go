package upstream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/upstream/secrets"
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

	mu      sync.Mutex // guards below, and the order of Apply, Release, Close
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

// Apply makes the clusters the running ones, or changes nothing and says what is
// wrong. Those of which nothing changed go on untouched. The others start beside
// the old ones, which go on for who still holds them until Release. Secrets are
// read from the source from now on; it should be a tlsclient.Source too, else
// certificates can only come with the clusters themselves.
//
// Apply does not wait for anybody; Warm does.
func (s *Set) Apply(specs []*resource.Cluster, source filters.SecretSource) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	running := *s.clusters.Load()
	next, fresh, err := s.buildLocked(specs, running)
	if err != nil {
		return err
	}
	s.shared.source.Store(&source)
	for _, c := range fresh {
		s.lasting[c.Name()] = lasting{stats: c.stats, secrets: c.secrets}
		c.secrets.own.Store(secrets.NewStore(c.spec.Secrets))
		c.start(running[c.Name()])
	}
	s.clusters.Store(&next)
	for name, c := range running {
		if next[name] != c {
			s.retired = append(s.retired, c)
		}
	}
	return nil
}

// buildLocked returns the clusters to be, and those among them that are new.
func (s *Set) buildLocked(specs []*resource.Cluster, running map[string]*cluster) (
	next map[string]*cluster, fresh []*cluster, err error,
) {
	next = make(map[string]*cluster, len(specs))
	var errs []error
	for _, spec := range specs {
		if _, twice := next[spec.Name]; twice {
			errs = append(errs, fmt.Errorf("cluster %q: %w", spec.Name, ErrDuplicate))
			continue
		}
		if c, ok := running[spec.Name]; ok && sameSpec(c.spec, spec) {
			next[spec.Name] = c
			continue
		}
		kept, ok := s.lasting[spec.Name]
		if !ok {
			kept = lasting{stats: &stats{}, secrets: &secretView{shared: s.shared}}
		}
		c, err := newCluster(spec, s.env, kept.secrets, kept.stats)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		next[spec.Name] = c
		fresh = append(fresh, c)
	}
	return next, fresh, errors.Join(errs...)
}

// sameSpec compares what clusters are built from, not the proto it came in.
func sameSpec(a, b *resource.Cluster) bool {
	x, y := *a, *b
	x.Raw, y.Raw = nil, nil
	return reflect.DeepEqual(&x, &y)
}

// Release closes the clusters that Apply has replaced or removed. Their tables
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
