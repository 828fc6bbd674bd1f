package h1

import (
	"crypto/tls"
	"net"
	"syscall"
)

// prober looks whether a connection has something to read, without reading.
type prober struct {
	raw   syscall.RawConn
	look  func(fd uintptr)
	state *int
}

// The answers of a prober.
const (
	probeQuiet = iota
	probeInput
	probeEnded
)

func newProber(conn net.Conn) prober {
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	s, ok := conn.(syscall.Conn)
	if !ok {
		return prober{}
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return prober{}
	}
	p := prober{raw: raw, state: new(int)}
	p.look = func(fd uintptr) {
		var b [1]byte
		n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		switch {
		case err == syscall.EAGAIN || err == syscall.EINTR:
			*p.state = probeQuiet
		case err == nil && n > 0:
			*p.state = probeInput
		default:
			*p.state = probeEnded
		}
	}
	return p
}

func (p *prober) ask() int {
	if p.raw == nil {
		return probeQuiet
	}
	if err := p.raw.Control(p.look); err != nil {
		return probeEnded
	}
	return *p.state
}

// quiet says that the peer has neither closed nor sent anything.
func (p *prober) quiet() bool { return p.ask() == probeQuiet }

// ended says that the peer has closed and nothing is left to be read.
func (p *prober) ended() bool { return p.ask() == probeEnded }
