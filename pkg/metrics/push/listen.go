package push

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/metrics"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/families"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/sockets"
	"github.com/dragoman-mesh/dragoman/pkg/netloop/mmsg"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// Limits of what arrives.
const (
	MaxLine        = 64 << 10
	maxConnections = 1000
	batch          = 64      // datagrams that are read at once
	maxArrived     = 8 << 20 // bytes of a connection that are read after its time
)

// Listener takes lines on the sockets of a source.
type Listener struct {
	// read-only after construction
	store  *Store
	ledger *families.Ledger
	take   func(line []byte, now time.Time)
	ends   func() Ends
	log    *slog.Logger
	buffer int // of datagrams, 0: as the system has it
	leases []*sockets.Lease

	mu      sync.Mutex
	packets map[*packets]struct{} // guarded by mu
}

// packets is a socket of datagrams, and how many of its drops were counted.
type packets struct {
	socket *mmsg.Socket
	drops  uint32
}

// left is what a source leaves to the one that gets its socket next.
type left struct {
	series []series
	drops  uint32
}

// Moved implements [sockets.Moving]: another socket begins to count its drops.
func (l left) Moved() any { return left{series: l.series} }

// Listen binds the sockets. Each line is given to take, without its end, from any
// goroutine; it is valid until take returns. What is lost is counted in ledger.
func Listen(cfg *resource.MetricsListen, env metrics.Env, store *Store, ledger *families.Ledger, take func([]byte, time.Time)) (*Listener, error) {
	return ListenTexts(cfg, env, store, ledger, func() Ends { return newline }, take)
}

// Ends finds where the line ends whose bytes it is given, piece by piece: the index of
// the line feed, or -1 if it is not among these. Behind it begins the next line.
type Ends func(b []byte) int

func newline(b []byte) int { return bytes.IndexByte(b, '\n') }

// ListenTexts is Listen for lines that may have line feeds in them. ends is called for
// each datagram and connection.
func ListenTexts(cfg *resource.MetricsListen, env metrics.Env, store *Store, ledger *families.Ledger, ends func() Ends, take func([]byte, time.Time)) (*Listener, error) {
	l := &Listener{store: store, ledger: ledger, take: take, ends: ends, log: env.Log, buffer: cfg.ReadBuffer, packets: make(map[*packets]struct{})}
	if l.log == nil {
		l.log = slog.New(slog.DiscardHandler)
	}
	add := func(lease *sockets.Lease, err error) error {
		if err == nil {
			l.leases = append(l.leases, lease)
		}
		return err
	}
	var err error
	if cfg.UDP != "" {
		err = add(env.Sockets.Packets("udp", cfg.UDP, l.servePackets))
	}
	if cfg.Unixgram != "" && err == nil {
		err = add(env.Sockets.Packets("unixgram", cfg.Unixgram, l.servePackets))
		if err == nil {
			err = sockets.SetMode(cfg.Unixgram, cfg.UnixgramMode)
		}
	}
	if cfg.TCP != "" && err == nil {
		err = add(env.Sockets.Stream("tcp", cfg.TCP, l.serveStream))
	}
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// Addrs are where the source listens: udp, unixgram, tcp, as far as it does.
func (l *Listener) Addrs() []net.Addr {
	var out []net.Addr
	for _, lease := range l.leases {
		out = append(out, lease.Addr())
	}
	return out
}

// Close gives the sockets away. It returns when no line is taken any more.
func (l *Listener) Close() error {
	var errs []error
	for _, lease := range l.leases {
		errs = append(errs, lease.Close())
	}
	return errors.Join(errs...)
}

// Inherit takes over the series that the source before left with a socket.
func Inherit(ctx context.Context, store *Store) (drops uint32) {
	l, ok := sockets.Found(ctx).(left)
	if !ok {
		return 0
	}
	store.adopt(l.series)
	return l.drops
}

// Leave leaves the series to the source that has the socket next.
func Leave(ctx context.Context, store *Store, drops uint32) {
	sockets.Leave(ctx, left{series: store.all(), drops: drops})
}

// all copies the series: a source that has given one of its sockets away may get
// lines on another.
func (s *Store) all() []series {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]series, 0, len(s.series))
	for _, v := range s.series {
		out = append(out, *v)
	}
	return out
}

// adopt takes series over, as far as there is room; a value that has come
// meanwhile stays.
func (s *Store) adopt(list []series) {
	for i := range list {
		v := &list[i]
		var labels []string
		for _, l := range v.labels {
			labels = append(labels, l.GetName(), l.GetValue())
		}
		sample := &Sample{Name: v.family.name, Help: v.family.help, Type: v.family.typ, Labels: labels, Value: v.value, TTL: v.ttl}
		s.setOlder(sample, v.at)
	}
}

