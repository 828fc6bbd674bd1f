package database

import (
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/netloop"
)

const (
	// stormFrom is how many sessions have to be lost within stormTime for those that
	// come then to be taken for a storm.
	stormFrom = 4
	stormTime = 2 * time.Second
	// stormSpread is over how long those that come back are spread, so that not all
	// proxies of a fleet are there in the same millisecond.
	stormSpread = 200 * time.Millisecond
)

// Dials limits how many connects and logins are under way at once at each
// endpoint, for all loops and listeners. Begin with [NewDials].
type Dials struct {
	descs dialDescs // read-only after construction

	mu     sync.Mutex // guards below
	doors  map[door]*entrance
	totals dialTotals
}

type door struct{ network, address string }

// entrance is what leads to one endpoint.
type entrance struct {
	gate  Gate
	users int       // turns that are not left; guarded by Dials.mu
	lost  int       // sessions since then; guarded by Dials.mu
	since time.Time // guarded by Dials.mu
}

// NewDials returns one without anybody, of a filter with this name in metrics.
func NewDials(filter string) *Dials {
	return &Dials{descs: newDialDescs(filter), doors: map[door]*entrance{}}
}

// Turn is the wish to connect to an endpoint, and later the right to. Its loop
// alone uses it. A nil one has been left.
type Turn struct {
	d     *Dials
	at    door
	in    *entrance
	w     Waiter
	delay *netloop.Timer
	then  func()
	left  bool
	began bool // it stands at the gate, or is through
}

// Turn makes one at an endpoint, where so many may connect at once; 0: all. then is
// called as soon as less than limit others do, once it is entered: from within
// Enter, or later on the loop, unless the turn has been left by then. Whoever makes
// one leaves it.
func (d *Dials) Turn(loop *netloop.Loop, e *filters.Endpoint, limit uint32, then func()) *Turn {
	t := &Turn{d: d, at: door{e.Network, e.Address}, then: then}
	t.w = Waiter{Loop: loop, Entered: t.entered}
	d.mu.Lock()
	t.in = d.doors[t.at]
	if t.in == nil {
		t.in = &entrance{}
		d.doors[t.at] = t.in
	}
	t.in.users++
	d.mu.Unlock()
	t.in.gate.Resize(limit)
	return t
}

// Enter begins to wait, behind all others. In a storm it does so some time later.
func (t *Turn) Enter() {
	t.d.mu.Lock()
	storm := t.in.lost >= stormFrom && t.in.recently()
	if storm {
		t.d.totals.delayed++
	}
	t.d.mu.Unlock()
	if storm {
		t.delay = t.w.Loop.After(rand.N(stormSpread), t.enter)
		return
	}
	t.enter()
}

// EnterFirst begins to wait, before all that came by Enter: for a login that has
// left a turn, and has a connection whose server does not wait for ever.
func (t *Turn) EnterFirst() { t.pass(t.in.gate.EnterFirst(&t.w)) }

func (t *Turn) enter() { t.pass(t.in.gate.Enter(&t.w, math.MaxInt)) }

func (t *Turn) pass(p Passage) {
	t.began = true
	if p == Entered {
		t.then()
		return
	}
	t.d.mu.Lock()
	defer t.d.mu.Unlock()
	t.d.totals.queued++
}

func (t *Turn) entered() {
	if !t.left {
		t.then()
	}
}

// Waiting reports whether then has still to be called.
func (t *Turn) Waiting() bool { return t != nil && !t.left && !t.through() }

// Held reports whether then has been called, and the turn has not been left.
func (t *Turn) Held() bool { return t != nil && !t.left && t.through() }

func (t *Turn) through() bool { return t.began && t.in.gate.has(&t.w) }

// Leave lets the next one in.
func (t *Turn) Leave() {
	if t == nil || t.left {
		return
	}
	waited := !t.through()
	t.left = true
	if t.delay != nil {
		t.delay.Stop()
	}
	if t.began {
		t.in.gate.Leave(&t.w)
	}
	t.d.mu.Lock()
	defer t.d.mu.Unlock()
	if waited {
		t.d.totals.left++
	}
	if t.in.users--; t.in.users == 0 && !t.in.recently() {
		delete(t.d.doors, t.at)
	}
}

// recently reports whether sessions have been lost lately.
func (n *entrance) recently() bool { return time.Since(n.since) < stormTime }

// Open returns how many turns there are that have not been left.
func (d *Dials) Open() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := 0
	for _, in := range d.doors {
		n += in.users
	}
	return n
}

// Lost says that an endpoint has ended a session that was under way: others may
// have ended with it.
func (d *Dials) Lost(e *filters.Endpoint) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for at, in := range d.doors { // those that nobody has come back to
		if in.users == 0 && !in.recently() {
			delete(d.doors, at)
		}
	}
	at := door{e.Network, e.Address}
	in := d.doors[at]
	if in == nil {
		in = &entrance{}
		d.doors[at] = in
	}
	if !in.recently() {
		in.lost, in.since = 0, time.Now()
	}
	in.lost++
}
