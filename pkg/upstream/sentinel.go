package upstream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/upstream/topology"
)

// ErrNotPrimary is a server that Sentinels call a primary and that does not call
// itself one.
var ErrNotPrimary = errors.New("server does not call itself a primary")

// ErrOutdated is a primary that may be the one before a failover.
var ErrOutdated = errors.New("too few Sentinels name another primary than the later one that is known")

// sentinel is the discovery through Redis Sentinels. Every watched master is one
// shard.
//
// All Sentinels are asked, and the answer of the latest epoch counts: right
// after a failover some of them still name the old primary, which may be alive
// and still take itself for one. Where those of one epoch differ, as they do if
// not all are of one deployment, what was known stays. What they name is published
// once it says by ROLE that it is a primary. A quorum is not needed: a failover
// that took place is one even if the Sentinels die afterwards. Replicas are asked
// too: an old primary that came back is called a replica before it is one.
type sentinel struct {
	// read-only after construction
	c *cluster

	sayNoReplicas sync.Once

	// only the goroutine that runs it
	follow map[string]context.CancelFunc
	// verified is the latest answer on each master, if the server said itself that it is
	// one; else only the epoch of the one before. Only the goroutine that learns that master.
	verified []watched

	mu     sync.Mutex  // guards below, and the order of publications
	shards []shardSpec // as published, in the order of the masters
	moving bool        // a replica is about to change
}

func newSentinel(c *cluster) *sentinel {
	s := &sentinel{c: c, follow: make(map[string]context.CancelFunc)}
	for _, name := range c.spec.Discovery.Sentinel.Masters {
		s.shards = append(s.shards, shardSpec{name: name, hashKey: name, weight: 1})
	}
	s.verified = make([]watched, len(s.shards))
	return s
}

func (s *sentinel) prepare() {
	if l := s.c.currentLayout(); len(l.shards) == len(s.shards) {
		copy(s.shards, l.shards)
		return
	}
	s.publish()
}

func (s *sentinel) publish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.publishLocked()
}

// publishLocked publishes a copy: what is published is read-only.
func (s *sentinel) publishLocked() {
	s.c.publish(layout{shards: append([]shardSpec(nil), s.shards...)})
}

// update changes what is known of one shard.
func (s *sentinel) update(i int, targets []target) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shards[i].targets = targets
	s.publishLocked()
}

func (s *sentinel) setMoving(moving bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.moving = moving
}

func (s *sentinel) isMoving() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.moving
}

func (s *sentinel) targets(i int) []target {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.shards[i].targets
}

func (s *sentinel) run(ctx context.Context) {
	var r rhythm
	for ctx.Err() == nil {
		err := s.query(ctx)
		if ctx.Err() != nil {
			return
		}
		s.c.refreshed(err)
		busy := s.isMoving() || s.c.suspect()
		pause(ctx, r.next(s.c.env.timing, s.c.spec.Discovery.Sentinel.RefreshRate, err, busy), s.c.search)
	}
}

