package statsd

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Relay is where each line is sent on to, as it came.
type Relay struct {
	Target string // "host:port" of UDP; "": nowhere
	Packet int    // bytes of a datagram at most; 0: DefaultRelayPacket
}

// DefaultRelayPacket fits into a frame of Ethernet.
const DefaultRelayPacket = 1400

// RelayStats is what a relay has done so far.
type RelayStats struct {
	Packets uint64 // datagrams sent
	Lines   uint64 // taken to be sent
	Dropped uint64 // lines that could not be sent soon enough
	Long    uint64 // lines that no datagram holds
}

// relay sends lines on to another StatsD, several in a datagram.
type relay struct {
	// read-only after construction
	target string
	most   int // bytes of a datagram
	log    *slog.Logger
	queue  chan []byte // lines with their newlines, of one datagram at most
	free   chan []byte // buffers to be used again
	stop   context.CancelFunc
	done   chan struct{}

	mu     sync.Mutex
	filled []byte // not yet in the queue, guarded by mu

	// run's goroutine only
	conn    net.Conn  // nil: not connected
	retry   time.Time // when the target is looked for again
	failing bool      // it was not found, and that was said

	packets, long, lines, dropped atomic.Uint64
}

const (
	relayQueue = 128 // datagrams
	relayEvery = time.Second
	relayDial  = 5 * time.Second // for the target's name to be resolved
)

func newRelay(r Relay, log *slog.Logger) *relay {
	most := r.Packet
	if most <= 0 {
		most = DefaultRelayPacket
	}
	ctx, stop := context.WithCancel(context.Background())
	out := &relay{
		target: r.Target, most: most, log: log,
		queue: make(chan []byte, relayQueue), free: make(chan []byte, relayQueue), stop: stop, done: make(chan struct{}),
	}
	go out.run(ctx)
	return out
}

// line takes a line to be sent. It does not wait: what can't be sent as fast as
// it comes is dropped, and counted.
func (r *relay) line(b []byte) {
	if len(b) > r.most-1 {
		r.long.Add(1)
		return
	}
	r.lines.Add(1)
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.filled)+len(b)+1 > r.most {
		r.passLocked()
	}
	r.filled = append(append(r.filled, b...), '\n')
}

// passLocked hands on what there is.
func (r *relay) passLocked() {
	if len(r.filled) == 0 {
		return
	}
	select {
	case r.queue <- r.filled:
		select {
		case r.filled = <-r.free:
		default:
			r.filled = make([]byte, 0, r.most)
		}
	default:
		r.drop(r.filled)
		r.filled = r.filled[:0]
	}
}

// drop counts the lines of a datagram that is not sent.
func (r *relay) drop(b []byte) {
	for _, c := range b {
		if c == '\n' {
			r.dropped.Add(1)
		}
	}
}

func (r *relay) pass() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.passLocked()
}

func (r *relay) run(ctx context.Context) {
	defer close(r.done)
	tick := time.NewTicker(relayEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case b := <-r.queue:
			r.send(ctx, b)
		case <-tick.C:
			r.pass()
		case <-ctx.Done():
		}
	}
	r.pass()
	for {
		select {
		case b := <-r.queue:
			r.send(ctx, b)
			continue
		default:
		}
		break
	}
	if r.conn != nil {
		_ = r.conn.Close() // a datagram socket has nothing to say
	}
}

// send connects anew after an error: the target may be elsewhere now. That nobody
// is there is told by the error of the datagram after.
func (r *relay) send(ctx context.Context, b []byte) {
	if r.conn != nil || r.connect(ctx) {
		r.write(b)
	} else {
		r.drop(b)
	}
	select {
	case r.free <- b[:0]:
	default:
	}
}

// connect looks for the target, and reports whether it is there. After a failure it
// does so again in a while, not for each datagram.
func (r *relay) connect(ctx context.Context) bool {
	if time.Now().Before(r.retry) {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, relayDial)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "udp", r.target)
	if err != nil {
		r.retry = time.Now().Add(relayEvery)
		if !r.failing {
			r.failing = true
			r.log.Warn("lines are not relayed", "target", r.target, "error", err)
		}
		return false
	}
	if r.failing {
		r.failing = false
		r.log.Info("lines are relayed again", "target", r.target)
	}
	r.conn = conn
	return true
}

func (r *relay) write(b []byte) {
	if _, err := r.conn.Write(b); err != nil { // nobody may be there right now
		r.log.Debug("relaying", "target", r.target, "error", err)
		_ = r.conn.Close() // a datagram socket has nothing to say
		r.conn = nil
	}
	r.packets.Add(1)
}

// close sends what is left. r may be nil.
func (r *relay) close() {
	if r == nil {
		return
	}
	r.stop()
	<-r.done
}

// RelayStats returns what was sent on; ok is false if the source has no relay.
func (s *Source) RelayStats() (stats RelayStats, ok bool) {
	r := s.relay
	if r == nil {
		return RelayStats{}, false
	}
	return RelayStats{Packets: r.packets.Load(), Lines: r.lines.Load(), Dropped: r.dropped.Load(), Long: r.long.Load()}, true
}
