package server

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Protocol is the variant of xDS that a stream speaks.
type Protocol uint8

// The two variants of ADS.
const (
	Delta Protocol = iota
	StateOfTheWorld
)

func (p Protocol) String() string {
	if p == StateOfTheWorld {
		return "sotw"
	}
	return "delta"
}

// Nodes decides who may connect, and hears who has gone.
type Nodes interface {
	// Connect is asked on the first request of a stream, with the stream's
	// context (its peer, its metadata, its authentication). It gives the node's
	// reviewed identity, and must have called [Node.SetGrant] before it returns
	// if the node is to get anything. A gRPC status error (PermissionDenied,
	// Unauthenticated, ResourceExhausted) goes to the client as it is; any other
	// becomes Unavailable without its text. It may block: only this stream waits.
	Connect(ctx context.Context, n *Node) (identity string, err error)
	// Disconnected is called once for every node that Connect has admitted.
	Disconnected(n *Node)
}

// Finder is asked for names that a node's grant lacks, before they are answered
// as absent: resources can be made on demand by Publish and SetGrant, during the
// call or later. It is called on the stream's goroutine, without locks.
type Finder interface {
	Find(ctx context.Context, n *Node, typeURL string, names []string)
}

// Observer hears what became of what was sent. Its methods are called without
// locks, on the stream's goroutine: they should be cheap.
type Observer interface {
	Acked(n *Node, a Ack)
	Refused(n *Node, r Refusal)
}

// Ack says that a node has accepted a response.
type Ack struct {
	TypeURL string
	// Resources is how many were in the response, removals included.
	Resources int
	// Revision is that of the newest Publish that the response covers, 0 if it
	// only answered a subscription.
	Revision uint64
	// At is the oldest [Change.At] that the response covers. Zero: none.
	At time.Time
	// Took is the time since At, 0 without one.
	Took time.Duration
}

// Refusal is a NACK.
type Refusal struct {
	TypeURL string
	// Code and Message are the client's error_detail.
	Code    int32
	Message string
	// Keys are the resources that the message names, which the client does not take
	// while it takes the others of the response; if it names none, all of them.
	Keys []Key
	At   time.Time
}

// Node is one stream of one node.
type Node struct {
	// read-only once Connect has returned
	server   *Server
	protocol Protocol
	claimed  *corev3.Node
	remote   string
	identity string
	since    time.Time
	transmit func(*response) error
	hangUp   func(reason error)
	// pace is the stream's goroutine's.
	pace     pace
	deadline *time.Timer
	admitted atomic.Bool

	// contact is when the node was last heard of, in ns since 1970.
	contact atomic.Int64

	mu sync.Mutex
	// mu guards below
	grant *Grant
	// lanes are sorted by rank.
	lanes []*lane
	// queued: in the server's queue; flushing: somebody sends.
	queued, flushing, closed bool
	// unacked is how many bytes of responses have not been answered.
	unacked int
	nonce   uint64
	// reason is what the stream ends with if the server ends it.
	reason error
}

// ID is what the node calls itself: to be shown, not to be believed.
func (n *Node) ID() string { return n.claimed.GetId() }

// Identity is what [Nodes.Connect] gave; empty until the node is admitted. It may
// be asked for as soon as Connect has the node.
func (n *Node) Identity() string {
	if !n.admitted.Load() {
		return ""
	}
	return n.identity
}

// Remote is the peer's address.
func (n *Node) Remote() string { return n.remote }

// Since is when the stream began.
func (n *Node) Since() time.Time { return n.since }

// Protocol is the variant that the stream speaks.
func (n *Node) Protocol() Protocol { return n.protocol }

// Close ends the stream with a status error, from any goroutine, without waiting
// for it. The first reason given is the one that the client sees.
func (n *Node) Close(reason error) {
	n.mu.Lock()
	if n.reason == nil {
		n.reason = reason
	}
	reason = n.reason
	n.mu.Unlock()
	n.hangUp(reason)
}

// SetGrant changes what the node may have, at any time and from any goroutine.
// The node is sent the difference. Publish what is new before it is granted, and
// take away what is going before its end is published: then all of it goes out
// in order.
func (n *Node) SetGrant(g *Grant) { n.SetGrantSince(g, time.Time{}) }

// SetGrantSince is SetGrant with the time at which the cause of the change was
// observed: convergence is counted from there, as from [Change.At].
func (n *Node) SetGrantSince(g *Grant, at time.Time) {
	n.mu.Lock()
	if n.closed || n.grant == g {
		n.mu.Unlock()
		return
	}
	n.grant = g
	for _, l := range n.lanes {
		l.regrant(g.items(l.typeURL))
		if len(l.dirty) > 0 {
			l.cause(at, 0)
		}
	}
	wake := n.enqueueLocked()
	n.mu.Unlock()
	if wake {
		n.server.queue.put(n)
	}
}

// Grant is what the node may have.
func (n *Node) Grant() *Grant {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.grant
}

// enqueueLocked says whether the caller is to put the node into the queue.
func (n *Node) enqueueLocked() bool {
	if n.queued || n.flushing || n.closed {
		return false
	}
	n.queued = true
	return true
}

// notify marks a sub whose resource has changed, and says whether the caller is
// to put the node into the queue.
func (n *Node) notify(s *sub, at time.Time, revision uint64) (wake bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed || s.has(gone) {
		return false
	}
	l := s.lane
	if s.has(dirty) {
		n.server.metrics.coalesced.Inc()
	}
	l.mark(s)
	l.cause(at, revision)
	if l.flight != nil {
		return false // its ACK will
	}
	return n.enqueueLocked()
}

// laneOf gives the state of a type, making it at its place in the order, with room
// for so many names. The caller has the lock.
func (n *Node) laneOf(typeURL string, names int) (l *lane, first bool, err error) {
	for _, l := range n.lanes {
		if l.typeURL == typeURL {
			return l, false, nil
		}
	}
	limit := n.server.options.Limits.Types
	if n.protocol == StateOfTheWorld {
		limit = min(limit, maxSotwTypes)
	}
	if len(n.lanes) >= limit {
		return nil, false, status.Errorf(codes.ResourceExhausted, "a stream may ask for %d types of resources", limit)
	}
	l = &lane{node: n, typeURL: strings.Clone(typeURL), rank: rankOf(typeURL), meter: n.server.metrics.of(typeURL), subs: make(map[string]*sub, names)}
	at := len(n.lanes)
	for at > 0 && n.lanes[at-1].rank > l.rank {
		at--
	}
	n.lanes = slices.Insert(n.lanes, at, l)
	return l, true, nil
}

// close takes the node off all resources. Nothing is sent to it any more.
func (n *Node) close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.closed = true
	for _, l := range n.lanes {
		for _, s := range l.subs {
			s.drop()
		}
	}
	n.lanes = nil
	n.grant = nil
}

func (n *Node) touch(now time.Time) { n.contact.Store(now.UnixNano()) }
