package server

import (
	"cmp"
	"slices"
	"time"
)

// NodeStatus is what the server knows of one connected node.
type NodeStatus struct {
	// ID is what the node calls itself, Identity what it was found to be.
	ID, Identity string
	Remote       string
	Protocol     Protocol
	// Since is when it connected, LastContact when it was last heard of.
	Since, LastContact time.Time
	// Types are in the order in which they are sent.
	Types []TypeStatus
}

// Synced says whether the node has accepted everything that it may have.
func (s NodeStatus) Synced() bool {
	for _, t := range s.Types {
		if t.Acked != t.Current || t.Waiting > 0 || t.InFlight {
			return false
		}
	}
	return true
}

// TypeStatus is what the server knows of one type of one node.
type TypeStatus struct {
	TypeURL  string
	Wildcard bool
	// Subscribed is how many names the node follows, Current how many of them
	// exist, Sent how many versions it was given, Acked and Refused what became of
	// them.
	Subscribed, Current, Sent, Acked, Refused int
	// Waiting is how many changes are yet to be sent.
	Waiting int
	// InFlight: a response has not been answered yet.
	InFlight bool
	// Refusal is the last NACK of a version that has not been replaced by another. It
	// must not be changed.
	Refusal *Refusal
}

// Status lists the connected nodes by ID, identity and time.
func (s *Server) Status() []NodeStatus {
	nodes := s.registry.list()
	list := make([]NodeStatus, 0, len(nodes))
	for _, n := range nodes {
		if n.admitted.Load() {
			list = append(list, n.Status())
		}
	}
	slices.SortFunc(list, func(a, b NodeStatus) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Identity, b.Identity), a.Since.Compare(b.Since))
	})
	return list
}

// Status is how the node stands.
func (n *Node) Status() NodeStatus {
	st := NodeStatus{
		ID: n.ID(), Identity: n.Identity(), Remote: n.remote, Protocol: n.protocol,
		Since: n.since, LastContact: time.Unix(0, n.contact.Load()),
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, l := range n.lanes {
		st.Types = append(st.Types, l.status())
	}
	return st
}

func (l *lane) status() TypeStatus {
	t := TypeStatus{TypeURL: l.typeURL, Wildcard: l.wildcard, Subscribed: len(l.subs), InFlight: l.flight != nil, Refusal: l.refusal()}
	for _, s := range l.subs {
		r, due := s.due()
		if r != nil {
			t.Current++
		}
		if s.sent != 0 {
			t.Sent++
			if s.has(acked) {
				t.Acked++
			}
			if s.has(refused) {
				t.Refused++
			}
		}
		if due {
			t.Waiting++
		}
	}
	return t
}

// Coverage is how far one resource's current version has come.
type Coverage struct {
	// Subscribers is how many streams follow the resource; Acked, Refused and
	// Waiting (not sent yet, or not answered) are a division of them.
	Subscribers, Acked, Refused, Waiting int
	// Refusals are the newest NACK of each node counted in Refused, at most eight.
	Refusals []NodeRefusal
}

// NodeRefusal is a NACK and whose it is.
type NodeRefusal struct {
	Node    *Node
	Refusal Refusal
}

const maxRefusals = 8

// Coverage tells who runs the current version of a resource, and who does not.
func (s *Server) Coverage(key Key) Coverage {
	var c Coverage
	e := s.table.lookup(key)
	if e == nil {
		return c
	}
	e.mu.Lock()
	subs := e.followers(nil)
	e.mu.Unlock()
	for _, sub := range subs {
		c.add(sub, e)
	}
	return c
}

func (c *Coverage) add(s *sub, e *entry) {
	n := s.lane.node
	n.mu.Lock()
	defer n.mu.Unlock()
	if s.has(gone) || s.entry != e {
		return
	}
	c.Subscribers++
	hash := e.hash()
	switch {
	case s.sent != hash || !s.has(acked|refused):
		c.Waiting++
	case s.has(acked):
		c.Acked++
	default:
		c.Refused++
		if r := s.lane.refusals[s]; r != nil && len(c.Refusals) < maxRefusals {
			c.Refusals = append(c.Refusals, NodeRefusal{Node: n, Refusal: *r})
		}
	}
}

// Resource gives the current version of a resource, nil if there is none.
func (s *Server) Resource(key Key) *Resource {
	if e := s.table.lookup(key); e != nil {
		return e.current.Load()
	}
	return nil
}
