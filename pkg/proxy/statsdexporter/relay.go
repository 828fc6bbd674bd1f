package statsdexporter

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// relay sends lines on to another StatsD, several in a datagram.
type relay struct {
	// read-only after construction
	target string
	most   int // bytes of a datagram
	conn   net.Conn
	log    *slog.Logger
	queue  chan []byte // lines with their newlines, of one datagram at most
	free   chan []byte // buffers to be used again
	stop   chan struct{}
	done   chan struct{}

	mu     sync.Mutex
	filled []byte // not yet in the queue, guarded by mu

	packets, long, lines, dropped atomic.Uint64
}

const (
	relayQueue = 128 // datagrams
	relayEvery = time.Second
)

func newRelay(ctx context.Context, target string, most int, log *slog.Logger) (*relay, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "udp", target)
	if err != nil {
		return nil, fmt.Errorf("relaying to %q: %w", target, err)
	}
	r := &relay{
		target: target, most: most, conn: conn, log: log,
		queue: make(chan []byte, relayQueue), free: make(chan []byte, relayQueue), stop: make(chan struct{}), done: make(chan struct{}),
	}
	go r.run()
	return r, nil
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
		for _, c := range r.filled {
			if c == '\n' {
				r.dropped.Add(1)
			}
		}
		r.filled = r.filled[:0]
	}
}

func (r *relay) run() {
	defer close(r.done)
	tick := time.NewTicker(relayEvery)
	defer tick.Stop()
	for {
		select {
		case b := <-r.queue:
			r.send(b)
		case <-tick.C:
			r.mu.Lock()
			r.passLocked()
			r.mu.Unlock()
		case <-r.stop:
			r.mu.Lock()
			r.passLocked()
			r.mu.Unlock()
			for {
				select {
				case b := <-r.queue:
					r.send(b)
				default:
					return
				}
			}
		}
	}
}

func (r *relay) send(b []byte) {
	if _, err := r.conn.Write(b); err != nil { // nobody may be there right now
		r.log.Debug("relaying", "target", r.target, "error", err)
	}
	r.packets.Add(1)
	select {
	case r.free <- b[:0]:
	default:
	}
}

// close sends what is left. r may be nil.
func (r *relay) close() {
	if r == nil {
		return
	}
	close(r.stop)
	<-r.done
	_ = r.conn.Close() // a datagram socket has nothing to say
}
