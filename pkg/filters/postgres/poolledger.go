package postgres

import "github.com/dragoman-mesh/dragoman/pkg/pgproto"

// action says what becomes of a server's answer.
type action uint8

const (
	pass    action = iota // it is the client's
	swallow               // the client has not asked
	own                   // the server is not asked: the answer is ours
	replace               // the server is asked for an error, in whose place comes ours
	clash                 // the server is asked for a name that it has, which is an error
)

// answer is what is owed for one message to a server. kind is the message's
// type.
type answer struct {
	kind byte
	act  action
	stmt *statement // which is prepared, closed or used; nil: unnamed, or not known
	as   string     // the client's name of stmt
	undo *undo      // what is taken back if the message is skipped; nil: nothing
}

// changes reports whether the message changes what names mean, or what the server
// has.
func (a *answer) changes() bool {
	return a.undo != nil || a.stmt != nil && (a.kind == pgproto.TypeParse || a.kind == pgproto.TypeClose)
}

// undo is what was before a message.
type undo struct {
	name     string     // the client's, which means another thing now
	meant    *statement // what it, or executed, meant
	anonym   bool       // it is the unnamed statement
	unnamed  *unnamed   // the client's
	atServer uint64     // the server's
	instead  string     // of replace: the error
	rubbish  string     // a name at the server that is closed
	executed string     // a name that the server would know by then
}

// ledger is what a server owes, oldest first: so it is known where in the stream
// an answer of ours belongs, which of the server's are not for the client, and
// which messages an error makes the server skip. The zero value is empty.
type ledger struct {
	list    []answer
	head    int
	owned   int // answers of ours that wait for the server's before them
	changes int // messages that change something if they are not skipped
}

// maxLedgerKept bounds the memory that an empty ledger keeps, in answers.
const maxLedgerKept = 256

func (l *ledger) empty() bool { return l.head == len(l.list) }

// front returns the oldest, nil if there is none. It is valid until the next
// change.
func (l *ledger) front() *answer {
	if l.head == len(l.list) {
		return nil
	}
	return &l.list[l.head]
}

func (l *ledger) push(a answer) {
	if a.act == own {
		l.owned++
	}
	if a.changes() {
		l.changes++
	}
	if l.head > len(l.list)/2 && len(l.list) == cap(l.list) {
		n := copy(l.list, l.list[l.head:])
		clear(l.list[n:])
		l.list, l.head = l.list[:n], 0
	}
	l.list = append(l.list, a)
}

// note is push for the messages that most are.
func (l *ledger) note(kind byte) {
	if len(l.list) < cap(l.list) {
		l.list = l.list[:len(l.list)+1]
		l.list[len(l.list)-1] = answer{kind: kind}
		return
	}
	l.push(answer{kind: kind})
}

func (l *ledger) pop() answer {
	a := l.list[l.head]
	l.head++
	if a.act == own {
		l.owned--
	}
	if a.changes() {
		l.changes--
	}
	if l.head == len(l.list) {
		l.reset()
	}
	return a
}

func (l *ledger) reset() {
	if cap(l.list) > maxLedgerKept {
		l.list = nil
	}
	l.list, l.head, l.owned, l.changes = l.list[:0], 0, 0, 0
}

// dropEnds forgets ends of COPY data that no COPY has asked for.
func (l *ledger) dropEnds() {
	for !l.empty() && l.list[l.head].kind == pgproto.TypeCopyDone {
		l.pop()
	}
}

// due takes an answer of ours whose turn it is.
func (l *ledger) due() (answer, bool) {
	if l.owned == 0 {
		return answer{}, false
	}
	if a := l.front(); a == nil || a.act != own {
		return answer{}, false
	}
	return l.pop(), true
}

// completes reports whether a server's message ends what is owed for kind.
func completes(typ, kind byte) bool {
	switch typ {
	case pgproto.TypeParseComplete:
		return kind == pgproto.TypeParse
	case pgproto.TypeBindComplete:
		return kind == pgproto.TypeBind
	case pgproto.TypeCloseComplete:
		return kind == pgproto.TypeClose
	case pgproto.TypeRowDescription, pgproto.TypeNoData:
		return kind == pgproto.TypeDescribe
	case pgproto.TypeCommandComplete, pgproto.TypeEmptyQueryResponse, pgproto.TypePortalSuspended:
		return kind == pgproto.TypeExecute
	}
	return false
}

// simple reports whether all of the server's messages up to ReadyForQuery belong
// to what is owed.
func simple(kind byte) bool { return kind == pgproto.TypeQuery || kind == pgproto.TypeFunctionCall }

// complete takes the oldest if a message of the server ends it; false means that
// the server says what nobody has asked.
func (l *ledger) complete(typ byte) (answer, bool) {
	l.dropEnds()
	a := l.front()
	switch {
	case a == nil:
		return answer{}, false
	case simple(a.kind):
		return answer{}, true
	case !completes(typ, a.kind):
		return answer{}, false
	}
	return l.pop(), true
}

// ready takes what ReadyForQuery ends. It is nothing where a Sync had been taken
// for one that the server ignores, as it does in the middle of COPY data.
func (l *ledger) ready() (answer, bool) {
	l.dropEnds()
	a := l.front()
	if a == nil || a.kind != pgproto.TypeSync && !simple(a.kind) {
		return answer{}, false
	}
	got := l.pop()
	l.dropEnds()
	return got, true
}

// failed takes all that an error makes the server skip: what it had not finished
// up to the next Sync, which stays. The first is the one that failed. more says
// that the Sync is still to come.
func (l *ledger) failed() (skipped []answer, more bool) {
	l.dropEnds()
	a := l.front()
	if a == nil || simple(a.kind) || a.kind == pgproto.TypeSync {
		return nil, false
	}
	for !l.empty() && l.front().kind != pgproto.TypeSync {
		skipped = append(skipped, l.pop())
	}
	return skipped, l.empty()
}

// copyIn is the server's wish for COPY data: Syncs that came before the end of
// the data are ignored by it.
func (l *ledger) copyIn() {
	end := len(l.list)
	for i := l.head; i < len(l.list); i++ {
		if l.list[i].kind == pgproto.TypeCopyDone {
			end = i
			break
		}
	}
	kept := l.list[:l.head]
	for i := l.head; i < len(l.list); i++ {
		a := l.list[i]
		if i == end || i < end && a.kind == pgproto.TypeSync {
			continue
		}
		kept = append(kept, a)
	}
	clear(l.list[len(kept):])
	l.list = kept
}