func (l *Listener) servePackets(ctx context.Context, socket *mmsg.Socket) {
	p := &packets{socket: socket, drops: Inherit(ctx, l.store)}
	if l.buffer > 0 {
		if err := socket.SetReadBuffer(l.buffer); err != nil {
			l.log.Warn("the read buffer stays as it is", "bytes", l.buffer, "error", err)
		}
	}
	l.mu.Lock()
	l.packets[p] = struct{}{}
	l.mu.Unlock()
	err := socket.Serve(ctx, batch, func(r *mmsg.Reader, n int, at time.Time) {
		for i := range n {
			b, truncated := r.Datagram(i)
			if truncated {
				b = b[:bytes.LastIndexByte(b, '\n')+1] // the last line could have another value
				l.ledger.Add("truncated", 1)
			}
			for line := range l.ends().Lines(b) {
				l.line(line, at)
			}
		}
	})
	if err != nil {
		l.log.Error("reading datagrams has ended", "address", socket.LocalAddr().String(), "error", err)
	}
	l.CountDrops()
	l.mu.Lock()
	delete(l.packets, p)
	drops := p.drops
	l.mu.Unlock()
	Leave(ctx, l.store, drops)
}

// Lines are the lines of b, as [bytes.Lines] has them.
func (e Ends) Lines(b []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for len(b) > 0 {
			n := e(b) + 1
			if n == 0 {
				n = len(b)
			}
			if !yield(b[:n:n]) {
				return
			}
			b = b[n:]
		}
	}
}

// line takes the end off a line, and gives it on if something is left.
func (l *Listener) line(line []byte, now time.Time) {
	if line = bytes.TrimSpace(line); len(line) > 0 {
		l.take(line, now)
	}
}

// CountDrops adds to the ledger what the kernel dropped since the last time.
func (l *Listener) CountDrops() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for p := range l.packets {
		drops, err := p.socket.Drops()
		if err != nil {
			continue // closed, or a kernel that does not tell
		}
		l.ledger.Add("kernel", uint64(drops-p.drops)) // it wraps around
		p.drops = drops
	}
}

func (l *Listener) serveStream(ctx context.Context, listener net.Listener) {
	Inherit(ctx, l.store)
	a := sockets.Acceptor{
		Most: maxConnections, Log: l.log, Serve: func(_ context.Context, conn net.Conn) { l.read(conn) },
		Refused: func() { l.ledger.Add("connection_limit", 1) },
	}
	a.Accept(ctx, listener)
	Leave(ctx, l.store, 0)
}

// read takes the lines of a connection. One that is too long is left out, and so is
// a last one that the sender has not ended: it could have another value.
func (l *Listener) read(conn net.Conn) {
	a := assembler{ends: l.ends, end: l.ends(), take: func(line []byte) { l.line(line, time.Now()) }, long: func() { l.ledger.Add("malformed", 1) }}
	buf := make([]byte, 4<<10)
	read := conn.Read
	for left := maxArrived; left > 0; {
		n, err := read(buf)
		a.add(buf[:n])
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			read = func(b []byte) (int, error) { // what has arrived until now
				left -= len(b)
				return sockets.Arrived(conn, b)
			}
		case errors.Is(err, io.EOF):
			a.last()
			return
		case err != nil:
			left = 0
		}
	}
	if len(a.rest) > 0 && !a.skip {
		l.ledger.Add("truncated", 1)
	}
}

// assembler makes lines of what comes in pieces.
type assembler struct {
	ends func() Ends
	end  Ends
	take func(line []byte)
	long func() // a line was too long

	rest []byte // the beginning of a line
	skip bool   // the line is too long: its rest is not wanted
}

func (a *assembler) add(b []byte) {
	for len(b) > 0 {
		end := a.end(b)
		piece, ended := b, end >= 0
		if ended {
			piece = b[:end]
			b = b[end+1:]
		} else {
			b = nil
		}
		switch {
		case a.skip:
		case len(a.rest)+len(piece) > MaxLine:
			a.skip, a.end = true, newline // its quotes may be wrong
			a.long()
		default:
			a.rest = append(a.rest, piece...)
		}
		if ended {
			if !a.skip {
				a.take(a.rest)
			}
			if a.skip {
				a.end = a.ends()
			}
			a.rest, a.skip = a.rest[:0], false
		}
	}
}

// last takes a last line without an end.
func (a *assembler) last() {
	if len(a.rest) > 0 && !a.skip {
		a.take(a.rest)
	}
	a.rest = nil
}
