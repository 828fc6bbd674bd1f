package upstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/upstream/probe"
	"github.com/dragoman-mesh/dragoman/pkg/upstream/topology"
)

// watched is what one Sentinel says of one master.
type watched struct {
	from    peer
	primary topology.Node
	epoch   int64
}

// latest asks all Sentinels for a master and returns the answer of the latest
// epoch, of several the one that is known already. Once one has answered, the others
// get little more time.
func (s *sentinel) latest(ctx context.Context, name string, known topology.Node, seeds []peer) (watched, error) {
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
		if r.epoch > best.epoch || (r.epoch == best.epoch && r.primary == known) {
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

func (s *sentinel) replicas(ctx context.Context, name string, p peer) (nodes []topology.Node, settled bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.c.env.timing.probeLimit)
	defer cancel()
	conn, err := probe.Dial(ctx, s.target(p))
	if err != nil {
		return nil, false, fmt.Errorf("asking Sentinel %s: %w", p.address, err)
	}
	defer conn.Close()
	v, err := conn.Do(ctx, "SENTINEL", "REPLICAS", name)
	if probe.IsReply(err) {
		v, err = conn.Do(ctx, "SENTINEL", "SLAVES", name) // its name before 5.0
	}
	if err != nil {
		return nil, false, fmt.Errorf("asking Sentinel %s for replicas: %w", p.address, err)
	}
	return topology.ParseReplicas(v)
}

// role asks a server for its role.
func (s *sentinel) role(ctx context.Context, t target) (topology.Role, error) {
	ctx, cancel := context.WithTimeout(ctx, s.c.settings.limit)
	defer cancel()
	conn, err := probe.Dial(ctx, s.c.settingsFor(t.memberKey, s.c.tlsConfig(t.memberKey)).target)
	if err != nil {
		return topology.Role{}, err
	}
	defer conn.Close()
	v, err := conn.Role(ctx)
	if err != nil {
		return topology.Role{}, err
	}
	return topology.ParseRole(v)
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
