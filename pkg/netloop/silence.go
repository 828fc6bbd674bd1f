package netloop

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// ErrSilent says that the peer has acknowledged nothing of what it was sent for as long as [KeepAlive] allows.
var ErrSilent = errors.New("the peer acknowledges nothing any more")

// The kernel's keep-alive does not look at a connection on which something is on its way: there it sends again, for a quarter of an hour or so
// (net.ipv4.tcp_retries2), and a request that went out just after the server lost its power is missed for as long. TCP_USER_TIMEOUT would
// shorten that, but it also ends the connection of a peer that is well and takes nothing for a while, as a server does with a COPY that
// waits for a lock: it answers the kernel's questions whether there is room again. So the loop looks itself, at those connections only that it
// has written to since all that they were sent had arrived.

// Bounds of the time between two looks.
const (
	leastSweep = 250 * time.Millisecond
	mostSweep  = 15 * time.Second
)

// silence is what a loop knows of peers that acknowledge nothing.
type silence struct {
	timer *Timer
	every time.Duration   // between two looks; 0: there is nothing to look at
	since map[*Conn]int64 // by Loop.Now
}

// setPatience has the loop look after what the connection sends.
func (c *Conn) setPatience(seconds uint16) {
	l := c.loop
	if c.patience = seconds; seconds == 0 || l.test != nil {
		return
	}
	every := min(max(time.Duration(seconds)*time.Second/4, leastSweep), mostSweep)
	if s := &l.silence; s.every == 0 || every < s.every {
		s.every = every
		if s.timer == nil {
			s.timer = l.After(every, l.sweep)
		} else {
			s.timer.Reset(every)
		}
	}
}

// sweep closes the connections whose peers have been silent for too long.
func (l *Loop) sweep() {
	s := &l.silence
	shortest := uint16(0)
	for _, c := range l.conns {
		if c == nil || c.patience == 0 || c.is(isClosed) {
			continue
		}
		if shortest == 0 || c.patience < shortest {
			shortest = c.patience
		}
		if c.is(hasSent) {
			l.hearken(c)
		}
	}
	for c := range s.since {
		if c.is(isClosed) {
			delete(s.since, c)
		}
	}
	if shortest == 0 {
		s.every = 0
		return
	}
	s.every = min(max(time.Duration(shortest)*time.Second/4, leastSweep), mostSweep)
	s.timer.Reset(s.every)
}

// hearken looks whether what the connection has sent is being acknowledged.
func (l *Loop) hearken(c *Conn) {
	info, err := unix.GetsockoptTCPInfo(int(c.fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil || info.Unacked == 0 && info.Notsent_bytes == 0 {
		c.flags &^= hasSent // all has arrived
	}
	// Both counts begin anew with every acknowledgement, an answer to a question for room included.
	if err != nil || info.Retransmits == 0 && info.Probes == 0 {
		delete(l.silence.since, c)
		return
	}
	heard := l.now - int64(info.Last_ack_recv)*int64(time.Millisecond)
	since, known := l.silence.since[c]
	if !known {
		since = l.now // it may have had nothing to acknowledge before
	}
	since = max(since, heard)
	if l.now-since >= int64(c.patience)*int64(time.Second) {
		l.closeConn(c, ErrSilent)
		return
	}
	if l.silence.since == nil {
		l.silence.since = make(map[*Conn]int64)
	}
	l.silence.since[c] = since
}
