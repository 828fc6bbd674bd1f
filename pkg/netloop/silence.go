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

// Bounds of the time between two looks at a connection.
const (
	leastSweep = 250 * time.Millisecond
	mostSweep  = 15 * time.Second
)

// sweepTurn is how many connections are looked at in one turn of the loop. To ask
// for TCP_INFO takes about a microsecond.
const sweepTurn = 128

// silence is what a loop knows of peers that acknowledge nothing. It looks at a
// few connections at a time, and in every comes round to all of them.
type silence struct {
	timer    *Timer
	every    time.Duration   // between two looks at a connection; 0: there is nothing to look at
	at       int             // the slot that is next
	shortest uint16          // the least patience of this round so far, in s; 0: nobody has any
	since    map[*Conn]int64 // by Loop.Now
}

// sweepEvery is how often a connection is looked at that has so much patience.
func sweepEvery(seconds uint16) time.Duration {
	return min(max(time.Duration(seconds)*time.Second/4, leastSweep), mostSweep)
}

// pause is the time until the next few of n connections are looked at.
func (s *silence) pause(n int) time.Duration {
	return s.every * sweepTurn / time.Duration(max(n, sweepTurn))
}

// setPatience has the loop look after what the connection sends.
func (c *Conn) setPatience(seconds uint16) {
	l := c.loop
	if c.patience = seconds; seconds == 0 || l.test != nil {
		return
	}
	s, every := &l.silence, sweepEvery(seconds)
	if s.shortest == 0 || seconds < s.shortest {
		s.shortest = seconds // its slot may have had its turn in this round
	}
	if s.every != 0 && every >= s.every {
		return
	}
	s.every = every
	if s.timer == nil {
		s.timer = l.After(s.pause(len(l.conns)), l.sweep)
	} else {
		s.timer.Reset(s.pause(len(l.conns)))
	}
}

// sweep looks at the next few connections, and closes those whose peers have been
// silent for too long.
func (l *Loop) sweep() {
	s := &l.silence
	end := min(s.at+sweepTurn, len(l.conns))
	for _, c := range l.conns[s.at:end] {
		if c == nil || c.patience == 0 || c.is(isClosed) {
			continue
		}
		if s.shortest == 0 || c.patience < s.shortest {
			s.shortest = c.patience
		}
		if c.is(hasSent) {
			l.hearken(c)
		}
	}
	if s.at = end; end == len(l.conns) {
		s.every = 0
		if s.shortest != 0 {
			s.every = sweepEvery(s.shortest)
		}
		s.at, s.shortest = 0, 0
	}
	if s.every != 0 {
		s.timer.Reset(s.pause(len(l.conns)))
	}
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
