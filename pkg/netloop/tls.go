package netloop

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"time"
)

const (
	// cipherAhead bounds the cipher text made before the kernel takes it, in bytes.
	cipherAhead = 64 << 10
	// handshakeAhead bounds the input held while a handshake runs, in bytes;
	// crypto/tls accepts handshake messages of up to 256 KiB.
	handshakeAhead = 512 << 10
)

// tlsState is TLS inside a loop. The handshake may take milliseconds of CPU
// and may call back for certificates, so it runs in a goroutine of its own;
// afterwards the session belongs to the loop.
type tlsState struct {
	conn     *tls.Conn
	mem      *memConn
	out      Chain  // cipher text for the kernel
	rest     *Chunk // cipher text that was read but not yet decrypted
	timer    *Timer // bounds a handshake that is not part of a dial
	notified bool   // close_notify has been written
	midway   bool   // the connection was plain before
}

// memConn is the transport under crypto/tls: memory. During the handshake it
// blocks; then Read reports [errWouldBlock] when it has nothing.
type memConn struct {
	hs    *handshake // nil once the session belongs to the loop
	l     *Loop
	c     *Conn
	in    []byte // cipher text at hand
	local netip.AddrPort
	eof   bool // and nothing follows it
}

// wouldBlock is a net.Error that is Temporary: after one, crypto/tls can be
// called again, after any other error it is dead for good.
type wouldBlock struct{}

func (wouldBlock) Error() string   { return "no input at hand" }
func (wouldBlock) Timeout() bool   { return true }
func (wouldBlock) Temporary() bool { return true }

var errWouldBlock net.Error = wouldBlock{}

// Read implements net.Conn.
func (m *memConn) Read(b []byte) (int, error) {
	if m.hs != nil {
		return m.hs.read(b)
	}
	if len(m.in) == 0 {
		if m.eof {
			return 0, io.EOF
		}
		return 0, errWouldBlock
	}
	n := copy(b, m.in)
	m.in = m.in[n:]
	return n, nil
}

// Write implements net.Conn.
func (m *memConn) Write(b []byte) (int, error) {
	if m.hs != nil {
		return m.hs.write(b, m)
	}
	m.c.rare.tls.out.Append(m.l, b)
	return len(b), nil
}

// The rest of net.Conn: addresses for those who ask in a callback, and
// deadlines that memory does not need.

func (m *memConn) Close() error                     { return nil }
func (m *memConn) LocalAddr() net.Addr              { return net.TCPAddrFromAddrPort(m.local) }
func (m *memConn) RemoteAddr() net.Addr             { return net.TCPAddrFromAddrPort(m.c.remote) }
func (m *memConn) SetDeadline(time.Time) error      { return nil }
func (m *memConn) SetReadDeadline(time.Time) error  { return nil }
func (m *memConn) SetWriteDeadline(time.Time) error { return nil }

// startTLS begins the handshake, as server on accepted connections.
func (l *Loop) startTLS(c *Conn, cfg *tls.Config) {
	m := &memConn{l: l, c: c, local: c.LocalAddrPort(), hs: new(handshake)}
	m.hs.more.L = &m.hs.mu
	t := &tlsState{mem: m}
	c.extra().tls = t
	c.flags |= isHandshaking
	if c.side == Downstream {
		t.conn = tls.Server(m, cfg)
		t.timer = l.After(l.o.Handshake, func() { l.closeConn(c, ErrHandshakeTimeout) })
	} else {
		t.conn = tls.Client(m, cfg)
	}
	go func() {
		err := t.conn.HandshakeContext(context.Background()) // ended by closing the connection
		l.Post(func() { t.finish(c, err) })
	}()
	if c.is(isReadable) {
		l.enqueue(c)
	}
}

// StartTLS goes on with TLS on a connection that has been plain so far, as
// server (Downstream) or client (Upstream); for protocols that agree on TLS in
// the clear. Output written before goes out in the clear, before the handshake.
// Input that the driver leaves in the current [Driver.Data] call is taken for
// the beginning of the handshake: a driver for which more than its request for
// TLS must not have arrived has to look for itself, or an attacker's plain text
// would be as good as the peer's.
//
// A [ConnectDriver] hears when the handshake is done; Closed says why it failed.
// On a connection that speaks TLS already it does nothing.
func (c *Conn) StartTLS(cfg *tls.Config, timeout time.Duration) {
	if c.is(isClosed|isBroken|isConnecting|isHandshaking) || (c.rare != nil && c.rare.tls != nil) {
		return
	}
	l := c.loop
	var plain Chain
	c.out.MoveTo(&plain)
	l.startTLS(c, cfg)
	t := c.rare.tls
	t.midway = true
	if t.timer != nil {
		t.timer.Stop()
	}
	t.timer = l.After(timeout, func() { l.closeConn(c, ErrHandshakeTimeout) })
	plain.MoveTo(&t.out)
	t.pump(c)
	l.enqueue(c)
}

