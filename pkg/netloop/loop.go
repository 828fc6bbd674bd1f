package netloop

import (
	"cmp"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Errors that drivers and callers may look for.
var (
	// ErrStopped says that the loop has been stopped.
	ErrStopped = errors.New("event loop stopped")
	// ErrLinger says that output was not taken in time after CloseAfterFlush.
	ErrLinger = errors.New("peer did not take the output in time")
	// ErrDialTimeout says that a connect, or the handshake after it, took too long.
	ErrDialTimeout = errors.New("dial timeout")
	// ErrHandshakeTimeout says that a client did not finish its TLS handshake in time.
	ErrHandshakeTimeout = errors.New("TLS handshake timeout")
	// ErrAddress says that an address is neither a literal IP:port nor a path.
	ErrAddress = errors.New("not a literal address")
)

// Options of a loop. The zero value means the defaults.
type Options struct {
	Name       string // for logs
	ID         uint16 // differs between the loops of a process
	HighWater  int    // buffered output in bytes above which Drained is due later; 1 MiB
	LowWater   int    // and at which it is called; 256 KiB
	ReadBuffer int    // bytes read per connection and turn; 72 KiB
	FlushEarly int    // buffered output in bytes that is written at once; 32 KiB
	PoolLimit  int    // bytes kept in free lists; 8 MiB
	// Handshake bounds a client's TLS handshake; 10 s.
	Handshake time.Duration
}

func (o Options) withDefaults() Options {
	o.HighWater = cmp.Or(o.HighWater, 1<<20)
	o.LowWater = cmp.Or(o.LowWater, 256<<10)
	o.ReadBuffer = max(cmp.Or(o.ReadBuffer, largeChunk), smallChunk)
	o.FlushEarly = cmp.Or(o.FlushEarly, 32<<10)
	o.PoolLimit = cmp.Or(o.PoolLimit, 8<<20)
	o.Handshake = cmp.Or(o.Handshake, 10*time.Second)
	return o
}

// Loop is one event loop. Only the methods that say so may be called from
// another goroutine than the one that runs it.
type Loop struct {
	o     Options // read-only after construction
	base  time.Time
	epfd  int
	wakeU int // eventfd
	tickU int // timerfd
	test  *testState

	// Loop goroutine only.
	now          int64
	woke         int64 // when the last wait ended
	conns        []*Conn
	unused       []int32 // free slots of conns
	lastGen      int32
	lastID       uint64
	ready        [2][]*Conn // served in this iteration
	next         [2][]*Conn // and in the next
	held         []held     // whose output waits, in the order of until
	heldAtOnce   int        // how many of them until the next iteration
	noShortWaits bool       // the kernel does not wait for less than a millisecond
	dirty        [2][]*Conn
	closing      []closure
	accepts      []*Listener // by slot; nil: closed
	timers       timerHeap
	pool         pool
	freed        *Chunk // reusable from the next iteration on
	inbuf        *Chunk // what reads fill; nil: given away
	plain        *Chunk // the same for TLS plain text
	shown        *Chunk // what the driver is being shown
	given        bool   // shown's memory has been given away
	quiet        bool   // nothing came for a while: park in the scheduler
	lingering    int    // remains of connections
	silence      silence
	nvec         int
	vectors      [maxVectors]syscall.Iovec
	events       []syscall.EpollEvent
	stats        Stats
	eventsAtTick uint64    // stats.Events when the ticker was rewound
	idleTicks    int       // ticks in a row that nothing else came with
	wall         time.Time // at wallAt
	wallAt       int64
	draining     bool // stopped: new connections fail at once
	posted       bool // the eventfd was seen

	// OnDial, in a test loop, is shown the connections that are dialled; they
	// count as established at once.
	OnDial func(c *Conn, network, addr string)

	// Any goroutine.
	busy  atomic.Int64    // ns not spent waiting
	open  [2]atomic.Int32 // connections by side
	state struct {
		sync.Mutex
		posted  []func()
		waking  bool // the eventfd has been written
		stopped bool
		running bool
	}
	spare []func() // loop goroutine only: the other half of posted
}

// closure is a connection whose Closed is due.
type closure struct {
	c   *Conn
	err error
}

// New returns a loop; [Loop.Run] runs it. A loop that is never run must still
// be stopped, to release its descriptors.
func New(o Options) (*Loop, error) {
	l := newLoop(o)
	if err := l.openPoller(); err != nil {
		return nil, fmt.Errorf("creating event loop %q: %w", o.Name, err)
	}
	return l, nil
}

func newLoop(o Options) *Loop {
	o = o.withDefaults()
	l := &Loop{o: o, base: time.Now(), epfd: -1, wakeU: -1, tickU: -1}
	l.wall = l.base
	l.pool.limit = o.PoolLimit
	l.lastID = uint64(o.ID) << 48
	return l
}

// Name returns the loop's name.
func (l *Loop) Name() string { return l.o.Name }

// Now returns the time in ns of a monotonic clock, as read at the start of the
// iteration.
func (l *Loop) Now() int64 { return l.now }

// WallTime returns the time of day at the start of the iteration, for logs.
func (l *Loop) WallTime() time.Time {
	if l.test == nil && l.now-l.wallAt > int64(time.Second) { // follow the clock's adjustments
		l.wall, l.wallAt = time.Now(), l.clock()
	}
	return l.wall.Add(time.Duration(l.now - l.wallAt))
}

// clock reads the monotonic clock, in ns since the loop was made.
func (l *Loop) clock() int64 { return int64(time.Since(l.base)) }

// Run runs the loop on the calling goroutine until [Loop.Stop]; then it closes
// all connections and returns. On a loop that runs already, or was stopped
// before, it returns [ErrStopped].
func (l *Loop) Run() error {
	l.state.Lock()
	if l.state.stopped || l.state.running {
		l.state.Unlock()
		return ErrStopped
	}
	l.state.running = true
	l.state.Unlock()
	l.woke = l.clock()
	l.now = l.woke
	var err error
	for err == nil && !l.draining {
		var n int
		n, err = l.wait()
		l.iterate(n)
	}
	l.shutdown()
	return err
}

// Stop ends the loop. Any goroutine may call it.
func (l *Loop) Stop() {
	l.state.Lock()
	was := l.state.stopped
	l.state.stopped = true
	running := l.state.running
	if running && !was {
		l.wake()
	}
	l.state.Unlock()
	if !running {
		l.closePoller()
	}
}

// Post has fn called on the loop's goroutine. Any goroutine may call it. It
// returns false, and fn is not called, once the loop is stopped.
func (l *Loop) Post(fn func()) bool {
	l.state.Lock()
	if l.state.stopped {
		l.state.Unlock()
		return false
	}
	l.state.posted = append(l.state.posted, fn)
	wake := !l.state.waking
	l.state.waking = true
	if wake {
		l.wake() // under the lock, so that the descriptor is still ours
	}
	l.state.Unlock()
	return true
}

// runPosted calls what was posted, in order.
func (l *Loop) runPosted() {
	l.state.Lock()
	list := l.state.posted
	l.state.posted = l.spare[:0]
	l.state.waking = false
	l.draining = l.draining || l.state.stopped
	l.state.Unlock()
	for i, fn := range list {
		list[i] = nil
		fn()
	}
	l.spare = list
}

// iterate is one iteration over the n events that wait returned.
func (l *Loop) iterate(n int) {
	l.stats.Iterations++
	l.begin()
	l.releaseHeld()
	l.collect(n)
	l.gatherMore(l.serveAll(Downstream))
	l.flushAll(Upstream)
	l.serveAll(Upstream)
	l.flushAll(Downstream)
	l.finish()
}

// begin makes the memory freed in the last iteration reusable and puts the
// connections that asked for another turn on the ready lists.
func (l *Loop) begin() {
	if l.freed != nil {
		l.recycle()
	}
	for s := range l.next {
		if len(l.next[s]) > 0 {
			l.ready[s], l.next[s] = l.next[s], l.ready[s][:0]
		}
	}
}

// finish runs everything that is not reading, and writes what came of it.
func (l *Loop) finish() {
	if l.woken() {
		l.runPosted()
	}
	if len(l.timers) > 0 {
		l.runTimers()
	}
	l.settleAll()
}

// settleAll writes and closes until nothing is left to do at once.
func (l *Loop) settleAll() {
	for range 4 { // bounded: drivers may answer a Drained with more
		if len(l.dirty[Upstream]) > 0 {
			l.flushAll(Upstream)
		}
		if len(l.dirty[Downstream]) > 0 {
			l.flushAll(Downstream)
		}
		if len(l.closing) == 0 {
			return
		}
		l.runClosings()
	}
}

// closeConn makes Closed due at the end of the iteration.
func (l *Loop) closeConn(c *Conn, err error) {
	if c.is(isClosed) {
		return
	}
	c.flags |= isClosed
	l.closing = append(l.closing, closure{c, err})
}

// runClosings calls Closed and releases what the connections held. What is
// closed meanwhile waits for the next call: a driver may dial again in Closed,
// and fail again at once.
func (l *Loop) runClosings() {
	n := len(l.closing)
	for i := range n {
		x := l.closing[i]
		l.release(x.c)
		if x.c.driver != nil { // else refused by Accept
			x.c.driver.Closed(x.c, x.err)
		}
		l.closeSocket(x.c, x.err)
	}
	m := copy(l.closing, l.closing[n:])
	clear(l.closing[m:])
	l.closing = l.closing[:m]
}

// release frees a closed connection's memory and timers.
func (l *Loop) release(c *Conn) {
	if c.in != nil {
		l.Free(c.in)
		c.in = nil
	}
	c.bulk = 0
	if l.silence.since != nil {
		delete(l.silence.since, c)
	}
	x := c.rare
	if x != nil {
		if x.linger != nil {
			x.linger.Stop()
		}
		if x.dial != nil {
			x.dial.stop()
		}
		if x.coarse != nil {
			x.coarse.timer.Stop()
		}
		if x.tls != nil {
			x.tls.release(l, c)
		}
	}
	c.out.Free(l)
}

// maxFarewells is how many rounds of connections closed in Closed a loop that
// ends goes through. A driver that always dials again would have no end.
const maxFarewells = 16

// shutdown closes everything after the last iteration.
func (l *Loop) shutdown() {
	l.draining = true
	l.state.Lock()
	l.state.stopped = true
	l.state.Unlock()
	l.runPosted() // accepted before the stop
	for _, n := range l.accepts {
		if n != nil {
			n.closeSocket()
		}
	}
	for _, c := range l.conns {
		if c != nil {
			l.closeConn(c, ErrStopped)
		}
	}
	for i := 0; len(l.closing) > 0 && i < maxFarewells; i++ {
		l.runClosings()
	}
	l.closePoller()
}
