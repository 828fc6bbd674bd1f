package server

import (
	"strconv"
	"time"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

// patience is how many unanswered bytes a stream may have before a worker lets
// somebody else send to it. gRPC lets a stream have 64 KiB on their way before
// sending blocks, and what has been answered is no longer on its way.
const patience = 32 << 10

// response is a DeltaDiscoveryResponse, encoded: a head of its own and the
// resources' frames, which all streams share.
type response struct {
	data  mem.BufferSlice
	bytes int
	count int
	meter *typeMeter
}

// flush sends what is due. It returns at once if somebody else is at it already,
// who will then send this, too. A worker is not patient: it hands a stream on
// that might block.
func (n *Node) flush(patient bool) {
	n.mu.Lock()
	n.queued = false
	if n.flushing || n.closed {
		n.mu.Unlock()
		return
	}
	n.flushing = true
	n.drainLocked(patient)
}

// drainLocked sends until nothing is due, and gives the lock back.
func (n *Node) drainLocked(patient bool) {
	for {
		m := n.nextLocked()
		if m == nil || n.closed {
			n.flushing = false
			n.mu.Unlock()
			return
		}
		wait := n.unacked-m.bytes > patience
		n.mu.Unlock()
		if wait && !patient {
			n.server.run(func() {
				if n.send(m) {
					n.mu.Lock()
					n.drainLocked(true)
				}
			})
			return
		}
		if !n.send(m) {
			return
		}
		n.mu.Lock()
	}
}

// send reports false when the stream is at its end; it stays marked as flushing,
// so that nobody else tries.
func (n *Node) send(m *response) bool {
	if err := n.transmit(m); err != nil {
		n.Close(err)
		return false
	}
	m.meter.sent(m)
	return true
}

// nextLocked makes the next response that may go out: nil if there is none.
func (n *Node) nextLocked() *response {
	for _, l := range n.lanes {
		l.sweep()
	}
	if n.protocol == StateOfTheWorld {
		for n.deliverLocked() {
		}
		return nil
	}
	for _, l := range n.lanes {
		if l.idle() {
			continue
		}
		if m := l.fill(n.gates(l)); m != nil {
			return m
		}
	}
	return nil
}

// deliverLocked answers the watches of a state-of-the-world stream, once around. It
// reports whether removals are done with that could not be said: no ACK comes for
// them, so what waited for them is to be looked at again.
func (n *Node) deliverLocked() (again bool) {
	for _, l := range n.lanes {
		if l.idle() {
			continue
		}
		removals := l.removals
		l.deliver(n.gates(l))
		l.sweep() // the next lane may wait for this one
		again = again || l.flight == nil && l.removals < removals
	}
	return again
}

// idle says that there is nothing to send, or that an answer is waited for.
func (l *lane) idle() bool {
	return l.flight != nil || l.ups+l.removals+l.answers == 0 && !l.obliged
}

// fill makes a response of what is dirty and may go out, as far as it fits.
func (l *lane) fill(g gates) *response {
	limit := l.node.server.options.Limits.ResponseBytes
	n := len(l.dirty)
	m := &response{meter: l.meter, data: make(mem.BufferSlice, 1, 1+n)}
	f := &flight{subs: make([]*sub, 0, n)}
	var removed []string
	kept := l.dirty[:0]
	for _, s := range l.dirty {
		r, due := s.due()
		if !due {
			kept = append(kept, s) // changed back this very moment
			continue
		}
		full := m.count > 0 && (m.bytes >= limit || r != nil && m.bytes+len(r.frame) > limit)
		if full || !g.pass(s, r) {
			kept = append(kept, s)
			continue
		}
		if r != nil {
			m.data = append(m.data, r.buffer)
			m.bytes += len(r.frame)
		} else {
			removed = append(removed, s.name)
			m.bytes += sizeField(fieldResponseRemoved, len(s.name))
		}
		m.count++
		s.take(r)
		f.subs = append(f.subs, s)
	}
	clear(l.dirty[len(kept):])
	l.dirty = kept
	if m.count == 0 && (!l.obliged || len(kept) > 0) {
		return nil
	}
	l.obliged = false
	l.launch(f, m.count)
	head := l.head(f.nonce, removed)
	m.data[0] = mem.SliceBuffer(head)
	for _, b := range m.data[1:] {
		f.bytes += b.Len()
	}
	f.bytes += len(head)
	m.bytes = f.bytes
	l.node.unacked += f.bytes
	return m
}

// launch puts a response on its way.
func (l *lane) launch(f *flight, count int) {
	n := l.node
	n.nonce++
	f.nonce, f.count = n.nonce, count
	f.since, f.revision = l.since, l.revision
	l.flight, l.declined = f, nil
	if len(l.dirty) == 0 {
		l.settle()
	}
}

// head encodes what of a response is not resources.
func (l *lane) head(nonce uint64, removed []string) []byte {
	var digits [20]byte
	number := strconv.AppendUint(digits[:0], nonce, 10)
	size := sizeField(fieldResponseTypeURL, len(l.typeURL)) + sizeField(fieldResponseNonce, len(number))
	for _, name := range removed {
		size += sizeField(fieldResponseRemoved, len(name))
	}
	b := make([]byte, 0, size)
	b = appendString(b, fieldResponseTypeURL, l.typeURL)
	b = protowire.AppendTag(b, fieldResponseNonce, protowire.BytesType)
	b = protowire.AppendBytes(b, number)
	for _, name := range removed {
		b = appendString(b, fieldResponseRemoved, name)
	}
	return b
}

// resolve ends the lane's flight and tells who wants to know. The caller has the
// lock; what it gives is to be called without.
func (l *lane) resolve(refusal *Refusal, now time.Time) func() {
	n, f := l.node, l.flight
	n.pace.earn()
	if refusal == nil {
		l.answered(nil)
		return l.accepted(f, now)
	}
	refusal.TypeURL, refusal.At = l.typeURL, now
	l.answered(refusal)
	l.declined = f
	l.meter.nacks.Inc()
	return func() { n.server.refused(n, *refusal) }
}

// reconsider takes the ACK of a response that was refused first: what was in its
// way at the client, as a port that was taken, is gone.
func (l *lane) reconsider(now time.Time) func() {
	f := l.declined
	l.declined = nil
	for _, s := range f.subs {
		if s.has(refused) {
			s.accept()
		}
	}
	f.since = time.Time{} // how long that took says nothing of this server
	return l.accepted(f, now)
}

// accepted tells that all of a response runs.
func (l *lane) accepted(f *flight, now time.Time) func() {
	n := l.node
	observer := n.server.options.Observer
	ack := Ack{TypeURL: l.typeURL, Resources: f.count, Revision: f.revision, At: f.since}
	if !f.since.IsZero() {
		ack.Took = now.Sub(f.since)
		n.server.metrics.convergence.Observe(ack.Took.Seconds())
	}
	if observer == nil {
		return nil
	}
	return func() { observer.Acked(n, ack) }
}
