package pgproto

import "slices"

// Tracker is told the messages of a session in both directions, and knows what
// is under way. It sees types alone and the byte of ReadyForQuery. It begins
// where authentication ends: with what the server sends after AuthenticationOk.
//
// A message is to be told before it is forwarded, and where both directions have
// something to tell, the client's first: a server never answers what it has not
// got, so the Tracker must have heard of the question.
//
// Where a client breaks the protocol in a way that leaves open how many answers
// there will be, the Tracker errs to "busy".
//
// The zero value is ready.
type Tracker struct {
	status  TxStatus  // of the last ReadyForQuery, 0 before the first
	pending []pending // what the server has not finished, oldest first
	head    int       // index of the oldest in pending
	syncs   int       // answers of ReadyForQuery that are awaited

	open       bool // extended messages have come that no Sync has ended
	copyIn     bool // the server is reading COPY data: it ignores Sync
	copyOut    bool // the server is sending COPY data
	discarding bool // after an error, the server ignores all up to the next Sync
	leaving    bool // the client has said that it leaves
}

// pending is a run of equal things that the server has still to finish.
type pending struct {
	kind  byte // TypeQuery, TypeFunctionCall, TypeSync, or one of those below
	count int
}

// Ends of COPY data that came ahead of the server's wish for data: behind a simple
// query, and within what a Sync will end. If the wish never comes the server
// ignores them.
const (
	endOfCopy         = TypeCopyDone
	endOfExtendedCopy = TypeCopyFail
)

func (p *pending) endsCopy() bool { return p.kind == endOfCopy || p.kind == endOfExtendedCopy }

// maxPendingKept bounds the memory that a Tracker keeps when it is idle.
const maxPendingKept = 64

// Client is told the type of a message from the client.
func (t *Tracker) Client(typ byte) {
	switch typ {
	case TypeParse, TypeBind, TypeDescribe, TypeExecute, TypeClose, TypeFlush:
		if !t.copyIn || typ != TypeFlush {
			t.open = true
		}
	case TypeSync:
		if t.copyIn {
			return // ignored by the server, as COPY's documentation says
		}
		t.open, t.discarding = false, false
		t.push(TypeSync)
	case TypeQuery, TypeFunctionCall:
		if !t.discarding {
			t.push(typ)
		}
	case TypeCopyDone, TypeCopyFail:
		switch {
		case t.copyIn:
			t.copyIn = false
		case t.open && !t.discarding:
			t.push(endOfExtendedCopy)
		case t.head < len(t.pending):
			t.push(endOfCopy)
		}
	case TypeTerminate:
		t.leaving = true
	}
}

// Server is told the type of a message from the server. status is the payload of
// ReadyForQuery, and is not looked at in other messages.
func (t *Tracker) Server(typ, status byte) {
	switch typ {
	case TypeReadyForQuery:
		t.ready(TxStatus(status))
	case TypeErrorResponse:
		t.failed()
	case TypeCopyInResponse, TypeCopyBothResponse:
		t.copyOut = typ == TypeCopyBothResponse
		t.beginCopyIn()
	case TypeCopyOutResponse:
		t.copyOut = true
	case TypeCopyDone:
		t.copyOut = false
	case TypeCommandComplete:
		t.copyIn, t.copyOut = false, false
	}
}

// ServerTypes are the types that Server does anything about; the others need
// not be told.
func ServerTypes() TypeSet {
	return Types(TypeReadyForQuery, TypeErrorResponse, TypeCopyInResponse, TypeCopyBothResponse, TypeCopyOutResponse, TypeCopyDone, TypeCommandComplete)
}

// ClientTypes are the types that Client does anything about.
func ClientTypes() TypeSet {
	return Types(TypeParse, TypeBind, TypeDescribe, TypeExecute, TypeClose, TypeFlush, TypeSync, TypeQuery, TypeFunctionCall,
		TypeCopyDone, TypeCopyFail, TypeTerminate)
}

func (t *Tracker) ready(status TxStatus) {
	t.status = status
	t.copyIn, t.copyOut = false, false
	t.dropEndsOfCopy(true)
	if t.head < len(t.pending) {
		t.drop()
		t.syncs--
	} else {
		// The answer to a Sync that was taken for ignored: the COPY failed before
		// the server had read it.
		t.open, t.discarding = false, false
	}
	t.dropEndsOfCopy(false) // of a COPY that failed before the server had asked for data
	if t.head == len(t.pending) {
		t.head, t.syncs = 0, 0
		if t.pending = t.pending[:0]; cap(t.pending) > maxPendingKept {
			t.pending = nil
		}
	}
}

