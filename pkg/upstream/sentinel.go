package upstream

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/upstream/probe"
	"github.com/dragoman-mesh/dragoman/pkg/upstream/topology"
)

// ErrNotPrimary is a server that Sentinels call a primary and that does not call
// itself one.
var ErrNotPrimary = errors.New("server does not call itself a primary")

// sentinel is the discovery through Redis Sentinels. Every watched master is one
// shard. Its fields belong to the goroutine that runs it.
//
// All Sentinels are asked, and the answer of the latest epoch counts: right
// after a failover some of them still name the old primary, which may be alive
// and still take itself for one. What they name is published once it says by
// ROLE that it is a primary. A quorum is not needed: a failover that took place
// is one even if the Sentinels die afterwards.
type sentinel struct {
	c      *cluster
	shards []shardSpec // as published, in the order of the masters
	follow map[string]context.CancelFunc
}

// watched is what one Sentinel says of one master.
type watched struct {
	from    peer
	primary topology.Node
	epoch   int64
}

func newSentinel(c *cluster) *sentinel {
	s := &sentinel{c: c, follow: make(map[string]context.CancelFunc)}
	for _, name := range c.spec.Discovery.Sentinel.Masters {
		s.shards = append(s.shards, shardSpec{name: name, hashKey: name, weight: 1})
	}
	return s
}

func (s *sentinel) prepare() {
	if l := s.c.currentLayout(); len(l.shards) == len(s.shards) {
		copy(s.shards, l.shards)
		return
	}
	s.publish()
}

// publish a copy: what is published is read-only.
func (s *sentinel) publish() { s.c.publish(layout{shards: append([]shardSpec(nil), s.shards...)}) }

func (s *sentinel) run(ctx context.Context) {
	spec, t := &s.c.spec.Discovery.Sentinel, s.c.env.timing
	failures := 0
	for ctx.Err() == nil {
		err := s.query(ctx)
		if ctx.Err() != nil {
			return
		}
		s.c.refreshed(err)
		wait := t.jitter(spec.RefreshRate)
		switch {
		case err != nil:
			wait = t.backoff(failures, t.refresh, min(spec.RefreshRate, t.suspect))
			failures++
		case s.c.suspect():
			failures = 0
			wait = t.jitter(min(spec.RefreshRate, t.suspect))
		default:
			failures = 0
		}
		if !pause(ctx, wait, s.c.search) {
			return
		}
	}
}

// query learns all masters anew. What can't be learnt stays as it was.
func (s *sentinel) query(ctx context.Context) error {
	seeds, err := s.c.seeds(ctx)
	if err != nil {
		return err
	}
	s.subscribe(ctx, seeds)
	var errs []error
	for i := range s.shards {
		if err := s.learn(ctx, &s.shards[i], seeds); err != nil {
			errs = append(errs, fmt.Errorf("master %q: %w", s.shards[i].name, err))
		}
	}
	s.publish()
	return errors.Join(errs...)
}

// learn one master and its replicas.
func (s *sentinel) learn(ctx context.Context, shard *shardSpec, seeds []peer) error {
	latest, err := s.latest(ctx, shard.name, seeds)
	if err != nil {
		return err
	}
	next := shardSpec{name: shard.name, hashKey: shard.hashKey, weight: shard.weight}
	primary, ok := s.c.announced(ctx, latest.primary, shard.name, filters.RolePrimary)
	if !ok {
		return fmt.Errorf("resolving %q failed", latest.primary.Host)
	}
	unverified := s.verify(ctx, primary)
	if unverified == nil {
		next.targets = append(next.targets, primary)
	} else if old, ok := shard.primary(); ok && old.address == primary.address && !errors.Is(unverified, ErrNotPrimary) {
		next.targets = append(next.targets, old) // dead for now, and nobody took its place
	}
	replicas, err := s.replicas(ctx, shard.name, latest.from)
	if err != nil {
		return errors.Join(unverified, err)
	}
	for _, n := range replicas {
		if t, ok := s.c.announced(ctx, n, shard.name, filters.RoleReplica); ok && t.address != primary.address {
			next.targets = append(next.targets, t)
		}
	}
	if unverified != nil {
		unverified = fmt.Errorf("verifying %s: %w", primary.address, unverified)
	}
	*shard = next
	return unverified
}

func (s *shardSpec) primary() (target, bool) {
	for i := range s.targets {
		if s.targets[i].role == filters.RolePrimary {
			return s.targets[i], true
		}
	}
	return target{}, false
}

// latest asks all Sentinels for a master and returns the answer of the latest
// epoch. Once one has answered, the others get little more time.
func (s *sentinel) latest(ctx context.Context, name string, seeds []peer) (watched, error) {
	type result struct {
		watched
		err error
	}
	ctx, cancel := context.WithTimeout(ctx, s.c.env.timing.probeLimit)
	defer cancel()
	results := make(chan result, len(seeds))
	for _, p := range seeds {
		s.c.env.spawn(func() {
			w, err := s.ask(ctx, name, p)
			results <- result{w, err}
		})
	}
	best := watched{epoch: -1}
	var errs []error
	for range seeds {
		r := <-results
		if r.err != nil {
			errs = append(errs, r.err)
			continue
		}
		if best.epoch < 0 {
			timer := time.AfterFunc(s.c.env.timing.hedge, cancel)
			defer timer.Stop()
		}
		if r.epoch > best.epoch {
			best = r.watched
		}
	}
	if best.epoch < 0 {
		return best, errors.Join(errs...)
	}
	return best, nil
}

