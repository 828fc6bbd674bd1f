package statsd

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/metrics/sockets"
)

// readSize is how much is read from a connection at once. The memory is taken
// when there is something to read: a connection that keeps still has none.
const readSize = 64 << 10

// maxArrived bounds what is read of a connection after its time, in bytes.
const maxArrived = 8 << 20

// serveStream serves connections until ctx is done, and then ends them.
func (s *Source) serveStream(ctx context.Context, l net.Listener) {
	s.inherit(ctx)
	a := sockets.Acceptor{
		Most: s.config.MaxConnections, Serve: s.serveConn, Log: s.log,
		Refused: func() { s.count(func(st *Stats) { st.Refused++ }) },
	}
	a.Accept(ctx, l)
	sockets.Leave(ctx, legacy{store: s.store.Load()})
}

func (s *Source) serveConn(ctx context.Context, conn net.Conn) {
	s.count(func(st *Stats) { st.Connections++ })
	err := s.read(ctx, conn)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, os.ErrDeadlineExceeded) {
		s.count(func(st *Stats) { st.TCPErrors++ })
	}
}

// read takes the lines of a connection until it ends, or what has arrived when its
// time is over. A last line whose end may have been lost is none.
func (s *Source) read(ctx context.Context, conn net.Conn) error {
	c, ok := conn.(syscall.Conn)
	if !ok {
		return errors.ErrUnsupported
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	lines := assembler{source: s}
	defer lines.cutOff()
	var (
		n     int
		errno error
	)
	take := func(fd uintptr) bool {
		buf := s.buffers.Get().(*[readSize]byte) //nolint:forcetypeassert // it holds nothing else
		defer s.buffers.Put(buf)
		n, errno = syscall.Read(int(fd), buf[:])
		if n > 0 {
			lines.take(buf[:n])
		}
		return !errors.Is(errno, syscall.EAGAIN)
	}
	for {
		if err := sockets.ReadWithin(ctx, conn, s.config.IdleTimeout); err != nil {
			return err
		}
		if err := raw.Read(take); err != nil {
			idle := ctx.Err() == nil && errors.Is(err, os.ErrDeadlineExceeded)
			if s.arrived(conn, &lines) && idle {
				continue // something came in that instant, and its rest may follow
			}
			if idle {
				lines.end() // it was idle for so long: nothing more of the line comes
			}
			return err
		}
		switch {
		case errors.Is(errno, syscall.EINTR):
		case errno != nil:
			return errno
		case n == 0:
			lines.end()
			return io.EOF
		}
	}
}

// arrived takes what is there of a connection that is not waited for any more. It
// reports whether there was something, and the connection goes on.
func (s *Source) arrived(conn net.Conn, lines *assembler) (some bool) {
	buf := s.buffers.Get().(*[readSize]byte) //nolint:forcetypeassert // it holds nothing else
	defer s.buffers.Put(buf)
	for range maxArrived / readSize {
		n, err := sockets.Arrived(conn, buf[:])
		switch {
		case errors.Is(err, io.EOF):
			lines.end()
			return false
		case err != nil:
			return some
		}
		lines.take(buf[:n])
		some = true
	}
	return some
}

// assembler makes lines of what a connection brings in pieces.
type assembler struct {
	source *Source
	rest   []byte // the beginning of a line
	skip   bool   // the line was too long: its rest is not wanted
}

func (a *assembler) take(b []byte) {
	store := a.source.store.Load()
	now := clock(time.Now())
	store.mu.Lock()
	defer store.mu.Unlock()
	if len(a.rest) > 0 || a.skip {
		end := bytes.IndexByte(b, '\n')
		if end < 0 {
			a.keep(store, b)
			return
		}
		if !a.skip {
			a.keep(store, b[:end])
		}
		if !a.skip {
			store.packet(a.rest, now)
		}
		a.rest, a.skip = a.rest[:0], false
		b = b[end+1:]
	}
	end := bytes.LastIndexByte(b, '\n') + 1
	store.packet(b[:end], now)
	a.keep(store, b[end:])
}

// keep keeps the beginning of a line for its rest.
func (a *assembler) keep(store *store, b []byte) {
	if a.skip || len(b) == 0 {
		return
	}
	if len(a.rest)+len(b) > store.options.MaxLine+1 { // a carriage return may be the last of it
		store.stats.Lines++
		store.stats.LongLines++
		a.rest, a.skip = nil, true
		return
	}
	a.rest = append(a.rest, b...)
}

// cutOff counts a last line whose end is lost: it could mean something else.
func (a *assembler) cutOff() {
	if len(a.rest) > 0 {
		a.source.count(func(st *Stats) { st.Truncated++ })
	}
}

// end takes a last line that has no newline.
func (a *assembler) end() {
	if len(a.rest) == 0 {
		return
	}
	store := a.source.store.Load()
	store.mu.Lock()
	defer store.mu.Unlock()
	store.packet(a.rest, clock(time.Now()))
	a.rest = nil
}
