package sockets

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"syscall"
	"time"
)

// acceptPause is how long nobody is accepted after a failure.
const acceptPause = 100 * time.Millisecond

// Acceptor serves the connections of a listener.
type Acceptor struct {
	// Most is how many there may be at a time.
	Most int
	// Serve reads a connection until its end, or until the time to read is over: see
	// Accept. It is called on a goroutine of its own.
	Serve func(ctx context.Context, conn net.Conn)
	// Refused is called for each that found no room, which is told by its end.
	Refused func()
	Log     *slog.Logger
}

// Accept accepts connections until ctx is done or the listener is closed. Then the
// time to read is over for those that are open: what has arrived is still read. It
// returns when all of them have been served.
func (a *Acceptor) Accept(ctx context.Context, l net.Listener) {
	ctx, cancel := context.WithCancel(ctx)
	c := &connections{open: map[net.Conn]struct{}{}}
	defer c.close()
	defer cancel()
	for failing := false; ctx.Err() == nil; {
		conn, err := l.Accept()
		switch {
		case err == nil:
			failing = false
			a.take(ctx, c, conn)
		case ctx.Err() != nil, errors.Is(err, net.ErrClosed):
			return
		default: // out of descriptors, for one
			if !failing {
				a.Log.Warn("accepting a connection", "error", err)
			}
			failing = true
			select {
			case <-ctx.Done():
			case <-time.After(acceptPause):
			}
		}
	}
}

func (a *Acceptor) take(ctx context.Context, c *connections, conn net.Conn) {
	if !c.add(conn, a.Most) {
		a.Refused()
		_ = conn.Close() // told by its end
		return
	}
	c.running.Go(func() {
		a.Serve(ctx, conn)
		c.remove(conn)
		_ = conn.Close() // it was read to its end
	})
}

// ReadWithin bounds the time until something is read from a connection that is
// being served; 0 means no bound. It does not go beyond the end of ctx.
func ReadWithin(ctx context.Context, conn net.Conn, limit time.Duration) error {
	if limit <= 0 {
		return nil
	}
	err := conn.SetReadDeadline(time.Now().Add(limit))
	if ctx.Err() != nil { // maybe it was over before
		err = conn.SetReadDeadline(past())
	}
	return err
}

// Arrived reads what has arrived on a connection although the time to read is over.
// The error is io.EOF if the sender has ended it, and another if there is no more.
func Arrived(conn net.Conn, b []byte) (n int, err error) {
	c, ok := conn.(syscall.Conn)
	if !ok {
		return 0, errors.ErrUnsupported
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	// Unlike that of Read, the function of Control is called whatever the deadline is.
	// It does not block, as sockets of the net package never do.
	if outer := raw.Control(func(fd uintptr) { n, err = syscall.Read(int(fd), b) }); outer != nil {
		return 0, outer
	}
	if n == 0 && err == nil {
		return 0, io.EOF
	}
	return max(n, 0), err
}

// past is a deadline that is over.
func past() time.Time { return time.Unix(1, 0) }

// connections are those that an Acceptor serves.
type connections struct {
	running sync.WaitGroup

	mu   sync.Mutex
	open map[net.Conn]struct{} // guarded by mu
}

func (c *connections) add(conn net.Conn, most int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.open) >= most {
		return false
	}
	c.open[conn] = struct{}{}
	return true
}

func (c *connections) remove(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.open, conn)
}

// close ends the connections and waits for them.
func (c *connections) close() {
	c.mu.Lock()
	for conn := range c.open {
		_ = conn.SetReadDeadline(past()) // its reader sees that
	}
	c.mu.Unlock()
	c.running.Wait()
}