// failed is an ErrorResponse: the end of a simple query, of which ReadyForQuery
// will tell; in the extended protocol the server now ignores all up to a Sync,
// which is the oldest that is pending, or still to come.
func (t *Tracker) failed() {
	t.copyIn, t.copyOut = false, false
	t.dropEndsOfCopy(true)
	if t.head == len(t.pending) && t.open {
		t.discarding = true
	}
}

// beginCopyIn is the server's wish for COPY data. What the client has sent ahead
// is the data and its end, before which the server ignores each Sync.
func (t *Tracker) beginCopyIn() {
	for i := t.head; i < len(t.pending); i++ {
		if !t.pending[i].endsCopy() {
			continue
		}
		t.dropSyncs(i)
		t.dropFirstEndOfCopy()
		return
	}
	simple := t.head < len(t.pending) && t.pending[t.head].kind == TypeQuery
	t.dropSyncs(len(t.pending))
	t.copyIn = true
	t.open = t.open || !simple // an extended COPY ends with a Sync after its data
}

// dropSyncs forgets the Syncs before index end.
func (t *Tracker) dropSyncs(end int) {
	kept := t.pending[:t.head]
	for i, p := range t.pending[t.head:] {
		if p.kind == TypeSync && t.head+i < end {
			t.syncs -= p.count
			continue
		}
		kept = append(kept, p)
	}
	t.pending = kept
}

func (t *Tracker) dropFirstEndOfCopy() {
	for i := t.head; i < len(t.pending); i++ {
		if p := &t.pending[i]; p.endsCopy() {
			if p.count--; p.count == 0 {
				t.pending = slices.Delete(t.pending, i, i+1)
			}
			return
		}
	}
}

// dropEndsOfCopy forgets ends of COPY data that nothing stands before; those of
// the extended protocol only if told to, since what comes before them has no
// place in pending.
func (t *Tracker) dropEndsOfCopy(extended bool) {
	for t.head < len(t.pending) && t.pending[t.head].endsCopy() && (extended || t.pending[t.head].kind == endOfCopy) {
		t.head++
	}
}

func (t *Tracker) push(kind byte) {
	if kind != endOfCopy && kind != endOfExtendedCopy {
		t.syncs++
	}
	if last := len(t.pending) - 1; last >= t.head && t.pending[last].kind == kind {
		t.pending[last].count++
		return
	}
	if t.head > 0 && len(t.pending) == cap(t.pending) {
		t.pending = t.pending[:copy(t.pending, t.pending[t.head:])]
		t.head = 0
	}
	t.pending = append(t.pending, pending{kind, 1})
}

// drop forgets one of the oldest.
func (t *Tracker) drop() {
	if t.pending[t.head].count--; t.pending[t.head].count == 0 {
		t.head++
	}
}

func (t *Tracker) busy() bool { return t.open || t.head < len(t.pending) }

// Status returns the transaction status that the last ReadyForQuery told, 0
// before the first.
func (t *Tracker) Status() TxStatus { return t.status }

// Outstanding returns how many times ReadyForQuery is awaited.
func (t *Tracker) Outstanding() int { return t.syncs }

// CopyIn reports whether the server is reading COPY data whose end the client
// has not sent.
func (t *Tracker) CopyIn() bool { return t.copyIn }

// CopyOut reports whether the server is sending COPY data. Both are true in the
// streaming of replication.
func (t *Tracker) CopyOut() bool { return t.copyOut }

// Pipelining reports whether the client has sent messages of the extended
// protocol that it has not ended with Sync.
func (t *Tracker) Pipelining() bool { return t.open }

// Terminated reports whether the client has said that it leaves.
func (t *Tracker) Terminated() bool { return t.leaving }

// Idle reports that nothing is under way: every request is answered and no
// transaction is open, so the session can be ended, or its connection given to
// another client, between the last message and the next. The caller also has to
// see that both directions are between two messages (Framer.AtBoundary).
func (t *Tracker) Idle() bool {
	return t.status == TxIdle && !t.busy() && !t.copyIn && !t.copyOut && !t.discarding
}

// Settled is Idle, or waiting for the client within a transaction.
func (t *Tracker) Settled() bool {
	return t.status != 0 && !t.busy() && !t.copyIn && !t.copyOut && !t.discarding
}
