package upstream

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/upstream/secrets"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// Change is a new set of clusters on its way: those that differ are running
// beside the old ones, and nobody but the holder of the Change knows them.
// Exactly one of Commit and Abort ends it.
type Change struct {
	set   *Set
	next  map[string]*cluster
	fresh []*replacement
	moves []move
}

// replacement is a cluster that did not run before.
type replacement struct {
	*cluster
	before *cluster // of the same name, or nil
}

// move gives a cluster that stays as it is other endpoints.
type move struct {
	c         *cluster
	endpoints []resource.Endpoint
}

// ClusterError says which cluster of a specification is wrong.
type ClusterError struct {
	Cluster string
	Err     error
}

// Error implements error.
func (e *ClusterError) Error() string { return fmt.Sprintf("cluster %q: %v", e.Cluster, e.Err) }

// Unwrap returns the cause.
func (e *ClusterError) Unwrap() error { return e.Err }

// Prepare builds what differs from the running clusters and starts it; the
// error is one ClusterError for each that is refused, and then nothing has
// begun. Clusters of which nothing changed are kept, and so are those with
// DiscoverEDS of which only the endpoints are others: Commit tells them.
//
// An endpoint that is in an old and a new cluster of one name is the same one
// in both, with its connections. It is probed as the new one says from now on,
// and again as the old one says after an Abort.
//
// Secrets are read from the source from now on. It should be the same at every
// change, and a tlsclient.Source too: else certificates can only come with the
// clusters themselves. Changes are made one at a time.
func (s *Set) Prepare(specs []*resource.Cluster, source filters.SecretSource) (*Change, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	c := &Change{set: s, next: make(map[string]*cluster, len(specs))}
	if err := c.buildLocked(specs, *s.clusters.Load()); err != nil {
		return nil, err
	}
	s.shared.source.Store(&source)
	for _, f := range c.fresh {
		f.secrets.offer(secrets.NewStore(f.spec.Secrets))
		f.start(f.before)
	}
	return c, nil
}

// buildLocked fills the change. Set.mu is held.
func (c *Change) buildLocked(specs []*resource.Cluster, running map[string]*cluster) error {
	var errs []error
	refuse := func(name string, err error) { errs = append(errs, &ClusterError{name, err}) }
	for _, spec := range specs {
		if _, twice := c.next[spec.Name]; twice {
			refuse(spec.Name, ErrDuplicate)
			continue
		}
		before := running[spec.Name]
		if before != nil && sameSpec(before.spec, spec) {
			c.keep(before, spec)
			continue
		}
		kept, ok := c.set.lasting[spec.Name]
		if !ok {
			kept = lasting{stats: &stats{}, secrets: &secretView{shared: c.set.shared}}
		}
		fresh, err := newCluster(spec, c.set.env, kept.secrets, kept.stats)
		if err != nil {
			refuse(spec.Name, err)
			continue
		}
		c.next[spec.Name] = fresh
		c.fresh = append(c.fresh, &replacement{fresh, before})
	}
	return errors.Join(errs...)
}

func (c *Change) keep(running *cluster, spec *resource.Cluster) {
	c.next[spec.Name] = running
	if !slices.Equal(running.endpoints(), spec.Endpoints) {
		c.moves = append(c.moves, move{running, spec.Endpoints})
	}
}

// sameSpec compares what clusters are built from: not the proto it came in, and
// not endpoints that can change under a cluster.
func sameSpec(a, b *resource.Cluster) bool {
	if a.Raw != nil && a.Raw == b.Raw {
		return true // parsed from the very same message
	}
	x, y := *a, *b
	x.Raw, y.Raw = nil, nil
	if x.Discovery.Type == resource.DiscoverEDS && y.Discovery.Type == resource.DiscoverEDS {
		x.Endpoints, y.Endpoints = nil, nil
	}
	return reflect.DeepEqual(&x, &y)
}

// Cluster implements filters.ClusterSource: the clusters as they are to be.
func (c *Change) Cluster(name string) (filters.Cluster, bool) {
	next, ok := c.next[name]
	if !ok {
		return nil, false
	}
	return next, true
}

// Warm waits until each cluster that is new or changed has had its first look
// at its endpoints, successful or not. An error means that the context ended
// first.
func (c *Change) Warm(ctx context.Context) error {
	for _, f := range c.fresh {
		if err := f.warm(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Commit makes the clusters the running ones. Those that were replaced or
// removed go on for who still holds them until Set.Release.
func (c *Change) Commit() {
	s := c.set
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range c.fresh {
		s.lasting[f.Name()] = lasting{stats: f.stats, secrets: f.secrets}
		f.secrets.accept()
	}
	for _, m := range c.moves {
		m.c.move(m.endpoints)
	}
	running := *s.clusters.Load()
	s.clusters.Store(&c.next)
	for name, before := range running {
		if c.next[name] != before {
			s.retired = append(s.retired, before)
		}
	}
	if s.closed { // meanwhile
		for _, f := range c.fresh {
			f.close()
		}
	}
	c.fresh, c.moves = nil, nil // a filter may hold the change for its clusters
}

// Abort ends what the change has started.
func (c *Change) Abort() {
	for _, f := range c.fresh {
		if f.before != nil {
			f.before.reclaim()
		}
		f.secrets.withdraw()
		f.close()
	}
	c.fresh, c.moves = nil, nil
}
