package server

import (
	"context"
	"strconv"
	"strings"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// DeltaAggregatedResources serves a delta stream, on one goroutine.
func (s *Server) DeltaAggregatedResources(stream discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) error {
	return s.serve(stream, Delta, func(ctx context.Context, n *Node) error {
		n.transmit = func(m *response) error { return stream.SendMsg(m) }
		for {
			r := &deltaRequest{maxNames: s.options.Limits.Names}
			if err := stream.RecvMsg(r); err != nil {
				n.broken(err)
				return streamEnd(err)
			}
			if err := n.delta(ctx, r); err != nil {
				return err
			}
		}
	})
}

// delta handles a request.
func (n *Node) delta(ctx context.Context, r *deltaRequest) error {
	now := time.Now()
	n.touch(now)
	if err := n.check(request{typeURL: r.typeURL, names: r.names, longest: r.longest}); err != nil {
		return err
	}
	if !n.admitted.Load() {
		if err := n.admit(ctx, r.node); err != nil {
			return err
		}
	}
	if err := n.pace.wait(ctx, n, now); err != nil {
		return err
	}
	n.find(ctx, r.typeURL, r.subscribe)

	n.mu.Lock()
	l, first, err := n.laneOf(r.typeURL, len(r.subscribe))
	if err != nil {
		n.mu.Unlock()
		return err
	}
	tell := l.hear(r, now)
	alien, err := l.apply(r, first, n.grant.items(r.typeURL))
	n.mu.Unlock()

	if tell != nil {
		tell()
	}
	n.report(alien, l.typeURL)
	if err != nil {
		n.violation(reasonNames, err)
		return err
	}
	n.flush(true)
	return nil
}

// hear takes an ACK or a NACK. A nonce that is not the newest is none, but what
// the request says about subscriptions counts all the same.
func (l *lane) hear(r *deltaRequest, now time.Time) func() {
	if r.nonce == "" {
		return nil
	}
	nonce, err := strconv.ParseUint(r.nonce, 10, 64)
	if err == nil && r.failure == nil && l.declined != nil && l.declined.nonce == nonce {
		return l.reconsider(now)
	}
	if err != nil || l.flight == nil || l.flight.nonce != nonce {
		l.node.server.metrics.stale.Inc()
		return nil
	}
	if r.failure == nil {
		return l.resolve(nil, now)
	}
	return l.resolve(&Refusal{Code: r.failure.GetCode(), Message: clip(r.failure.GetMessage())}, now)
}

// maxMessageBytes is how much of a NACK's text is kept.
const maxMessageBytes = 4 << 10

// clip is a copy of a client's text, cut to size.
func clip(text string) string {
	if len(text) > maxMessageBytes {
		text = text[:maxMessageBytes] + "..."
	}
	return strings.ToValidUTF8(strings.Clone(text), "\uFFFD")
}

// apply changes what the client is subscribed to.
func (l *lane) apply(r *deltaRequest, first bool, items []granted) (foreign, error) {
	var alien foreign
	var versions map[string]string
	if first {
		versions = r.versions
		if len(r.subscribe) == 0 && len(r.unsubscribe) == 0 && l.rank.wildcard() {
			l.all(items, versions)
		}
	}
	for _, name := range r.subscribe {
		if name == "*" && l.rank.wildcard() {
			l.all(items, versions)
			continue
		}
		if err := l.name(name, items, versions, &alien); err != nil {
			return alien, err
		}
	}
	for _, name := range r.unsubscribe {
		if name == "*" && l.rank.wildcard() {
			l.notAll()
			continue
		}
		l.unname(name)
	}
	return alien, nil
}

// all subscribes to everything. What the client says it has and may not have (any
// more) it is told to drop.
func (l *lane) all(items []granted, versions map[string]string) {
	if l.wildcard {
		return
	}
	l.wildcard, l.obliged = true, true
	l.subscribeAll(items, versions)
	for name := range versions {
		if l.subs[name] != nil {
			continue
		}
		s := l.subscribe(strings.Clone(name), nil)
		s.adopt(versions)
		l.mark(s)
	}
}

// notAll ends the subscription to everything; what was named stays.
func (l *lane) notAll() {
	l.wildcard = false
	for _, s := range l.subs {
		if !s.has(explicit) {
			l.remove(s)
		}
	}
}

// name subscribes to one name. One that is subscribed to already is sent again:
// the client may have forgotten it.
func (l *lane) name(name string, items []granted, versions map[string]string, alien *foreign) error {
	s := l.subs[name]
	if g := find(items, name); g != nil {
		if s == nil {
			s = l.subscribe(g.name, g.entry)
			s.adopt(versions)
		} else {
			s.marks |= owed
		}
	} else {
		if s == nil {
			limit := l.node.server.options.Limits.Names
			if len(l.subs) >= limit {
				return status.Errorf(codes.ResourceExhausted, "more than %d names of type %s", limit, l.typeURL)
			}
			s = l.subscribe(strings.Clone(name), nil)
			s.adopt(versions)
		} else {
			s.marks |= owed
		}
		if !s.has(brought) {
			alien.add(l, name)
		}
	}
	s.marks |= explicit
	l.mark(s)
	return nil
}

// unname unsubscribes from one name. If all are subscribed to, the client can't
// know whether the name is still among them: it is told.
func (l *lane) unname(name string) {
	s := l.subs[name]
	if s == nil || !s.has(explicit) {
		return
	}
	s.marks &^= explicit
	if !l.wildcard {
		l.remove(s)
		return
	}
	s.marks |= owed
	l.mark(s)
}
