package h2

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Spill is a socket whose writes can be cut short and harm nobody: what the kernel
// has not taken is kept, and written before all that comes later. So a goroutine
// that writes for its whole connection can be told that its own time is over. It
// belongs beneath TLS, where half a record would be the end.
type Spill struct {
	net.Conn
	short atomic.Bool // nobody waits for the client any more

	mu   sync.Mutex // held by who writes
	rest []byte     // guarded by mu
}

// NewSpill returns a socket in whose place it is used. Without one beneath its TLS a
// connection works, too, but for that.
func NewSpill(socket net.Conn) *Spill { return &Spill{Conn: socket} }

// spillOf is what is beneath a connection; nil: nothing is.
func spillOf(socket net.Conn) *Spill {
	if t, ok := socket.(interface{ NetConn() net.Conn }); ok {
		socket = t.NetConn()
	}
	s, _ := socket.(*Spill)
	return s
}

// Write implements net.Conn.
func (s *Spill) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.restLocked(); err != nil {
		return 0, err
	}
	if len(s.rest) > 0 {
		s.rest = append(s.rest, p...)
		return len(p), nil
	}
	n, err := s.Conn.Write(p)
	if s.cutShort(err) {
		s.rest = append(s.rest, p[n:]...)
		return len(p), nil
	}
	return n, err
}

// restLocked writes what was kept.
func (s *Spill) restLocked() error {
	if len(s.rest) == 0 {
		return nil
	}
	n, err := s.Conn.Write(s.rest)
	if s.rest = s.rest[n:]; len(s.rest) == 0 {
		s.rest = nil
	}
	if s.cutShort(err) {
		return nil
	}
	return err
}

func (s *Spill) cutShort(err error) bool {
	return err != nil && s.short.Load() && errors.Is(err, os.ErrDeadlineExceeded)
}

// cut ends the wait of who writes.
func (s *Spill) cut() {
	s.short.Store(true)
	_ = s.SetWriteDeadline(time.Unix(1, 0))
}

// resume undoes cut: writes wait until a time again; zero: for ever.
func (s *Spill) resume(till time.Time) {
	s.short.Store(false)
	_ = s.SetWriteDeadline(till)
}

// writeRest writes what was kept, and waits for it.
func (s *Spill) writeRest() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.restLocked()
}

// CloseWrite says that nothing more is written.
func (s *Spill) CloseWrite() error {
	if half, ok := s.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}
