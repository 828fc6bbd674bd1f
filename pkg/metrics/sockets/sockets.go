// Package sockets has the sockets on which sources of metrics listen. A socket
// outlives the source that opened it while another one wants it: of two that
// want the same, the older has it, and the newer gets it when the older is
// closed. So a source can be made beside the one that it replaces, and what
// arrives in between is lost to neither. If the newer wants the same port at another
// address, it gets that when the older is closed.
package sockets

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/netloop/mmsg"
)

// Pool is the sockets of a process. Its methods may be called from any
// goroutine.
type Pool struct {
	Log *slog.Logger // of sockets that are waited for in vain; to be set before the first lease

	mu   sync.Mutex
	open map[string]*socket // by network and address, guarded by mu
}

// NewPool returns a pool without sockets.
func NewPool() *Pool {
	return &Pool{Log: slog.New(slog.DiscardHandler), open: make(map[string]*socket)}
}

// socket is one that is bound, and who wants it, the oldest first.
type socket struct {
	// read-only after construction
	key, network, address string
	port                  string // "" of a path
	bind                  func() (conn, net.Addr, error)

	// Pool.mu guards below
	conn    conn      // nil: another socket has the port, and this one is among its others
	waiting []*Lease  // the first has the socket
	left    any       // by the lease that had it before
	others  []*socket // that want the port at another address
	missed  bool      // the port was to be free, and was not; it is said
}

// Moving is what a lease leaves if it is not the same for a socket at another
// address: Moved is what that one's lease finds.
type Moving interface{ Moved() any }

// legacy is what a lease found, and what it leaves.
type legacy struct {
	found any
	left  any // of serve's goroutine until it returns
}

type legacyKey struct{}

// Found is what the lease that had the socket before left to this one, nil for
// nothing. ctx is the one that serve was called with.
func Found(ctx context.Context) any {
	if l, ok := ctx.Value(legacyKey{}).(*legacy); ok {
		return l.found
	}
	return nil
}

// Leave keeps something for the lease that has the socket next. It must be
// called by serve, before that returns.
func Leave(ctx context.Context, v any) {
	if l, ok := ctx.Value(legacyKey{}).(*legacy); ok {
		l.left = v
	}
}

// conn is what packet sockets and listeners have in common.
type conn interface {
	Close() error
	SetDeadline(t time.Time) error
}

// Lease is the wish for a socket, and the socket once it is its turn.
type Lease struct {
	// read-only after construction
	pool   *Pool
	socket *socket
	serve  func(ctx context.Context)

	addr   net.Addr           // guarded by Pool.mu
	cancel context.CancelFunc // guarded by Pool.mu; nil before its turn
	done   chan struct{}      // closed when serve has returned; nil before its turn; guarded by Pool.mu
	legacy legacy             // guarded by done
}

// Packets binds a socket of a datagram network (udp or unixgram), or waits for
// the one that is bound. serve is called when it is this lease's turn. It must
// return soon after ctx is done, when reading fails as well, and must not close
// the socket.
func (p *Pool) Packets(network, address string, serve func(ctx context.Context, s *mmsg.Socket)) (*Lease, error) {
	return p.lease(network, address, func() (conn, net.Addr, error) {
		removeStale(network, address)
		c, err := mmsg.Listen(context.Background(), network, address)
		if err != nil {
			return nil, nil, err
		}
		return c, c.LocalAddr(), nil
	}, func(ctx context.Context, c conn) {
		if s, ok := c.(*mmsg.Socket); ok {
			serve(ctx, s)
		}
	})
}

// Stream is Packets for networks of connections (tcp or unix). Connections that
// serve has accepted are its own to close.
func (p *Pool) Stream(network, address string, serve func(ctx context.Context, l net.Listener)) (*Lease, error) {
	return p.lease(network, address, func() (conn, net.Addr, error) {
		removeStale(network, address)
		l, err := new(net.ListenConfig).Listen(context.Background(), network, address)
		if err != nil {
			return nil, nil, err
		}
		c, ok := l.(conn)
		if !ok {
			return nil, nil, errors.Join(fmt.Errorf("a listener of network %s has no deadline", network), l.Close())
		}
		return c, l.Addr(), nil
	}, func(ctx context.Context, c conn) {
		if l, ok := c.(net.Listener); ok {
			serve(ctx, l)
		}
	})
}

func (p *Pool) lease(
	network, address string, bind func() (conn, net.Addr, error), serve func(context.Context, conn),
) (*Lease, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := network + " " + address
	s := p.open[key]
	l := &Lease{pool: p}
	if s == nil {
		_, port, err := net.SplitHostPort(address)
		if err != nil {
			port = "" // it is a path
		}
		s = &socket{key: key, network: network, address: address, port: port, bind: bind}
		if l.addr, err = p.bindLocked(s); err != nil {
			return nil, fmt.Errorf("binding %s: %w", key, err)
		}
		if port != "0" { // one that the system chose is nobody else's to ask for
			p.open[key] = s
		}
	} else {
		l.addr = s.waiting[0].addr
	}
	l.socket, l.serve = s, func(ctx context.Context) { serve(ctx, s.conn) }
	s.waiting = append(s.waiting, l)
	if len(s.waiting) == 1 && s.conn != nil {
		l.startLocked()
	}
	return l, nil
}

