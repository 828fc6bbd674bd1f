package redis

// pending is one request on an upstream connection whose reply has not
// arrived. Replies come in the order of the requests.
type pending struct {
	c        *client // nil: nobody waits, the reply is dropped
	seq      uint32  // the client's slot
	part     int32   // which part of the slot's merge; 0 otherwise
	start    int64   // ns
	deadline int64   // ns; 0: none
	hops     uint8   // redirections followed so far
	tries    uint8   // how often it was sent again after it had been refused
	what     expect
	replay   *replay
	shard    *shardStats
}

// set makes p a copy of from, field by field: what was written just before in that
// way can't be read in larger pieces at once, as copying it whole would.
func (p *pending) set(from *pending) {
	p.c, p.seq, p.part = from.c, from.seq, from.part
	p.start, p.deadline = from.start, from.deadline
	p.hops, p.tries, p.what = from.hops, from.tries, from.what
	p.replay, p.shard = from.replay, from.shard
}

// replay is a request that is kept because a redirection may ask for it again.
type replay struct {
	frame   []byte
	restart restart
	sent    int64 // ns: when a blocking command was sent again
	// behind is what a transaction has queued before; refused the error that one of
	// these got when it was sent again.
	behind  replayed
	refused []byte
}

// expect says what to do with a reply.
type expect uint8

const (
	expectReply    expect = iota // for the client
	expectSetup                  // of the connection's own AUTH, HELLO, SELECT: an error ends the connection
	expectIgnore                 // dropped: ASKING, MULTI and the like that the proxy sent by itself
	expectOverdue                // dropped: the client was told that it did not come in time
	expectMirrored               // counted, and dropped
	expectID                     // of CLIENT ID, see learnID
	expectAnswer                 // for the proxy itself, see upstream.answered
	expectQueued                 // of a transaction that was begun again: an error is noted in replay
)

// own reports whether the reply is one that the proxy itself waits for.
func (e expect) own() bool { return e == expectSetup || e == expectAnswer }

// live reports whether a client waits for the reply.
func (p *pending) live() bool { return p.c != nil && !p.c.has(stateClosed) }

// pendings is a growing FIFO.
type pendings struct {
	items      []pending // length 0 or a power of two
	head, tail uint32
}

// minPendings is the length that a queue begins with, and keepPendings the one
// above which an empty queue gives its memory back.
const (
	minPendings  = 16
	keepPendings = 4096
)

func (q *pendings) len() int { return int(q.tail - q.head) }

// push adds a copy of p.
func (q *pendings) push(p *pending) {
	if q.len() == len(q.items) {
		old := q.items
		q.items = make([]pending, max(minPendings, 2*len(old)))
		for i := q.head; i != q.tail; i++ {
			q.items[i&uint32(len(q.items)-1)] = old[i&uint32(len(old)-1)]
		}
	}
	q.items[q.tail&uint32(len(q.items)-1)].set(p)
	q.tail++
}

func (q *pendings) front() *pending { return &q.items[q.head&uint32(len(q.items)-1)] }

func (q *pendings) at(i int) *pending {
	return &q.items[(q.head+uint32(i))&uint32(len(q.items)-1)]
}

// pop removes the first and makes p a copy of it.
func (q *pendings) pop(p *pending) {
	first := q.front()
	p.set(first)
	first.c, first.replay, first.shard = nil, nil, nil
	q.head++
	if q.head == q.tail && len(q.items) > keepPendings {
		q.items = nil
	}
}