// finish takes the session over from the handshake's goroutine.
func (t *tlsState) finish(c *Conn, err error) {
	l := c.loop
	if c.is(isClosed) {
		return
	}
	t.pump(c) // an alert, perhaps
	if t.timer != nil {
		t.timer.Stop()
		t.timer = nil
	}
	if err != nil {
		err = fmt.Errorf("TLS handshake: %w", err)
		if c.side == Upstream {
			l.failDial(c, err)
		} else {
			l.closeConn(c, err)
		}
		return
	}
	hs := t.mem.hs
	t.mem.hs = nil
	c.flags &^= isHandshaking
	c.flags |= isReadable // crypto/tls may hold input that no edge will announce
	t.mem.eof = hs.ended != nil
	if len(hs.in) > 0 {
		t.rest = l.NewChunk(len(hs.in))
		t.rest.w = copy(t.rest.buf, hs.in)
	}
	l.established(c)
	if t.midway && c.side == Downstream {
		c.connected()
	}
}

// feed passes what arrived to the handshake, and sends what it said.
func (t *tlsState) feed(c *Conn) {
	l := c.loop
	t.pump(c)
	if c.in != nil && !c.is(isClosed) { // left by the driver that asked for TLS
		t.mem.hs.feed(c.in.Bytes())
		l.Free(c.in)
		c.in = nil
	}
	for c.is(isReadable) && !c.is(isClosed) && t.mem.hs.room() {
		b := l.cipherBuffer().buf
		n, res := c.readSocket(b)
		switch {
		case n > 0:
			t.mem.hs.feed(b[:n])
		case res == readEOF:
			t.mem.hs.end(io.EOF)
		}
		l.account(c, res)
	}
}

// pump sends what the handshake has written.
func (t *tlsState) pump(c *Conn) {
	if c.is(isClosed) {
		return
	}
	if t.mem.hs != nil {
		t.mem.hs.take(c.loop, &t.out)
	}
	if c.is(isWritable) {
		c.loop.drain(c, &t.out)
	}
	if c.is(isBroken) {
		c.loop.closeConn(c, c.rare.err)
	}
}

func (l *Loop) cipherBuffer() *Chunk {
	if l.inbuf == nil {
		l.inbuf = l.NewChunk(l.o.ReadBuffer)
	}
	return l.inbuf
}

// read decrypts into b, reading the socket at most once.
func (t *tlsState) read(c *Conn, b []byte) (int, result) {
	l, m := c.loop, t.mem
	if t.rest != nil {
		m.in = t.rest.Bytes()
	}
	n, last, asked := 0, readMore, false
	for n < len(b) {
		k, err := t.conn.Read(b[n:])
		n += k
		if err == nil {
			continue
		}
		if !errors.Is(err, errWouldBlock) {
			return t.ended(c, n, err)
		}
		t.dropRest(l)
		if asked || m.eof {
			break
		}
		asked = true
		buf := l.cipherBuffer().buf
		k, last = c.readSocket(buf)
		m.in = buf[:k]
		if last == readEOF {
			m.eof, last = true, readMore
			continue
		}
		if k == 0 {
			break
		}
	}
	t.keepRest(l)
	if t.out.n > 0 { // the answer to a key update
		c.markDirty()
	}
	if n > 0 && last == readError {
		last = readMore // the error is there still when the next read asks
	}
	if n == len(b) {
		last = readMore
	}
	return n, last
}

// ended maps an error of crypto/tls. It is there to stay, so that bytes which
// came before it can be shown first.
func (t *tlsState) ended(c *Conn, n int, err error) (int, result) {
	switch {
	case n > 0:
		return n, readMore
	case errors.Is(err, io.EOF):
		return 0, readEOF
	}
	return 0, c.failRead(err)
}

func (t *tlsState) dropRest(l *Loop) {
	l.Free(t.rest)
	t.rest = nil
}

// keepRest saves cipher text that there was no room to decrypt.
func (t *tlsState) keepRest(l *Loop) {
	m := t.mem
	switch {
	case len(m.in) == 0:
		t.dropRest(l)
	case t.rest != nil:
		t.rest.r = t.rest.w - len(m.in)
	default:
		t.rest = l.NewChunk(len(m.in))
		t.rest.w = copy(t.rest.buf, m.in)
	}
	m.in = nil
}

// encrypt turns plain text into cipher text, no more than the kernel may soon take.
func (t *tlsState) encrypt(l *Loop, q *Chain) error {
	for q.n > 0 && t.out.n < cipherAhead {
		b := q.head.Bytes()
		n, err := t.conn.Write(b[:min(len(b), cipherAhead)])
		if err != nil {
			return fmt.Errorf("encrypting: %w", err)
		}
		q.Skip(l, n)
	}
	return nil
}

// closeNotify says goodbye; errors do not matter any more.
func (t *tlsState) closeNotify(c *Conn) {
	t.notified = true
	_ = t.conn.CloseWrite()
	if c.is(isWritable) {
		c.loop.drain(c, &t.out)
	}
}

// release ends a handshake under way, or the session.
func (t *tlsState) release(l *Loop, c *Conn) {
	if t.timer != nil {
		t.timer.Stop()
	}
	switch {
	case t.mem.hs != nil:
		t.mem.hs.end(os.ErrClosed)
	case !t.notified && c.Buffered() == 0 && !c.is(isBroken|isReset):
		t.closeNotify(c)
	}
	t.dropRest(l)
	t.out.Free(l)
}