// ask one Sentinel for a master.
func (s *sentinel) ask(ctx context.Context, name string, p peer) (watched, error) {
	conn, err := probe.Dial(ctx, s.target(p))
	if err != nil {
		return watched{}, fmt.Errorf("asking Sentinel %s: %w", p.address, err)
	}
	defer conn.Close()
	w := watched{from: p}
	v, err := conn.Do(ctx, "SENTINEL", "MASTER", name)
	if err == nil {
		w.primary, w.epoch, err = topology.ParseMaster(v)
	} else if probe.HasCode(err, "NOPERM") {
		// The documented way for clients, which some give no more rights than for.
		if v, err = conn.Do(ctx, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", name); err == nil {
			w.primary, err = topology.ParseMasterAddr(v)
		}
	}
	if err != nil {
		return watched{}, fmt.Errorf("asking Sentinel %s: %w", p.address, err)
	}
	return w, nil
}

func (s *sentinel) replicas(ctx context.Context, name string, p peer) ([]topology.Node, error) {
	ctx, cancel := context.WithTimeout(ctx, s.c.env.timing.probeLimit)
	defer cancel()
	conn, err := probe.Dial(ctx, s.target(p))
	if err != nil {
		return nil, fmt.Errorf("asking Sentinel %s: %w", p.address, err)
	}
	defer conn.Close()
	v, err := conn.Do(ctx, "SENTINEL", "REPLICAS", name)
	if probe.IsReply(err) {
		v, err = conn.Do(ctx, "SENTINEL", "SLAVES", name) // its name before 5.0
	}
	if err != nil {
		return nil, fmt.Errorf("asking Sentinel %s for replicas: %w", p.address, err)
	}
	return topology.ParseReplicas(v)
}

// verify asks a server whether it is a primary.
func (s *sentinel) verify(ctx context.Context, t target) error {
	ctx, cancel := context.WithTimeout(ctx, s.c.settings.limit)
	defer cancel()
	conn, err := probe.Dial(ctx, s.c.settingsFor(t.memberKey, s.c.tlsConfig(t.memberKey)).target)
	if err != nil {
		return err
	}
	defer conn.Close()
	v, err := conn.Role(ctx)
	if err != nil {
		return err
	}
	role, err := topology.ParseRole(v)
	if err == nil && !role.Primary {
		err = ErrNotPrimary
	}
	return err
}

// target says how to reach a Sentinel.
func (s *sentinel) target(p peer) probe.Target {
	spec := &s.c.spec.Discovery.Sentinel
	t := probe.Target{
		Network: p.network, Address: p.address,
		Credentials: s.c.credentials(spec.UsernameSecret, spec.PasswordSecret),
	}
	if spec.SentinelsUseTLS {
		t.TLS = s.c.tlsConfig(memberKey{network: p.network, address: p.address, tlsHost: p.tlsHost})
	}
	return t
}

// subscribe follows the events of every Sentinel that is a seed now.
func (s *sentinel) subscribe(ctx context.Context, seeds []peer) {
	now := make(map[string]bool, len(seeds))
	for _, p := range seeds {
		now[p.address] = true
		if _, ok := s.follow[p.address]; ok {
			continue
		}
		following, cancel := context.WithCancel(ctx)
		s.follow[p.address] = cancel
		s.c.env.spawn(func() { s.followEvents(following, p) })
	}
	for address, cancel := range s.follow {
		if !now[address] {
			cancel()
			delete(s.follow, address)
		}
	}
}

// followEvents looks at the topology again whenever a Sentinel tells of a change
// that concerns this cluster. It runs in a goroutine of its own.
func (s *sentinel) followEvents(ctx context.Context, p peer) {
	t := s.c.env.timing
	for failures := 0; ctx.Err() == nil; failures++ {
		began := time.Now()
		err := s.listen(ctx, p)
		if ctx.Err() != nil {
			return
		}
		s.c.log.Debug("Sentinel's events lost", "sentinel", p.address, "error", err)
		if time.Since(began) > t.suspect {
			failures = 0
			s.c.lookAgain() // something may have been missed
		}
		if !pause(ctx, t.backoff(failures, t.refresh, t.suspect), nil) {
			return
		}
	}
}

func (s *sentinel) listen(ctx context.Context, p peer) error {
	dialing, cancel := context.WithTimeout(ctx, s.c.env.timing.probeLimit)
	defer cancel()
	conn, err := probe.Dial(dialing, s.target(p))
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.Do(dialing, "SUBSCRIBE", "+switch-master", "+slave", "+convert-to-slave", "+sdown", "-sdown"); err != nil {
		return err
	}
	for {
		v, err := conn.Receive(ctx)
		if err != nil {
			return err
		}
		if _, payload, ok := topology.ParseMessage(v); ok && s.concerns(payload) {
			s.c.lookAgain()
		}
	}
}

// concerns says whether an event is about a master of this cluster: every event
// that is subscribed to names it as one of its words.
func (s *sentinel) concerns(payload string) bool {
	for word := range strings.FieldsSeq(payload) {
		for _, name := range s.c.spec.Discovery.Sentinel.Masters {
			if word == name {
				return true
			}
		}
	}
	return false
}
