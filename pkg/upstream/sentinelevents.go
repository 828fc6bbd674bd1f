package upstream

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/upstream/probe"
	"github.com/dragoman-mesh/dragoman/pkg/upstream/topology"
)

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
		pause(ctx, t.backoff(failures, t.refresh, t.suspect), nil)
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
		if slices.Contains(s.c.spec.Discovery.Sentinel.Masters, word) {
			return true
		}
	}
	return false
}