// bindLocked binds a socket, or has it wait for the one of this pool that has its
// port at another address.
func (p *Pool) bindLocked(s *socket) (net.Addr, error) {
	c, addr, err := s.bind()
	if err == nil {
		s.conn = c
		return addr, nil
	}
	if errors.Is(err, syscall.EADDRINUSE) && s.port != "" {
		for _, other := range p.open {
			if other != s && other.conn != nil && other.network == s.network && other.port == s.port {
				other.others = append(other.others, s)
				return wanted{s.network, s.address}, nil
			}
		}
	}
	return nil, err
}

// wanted is the address of a socket that is not bound yet.
type wanted struct{ network, address string }

func (w wanted) Network() string { return w.network }
func (w wanted) String() string  { return w.address }

// removeStale removes the socket of a process that is gone. One that somebody
// listens on stays, and binding fails.
func removeStale(network, path string) {
	if network != "unixgram" && network != "unix" || path == "" || path[0] == '@' {
		return
	}
	info, err := os.Lstat(path)
	if err != nil || info.Mode()&os.ModeSocket == 0 {
		return
	}
	if c, err := new(net.Dialer).DialContext(context.Background(), network, path); err == nil {
		_ = c.Close() // somebody is there
		return
	}
	_ = os.Remove(path) // binding says what is wrong
}

func (l *Lease) startLocked() {
	l.legacy.found, l.socket.left = l.socket.left, nil
	ctx, cancel := context.WithCancel(context.WithValue(context.Background(), legacyKey{}, &l.legacy))
	done := make(chan struct{})
	l.cancel, l.done = cancel, done
	go func() {
		defer close(done)
		l.serve(ctx)
	}()
}

// Addr is where the socket is bound.
func (l *Lease) Addr() net.Addr {
	l.pool.mu.Lock()
	defer l.pool.mu.Unlock()
	return l.addr
}

// Active reports whether it is the lease's turn: what arrives is its own.
func (l *Lease) Active() bool {
	l.pool.mu.Lock()
	defer l.pool.mu.Unlock()
	return l.done != nil
}

// Close gives the socket to the next who wants it, or closes it. It returns when
// serve has. It must be called once.
func (l *Lease) Close() error {
	p, s := l.pool, l.socket
	p.mu.Lock()
	if l.done == nil {
		s.removeLocked(l)
		if s.conn == nil && len(s.waiting) == 0 {
			p.forgetLocked(s)
		}
		p.mu.Unlock()
		return nil
	}
	cancel, done := l.cancel, l.done
	cancel()
	err := s.conn.SetDeadline(time.Unix(1, 0))
	p.mu.Unlock()
	<-done
	p.mu.Lock()
	defer p.mu.Unlock()
	s.removeLocked(l)
	if len(s.waiting) == 0 {
		err = errors.Join(err, s.conn.Close())
		p.forgetLocked(s)
		p.followLocked(s.others, l.legacy.left)
		return err
	}
	s.left = l.legacy.left
	err = errors.Join(err, s.conn.SetDeadline(time.Time{}))
	s.waiting[0].startLocked()
	return err
}

// forgetLocked takes out a socket that nobody wants.
func (p *Pool) forgetLocked(s *socket) {
	if p.open[s.key] == s {
		delete(p.open, s.key)
	}
	for _, other := range p.open {
		other.others = slices.DeleteFunc(other.others, func(o *socket) bool { return o == s })
	}
}

// bindPause is between two attempts to bind a socket whose port was to be free.
const bindPause = 100 * time.Millisecond

// followLocked binds the sockets that have waited for one that is closed now.
func (p *Pool) followLocked(waiting []*socket, left any) {
	if m, ok := left.(Moving); ok {
		left = m.Moved()
	}
	for _, s := range waiting {
		if len(s.waiting) == 0 || s.conn != nil {
			continue
		}
		addr, err := p.bindLocked(s)
		switch {
		case err != nil: // somebody else was faster, and may go again
			if !s.missed {
				s.missed = true
				p.Log.Warn("a source of metrics gets nothing until its port is free", "address", s.key, "error", err)
			}
			time.AfterFunc(bindPause, func() {
				p.mu.Lock()
				defer p.mu.Unlock()
				p.followLocked([]*socket{s}, left)
			})
		case s.conn != nil:
			if s.missed {
				s.missed = false
				p.Log.Info("a source of metrics has its port", "address", s.key)
			}
			s.left = left
			for _, l := range s.waiting {
				l.addr = addr
			}
			s.waiting[0].startLocked()
		}
	}
}

func (s *socket) removeLocked(l *Lease) {
	for i, other := range s.waiting {
		if other == l {
			s.waiting = append(s.waiting[:i:i], s.waiting[i+1:]...)
			return
		}
	}
}

// SetMode gives a unix socket its permission bits; 0 leaves those that it has. One
// in the abstract namespace, with a leading @, has none.
func SetMode(path string, mode fs.FileMode) error {
	if mode == 0 || path[0] == '@' {
		return nil
	}
	if err := os.Chmod(path, mode); err != nil {
		return fmt.Errorf("setting the permissions of the socket: %w", err)
	}
	return nil
}
