package http

import (
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/netloop"
)

// due is something that becomes due on a client's connection.
type due uint8

const (
	dueIdle    due = iota // the next request has not begun
	dueHead               // it has, and its head is not whole
	dueRest               // of a body that nobody reads any more
	dueLinger             // the client was told that the connection ends
	dueGone               // the client has finished sending: does it wait for the answer?
	dueRequest            // the request is not whole
	dueBound              // there is no answer
	dueStill              // nothing was sent or received
	dueHeld               // the head of an answer waits for its body
	dueAge                // the exchange as a whole
	dueTry                // of one try
	duePause              // before another
	dues
)

// loopClock is one timer for all that may become due on a connection. Setting and
// clearing costs no more than a store: the timer fires at what was the nearest once,
// and looks for itself.
type loopClock struct {
	loop  *netloop.Loop
	timer *netloop.Timer
	fires int64 // when the timer does, ns of Loop.Now
	at    [dues]int64
	fn    func(due)
}

func (k *loopClock) start(l *netloop.Loop, fn func(due)) { k.loop, k.fn = l, fn }

// set makes something due after d; 0: never.
func (k *loopClock) set(what due, d time.Duration) {
	if d <= 0 {
		k.at[what] = 0
		return
	}
	at := k.loop.Now() + int64(d)
	k.at[what] = at
	switch {
	case k.timer == nil:
		k.timer = k.loop.After(d, k.look)
	case !k.timer.Active() || at < k.fires:
		k.timer.Reset(d)
	default:
		return
	}
	k.fires = at
}

// isSet says that something will be due.
func (k *loopClock) isSet(what due) bool { return k.at[what] != 0 }

// clear takes back all of a request.
func (k *loopClock) clear() { clear(k.at[dueGone:]) }

func (k *loopClock) stop() {
	clear(k.at[:])
	if k.timer != nil {
		k.timer.Stop()
	}
}

// look tells what is due, and sets the timer for what comes next.
func (k *loopClock) look() {
	now := k.loop.Now()
	for what := range dues {
		if at := k.at[what]; at != 0 && at <= now {
			k.at[what] = 0
			k.fn(what)
		}
	}
	var next int64
	for _, at := range k.at {
		if at != 0 && (next == 0 || at < next) {
			next = at
		}
	}
	if next != 0 && (!k.timer.Active() || next < k.fires) {
		k.timer.Reset(time.Duration(next - now))
		k.fires = next
	}
}
