package server

import (
	"context"
	"errors"
	"sync"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

// refusalReason is why a stream was refused or ended, as in the metric.
type refusalReason string

const (
	reasonConnects    refusalReason = "connect_rate"
	reasonConnections refusalReason = "connections"
	reasonStreams     refusalReason = "streams"
	reasonIdentity    refusalReason = "identity_streams"
	reasonDenied      refusalReason = "denied"
	reasonSilent      refusalReason = "no_request"
	reasonBytes       refusalReason = "request_bytes"
	reasonNames       refusalReason = "names"
	reasonMalformed   refusalReason = "malformed"
	reasonForeign     refusalReason = "not_granted"
	reasonDraining    refusalReason = "draining"
	reasonPace        refusalReason = "request_rate"
)

// bucket is a token bucket.
type bucket struct {
	rate, burst float64

	mu sync.Mutex
	// mu guards below
	tokens float64
	filled time.Time
}

func newBucket(rate float64, burst int, now time.Time) *bucket {
	return &bucket{rate: rate, burst: float64(burst), tokens: float64(burst), filled: now}
}

func (b *bucket) take(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tokens = min(b.burst, b.tokens+b.rate*now.Sub(b.filled).Seconds())
	b.filled = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

// pace keeps one stream from taking all of a CPU: it may send requests as fast as
// it is sent responses, and some more; then it waits. The stream's goroutine only.
type pace struct {
	tokens float64
	filled time.Time
}

// wait takes a request in, when it is its turn.
func (p *pace) wait(ctx context.Context, n *Node, now time.Time) error {
	limits := &n.server.options.Limits
	rate, burst := limits.Requests, float64(limits.RequestBurst)
	if p.filled.IsZero() {
		p.tokens = burst
	} else {
		p.tokens = min(burst, p.tokens+rate*now.Sub(p.filled).Seconds())
	}
	p.filled = now
	p.tokens--
	if p.tokens >= 0 {
		return nil
	}
	n.violation(reasonPace, errPace)
	timer := time.NewTimer(time.Duration(-p.tokens / rate * float64(time.Second)))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	}
}

// earn gives a request back: an ACK is the answer to a response.
func (p *pace) earn() { p.tokens++ }

var errPace = errors.New("too many requests: the next one has to wait")

// registry is who is there.
type registry struct {
	limits Limits

	mu sync.Mutex
	// mu guards below
	nodes      map[*Node]struct{}
	pending    int
	identities map[string]int
	draining   bool
	// empty is closed when the last one has gone while draining.
	empty chan struct{}
}

func newRegistry(limits Limits) *registry {
	return &registry{limits: limits, nodes: map[*Node]struct{}{}, identities: map[string]int{}, empty: make(chan struct{})}
}

// enter takes a stream in that nobody has admitted yet.
func (g *registry) enter(n *Node) refusalReason {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.draining:
		return reasonDraining
	case len(g.nodes) >= g.limits.Streams || g.pending >= g.limits.Pending:
		return reasonStreams
	}
	g.nodes[n] = struct{}{}
	g.pending++
	return ""
}

// admit counts a stream for its identity. Its node's identity is set already.
func (g *registry) admit(n *Node) refusalReason {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.identities[n.identity] >= g.limits.StreamsPerIdentity {
		return reasonIdentity
	}
	g.identities[n.identity]++
	g.pending--
	return ""
}

// leave takes a stream out.
func (g *registry) leave(n *Node, admitted bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.nodes, n)
	if !admitted {
		g.pending--
	} else if g.identities[n.identity]--; g.identities[n.identity] == 0 {
		delete(g.identities, n.identity)
	}
	if g.draining && len(g.nodes) == 0 {
		g.closeEmptyLocked()
	}
}

func (g *registry) closeEmptyLocked() {
	select {
	case <-g.empty:
	default:
		close(g.empty)
	}
}

// drain lets nobody in any more, and gives who is still there.
func (g *registry) drain() []*Node {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.draining = true
	if len(g.nodes) == 0 {
		g.closeEmptyLocked()
	}
	return g.listLocked()
}

func (g *registry) list() []*Node {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.listLocked()
}

func (g *registry) listLocked() []*Node {
	nodes := make([]*Node, 0, len(g.nodes))
	for n := range g.nodes {
		nodes = append(nodes, n)
	}
	return nodes
}

// later is a refusal for now: it tells the client when to try again, each client
// another time.
func (s *Server) later(text string) error {
	st := status.New(codes.ResourceExhausted, text)
	wait := time.Second + spread(s.options.Limits.RetryWithin)
	if detailed, err := st.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(wait)}); err == nil {
		st = detailed
	}
	return st.Err()
}