// query learns all masters anew. What can't be learnt stays as it was.
func (s *sentinel) query(ctx context.Context) error {
	seeds, err := s.c.seeds(ctx)
	if err != nil {
		return err
	}
	s.subscribe(ctx, seeds)
	s.setMoving(false)
	errs := make([]error, len(s.c.spec.Discovery.Sentinel.Masters))
	var wg sync.WaitGroup
	for i, name := range s.c.spec.Discovery.Sentinel.Masters {
		wg.Go(func() {
			if err := s.learn(ctx, i, name, seeds); err != nil {
				errs[i] = fmt.Errorf("master %q: %w", name, err)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// learn one master, publish it, and then its replicas, so that a dead replica
// does not delay the news of a failover.
func (s *sentinel) learn(ctx context.Context, i int, name string, seeds []peer) error {
	latest, err := s.latest(ctx, name, s.verified[i].primary, seeds)
	if err == nil {
		err = s.supersedes(ctx, name, latest, s.verified[i], max(len(seeds), len(s.c.spec.Endpoints)))
	}
	if err != nil {
		return err
	}
	primary, ok := s.c.announced(ctx, latest.primary, name, filters.RolePrimary)
	if !ok {
		return fmt.Errorf("resolving %q failed", latest.primary.Host)
	}
	known := s.targets(i)
	next, unverified := s.withPrimary(ctx, known, primary)
	s.update(i, next)
	if unverified != nil {
		latest = watched{epoch: s.verified[i].epoch}
	}
	s.verified[i] = latest
	replicas, settled, err := s.replicas(ctx, name, latest.from)
	if err != nil {
		return errors.Join(unverified, err)
	}
	checked, all := s.checkReplicas(ctx, name, replicas, known)
	if !settled || !all {
		s.setMoving(true)
	}
	s.update(i, merge(next, checked))
	return unverified
}

// supersedes returns an error for an answer of too few Sentinels that names another primary
// than the known one. Those that were out of reach in a failover, and are not now, may be
// the first to answer, or the only ones, and the primary that they have does not know of it
// either. So an earlier epoch is refused, and of the same one, or without epochs, what
// contradicts a primary that calls itself one still. Sentinels whose names do not resolve
// count, too.
func (s *sentinel) supersedes(ctx context.Context, name string, latest, known watched, sentinels int) error {
	if latest.primary == known.primary || 2*latest.votes > sentinels {
		return nil
	}
	if latest.undated || latest.epoch >= known.epoch {
		if latest.epoch > known.epoch || !s.isPrimary(ctx, name, known.primary) {
			return nil
		}
	}
	return fmt.Errorf("asking Sentinel %s: %w: %s", latest.from.address, ErrOutdated, latest.primary.Address())
}

// isPrimary asks a node, if there is one.
func (s *sentinel) isPrimary(ctx context.Context, name string, n topology.Node) bool {
	if n == (topology.Node{}) {
		return false
	}
	t, ok := s.c.announced(ctx, n, name, filters.RolePrimary)
	if !ok {
		return false
	}
	role, _ := s.role(ctx, t)
	return role.Primary
}

// withPrimary puts the primary in place of the one that is known, if it says
// that it is one. Else what is known stays: a dead primary that nobody has
// replaced, or the old one until the new one can be verified.
func (s *sentinel) withPrimary(ctx context.Context, known []target, primary target) ([]target, error) {
	role, err := s.role(ctx, primary)
	if err == nil && !role.Primary {
		err = ErrNotPrimary
	}
	if err != nil && !errors.Is(err, ErrNotPrimary) {
		return known, fmt.Errorf("verifying %s: %w", primary.address, err)
	}
	var next []target
	if err == nil {
		next = append(next, primary)
	}
	for _, t := range known {
		if t.address != primary.address && (t.role == filters.RoleReplica || err != nil) {
			next = append(next, t)
		}
	}
	if err != nil {
		return next, fmt.Errorf("verifying %s: %w", primary.address, err)
	}
	return next, nil
}

// merge puts the replicas in place of those that are known. One that is known as
// the primary and says that it is a replica, is one.
func merge(known, replicas []target) []target {
	isReplica := make(map[string]bool)
	for _, t := range replicas {
		isReplica[t.address] = true
	}
	var next []target
	for _, t := range known {
		if t.role == filters.RolePrimary && !isReplica[t.address] {
			next = append(next, t)
		}
	}
	return append(next, replicas...)
}

// checkReplicas keeps the nodes that say that they are replicas, and those that
// are known and do not answer now: health checks will tell. all is false when one
// was left out that may well become a replica.
func (s *sentinel) checkReplicas(ctx context.Context, shard string, nodes []topology.Node, known []target) (
	kept []target, all bool,
) {
	found := make([]target, len(nodes))
	good := make([]bool, len(nodes))
	var wg sync.WaitGroup
	for i, n := range nodes {
		wg.Go(func() {
			t, ok := s.c.announced(ctx, n, shard, filters.RoleReplica)
			if !ok {
				return
			}
			role, err := s.role(ctx, t)
			found[i] = t
			good[i] = err == nil && !role.Primary || err != nil && slices.ContainsFunc(known, func(k target) bool {
				return k.memberKey == t.memberKey && k.role == filters.RoleReplica
			})
		})
	}
	wg.Wait()
	all = true
	for i, t := range found {
		if good[i] {
			kept = append(kept, t)
		} else {
			all = false
		}
	}
	return kept, all
}
