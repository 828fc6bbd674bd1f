package upstream

import (
	"cmp"
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
	undated bool // our user may not ask for the epoch
	votes   int  // how many say so
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
	var answers []watched
	var errs []error
	for range seeds {
		r := <-results
		if r.err != nil {
			errs = append(errs, r.err)
			continue
		}
		if len(answers) == 0 {
			timer := time.AfterFunc(s.c.env.timing.hedge, cancel)
			defer timer.Stop()
		}
		answers = append(answers, r.watched)
	}
	if len(answers) == 0 {
		return watched{}, errors.Join(errs...)
	}
	return latestOf(answers, known), nil
}

// latestOf chooses the answer of the latest epoch, of several the one that is known.
// Of answers without epochs it is what most say: else a Sentinel that has missed a
// failover would keep the known one in force.
func latestOf(answers []watched, known topology.Node) watched {
	votes, undated := make(map[topology.Node]int), make(map[topology.Node]int)
	for _, w := range answers {
		votes[w.primary]++
		if w.undated {
			undated[w.primary]++
		}
	}
	best := answers[0]
	for _, w := range answers[1:] {
		by := cmp.Or(cmp.Compare(w.epoch, best.epoch), cmp.Compare(undated[w.primary], undated[best.primary]))
		if by > 0 || by == 0 && w.primary == known {
			best = w
		}
	}
	best.votes = votes[best.primary]
	return best
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
		w.undated = true
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
	if probe.HasCode(err, "NOPERM") {
		s.sayNoReplicas.Do(func() {
			s.c.log.Warn("Sentinels do not let the user ask for replicas (sentinel|replicas): none are used", "error", err)
		})
		return nil, true, nil
	}
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
