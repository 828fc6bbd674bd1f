package statsd

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/netloop/mmsg"
)

// batch is how many datagrams are read at once.
const batch = 64

// packetSocket is one on which datagrams arrive.
type packetSocket struct {
	// read-only after construction
	source *Source
	raw    syscall.RawConn
	unix   bool

	drops   uint32 // of the kernel, as counted so far; guarded by Source.mu
	unknown bool   // the kernel does not tell; guarded by Source.mu
}

// servePackets reads datagrams until ctx is done.
func (s *Source) servePackets(ctx context.Context, c net.PacketConn) {
	conn, ok := c.(syscall.Conn)
	if !ok {
		s.log.Error("StatsD: a socket without a descriptor", "network", c.LocalAddr().Network())
		return
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		s.log.Error("StatsD: a socket can't be read", "address", c.LocalAddr().String(), "error", err)
		return
	}
	s.setReadBuffer(c)
	_, unix := c.(*net.UnixConn)
	p := &packetSocket{source: s, raw: raw, unix: unix}
	p.drops = s.inherit(ctx)
	s.follow(p)
	defer s.leave(ctx, p)
	if err := p.read(ctx); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, net.ErrClosed) {
		s.log.Error("StatsD: reading datagrams has ended", "address", c.LocalAddr().String(), "error", err)
	}
}

func (s *Source) setReadBuffer(c net.PacketConn) {
	size := s.config.ReadBuffer
	if b, ok := c.(interface{ SetReadBuffer(bytes int) error }); ok && size > 0 {
		if err := b.SetReadBuffer(size); err != nil {
			s.log.Warn("StatsD: the read buffer stays as it is", "address", c.LocalAddr().String(), "bytes", size, "error", err)
		}
	}
}

// read takes datagrams until the socket has none any more. All of it is one call
// of raw.Read, which waits between two batches: so nobody asks for datagrams
// that are not there.
func (p *packetSocket) read(ctx context.Context) error {
	r, err := mmsg.NewReader(batch)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }() // nobody has its datagrams any more
	var (
		failed syscall.Errno
		last   int64 // when datagrams were read
	)
	pause := p.pause()
	err = p.raw.Read(func(fd uintptr) bool {
		for ctx.Err() == nil { // there may always be more
			n, errno := r.Read(fd)
			switch errno {
			case 0:
			case syscall.EAGAIN:
				return false
			case syscall.EINTR, syscall.ECONNREFUSED:
				continue
			default:
				failed = errno
				return true
			}
			before := last
			last = time.Now().UnixNano()
			p.deliver(r, n, last)
			switch {
			case n == batch: // there is more
			case pause > 0 && (n >= several || last-before < int64(often)):
				time.Sleep(pause)
			default:
				return false
			}
		}
		return true
	})
	if failed != 0 {
		return os.NewSyscallError("recvmmsg", failed)
	}
	return err
}

// Datagrams that come one after the other cost more to wait for than to read. So
// while they do, and the socket's buffer has room for many more, they are given
// a moment to gather. (A nanosleep of the thread costs three times as much CPU time:
// Go's monitor thread watches system calls that last.)
const (
	often   = time.Millisecond / 5
	several = 4
	// roomPerPause is how much of a buffer, in bytes as the kernel counts them,
	// allows for a millisecond: some 1,000 datagrams of 1,400 bytes.
	roomPerPause = 2 << 20
	longestPause = 5
)

// pause is for how long datagrams may gather; 0 where there is no room for many.
func (p *packetSocket) pause() time.Duration {
	size := 0
	err := p.raw.Control(func(fd uintptr) {
		size, _ = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF) // 0 when it is not known
	})
	if err != nil {
		return 0
	}
	return time.Duration(min(size/roomPerPause, longestPause)) * time.Millisecond
}

// deliver hands a batch to the store.
func (p *packetSocket) deliver(r *mmsg.Reader, n int, now int64) {
	store := p.source.store.Load()
	store.mu.Lock()
	defer store.mu.Unlock()
	if p.unix {
		store.stats.UnixDatagrams += uint64(n)
	} else {
		store.stats.Datagrams += uint64(n)
	}
	for i := range n {
		b, truncated := r.Datagram(i)
		if truncated {
			store.stats.Truncated++
		}
		store.packet(b, now)
	}
}

// countDropsLocked adds what the kernel dropped since the last time. The caller holds
// the source's lock.
func (p *packetSocket) countDropsLocked(log *slog.Logger) {
	if p.unknown {
		return
	}
	var drops uint32
	var err error
	if failed := p.raw.Control(func(fd uintptr) { drops, err = mmsg.Drops(fd) }); failed != nil {
		return // closed
	}
	if err != nil {
		p.unknown = true
		log.Warn("StatsD: datagrams that the kernel drops can't be counted", "error", err)
		return
	}
	store := p.source.store.Load()
	store.mu.Lock()
	store.stats.KernelDrops += uint64(drops - p.drops) // it wraps around
	store.mu.Unlock()
	p.drops = drops
}
