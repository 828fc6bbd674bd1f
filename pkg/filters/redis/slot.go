package redis

import "github.com/dragoman-mesh/dragoman/pkg/netloop"

// slot is one request of a client that waits for its turn to be answered.
// Slots live in the client's ring, in the order of the requests; the sequence
// number is their name, since the ring may move.
type slot struct {
	reply netloop.Chain // what arrived while the slot could not be written yet
	// A small reply lies in the client's stash instead: stashed bytes from at.
	at, stashed uint32
	cmd         *command
	merge       *merge // set when several upstream replies make this one
	// finish, if set, turns the gathered reply into what the client gets.
	finish  finisher
	start   int64 // ns, when the request was dispatched
	done    bool
	failed  bool // the reply is an error
	mute    bool // CLIENT REPLY OFF or SKIP: the reply is dropped
	further bool // belongs to a request that another slot stands for
	last    bool // of the requests that came at once
	open    bool // part of the reply has already been written to the client
}

// finisher rewrites the complete reply frame of a slot. The result may alias
// frame and is used at once.
type finisher func(c *client, frame []byte) []byte

// ring is a growing queue of slots, addressed by sequence number.
type ring struct {
	slots      []slot // length 0 or a power of two
	head, tail uint32
	first      uint32 // what head was when the ring was last empty
	hint       uint32 // length that did last time
}

// minRing is the length of the smallest ring, which an idle client keeps.
const minRing = 4

func (r *ring) len() int { return int(r.tail - r.head) }

func (r *ring) at(seq uint32) *slot { return &r.slots[seq&uint32(len(r.slots)-1)] }

// push adds a slot and returns its sequence number.
func (r *ring) push(w *worker) (uint32, *slot) {
	if r.len() == len(r.slots) {
		r.grow(w)
	}
	seq := r.tail
	r.tail++
	return seq, r.at(seq)
}

// unshift adds a slot before all others.
func (r *ring) unshift(w *worker) (uint32, *slot) {
	if r.len() == len(r.slots) {
		r.grow(w)
	}
	r.head--
	return r.head, r.at(r.head)
}

func (r *ring) grow(w *worker) {
	old := r.slots
	r.slots = w.takeRing(max(minRing, 2*len(old), int(r.hint)))
	if len(old) == 0 {
		return
	}
	for seq := r.head; seq != r.tail; seq++ {
		*r.at(seq) = old[seq&uint32(len(old)-1)]
	}
	clear(old)
	w.putRing(old)
}

// pop forgets the oldest slot. A ring that a long pipeline blew up goes back
// to the worker when it is empty, so that an idle client keeps next to nothing.
func (r *ring) pop(w *worker) {
	*r.at(r.head) = slot{}
	r.head++
	if r.head == r.tail {
		r.emptied(w)
	}
}

func (r *ring) emptied(w *worker) {
	n := uint32(len(r.slots))
	if n > minRing {
		r.hint = n
		if r.tail-r.first <= n/2 { // it has been longer than needed
			r.hint = n / 2
		}
		w.putRing(r.slots)
		r.slots = nil
	}
	r.first = r.head
}
