package redis

import (
	"strconv"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/redisproto"
)

// CLIENT UNBLOCK for a client that waits at a server is asked of that server. Nobody
// else can tell whether the client has got already what it waits for, and to a
// connection that is closed instead the server may still give an element, which is
// lost then.

var requestClientID = redisproto.AppendCommand(nil, "CLIENT", "ID")

// What an upstream's id is besides a number.
const (
	idUnknown = 0
	idAsked   = -1
	idRefused = -2 // the user may not ask, for one
)

// learnID has the server tell the number that it has given the connection. It is asked
// once, in front of the first command that blocks.
func (u *upstream) learnID() {
	if u.id == idUnknown {
		u.id = idAsked
		u.send(requestClientID, &pending{what: expectID, start: u.pool.w.loop.Now()})
	}
}

func (u *upstream) learnedID(frame []byte) {
	if u.id = intOf(frame); u.id <= 0 {
		u.id = idRefused
	}
}

// unblocking is one CLIENT UNBLOCK, for a client that waits at u.
type unblocking struct {
	c         *client
	u         *upstream
	seq       uint32 // its request
	withError bool
	deadline  int64       // ns; 0: none
	done      func(int64) // called once, with how many clients were unblocked
}

// unblock is CLIENT UNBLOCK for a client of this proxy, which gets the reply of a
// time-out, or an error. done is called once, with how many clients were unblocked.
func (c *client) unblock(withError bool, done func(int64)) {
	u := c.blockedAt()
	if u == nil {
		done(0)
		return
	}
	x := &unblocking{c: c, u: u, seq: c.ring.tail - 1, withError: withError, deadline: c.f.deadline(), done: done}
	x.begin()
}

// blockedAt is waitsAt, or the session of a client that is blocked there.
func (c *client) blockedAt() *upstream {
	if u := c.waitsAt(); u != nil || !c.has(stateBlocked) {
		return u
	}
	return c.session()
}

// begin asks the server as soon as it has told the connection's number.
func (x *unblocking) begin() {
	l := x.u.pool.w.loop
	switch {
	case x.c.blockedAt() != x.u || x.c.ring.tail-1 != x.seq:
		x.done(0)
	case x.u.id == idAsked && (x.deadline == 0 || l.Now() < x.deadline):
		l.After(time.Millisecond, x.begin)
	case x.u.id > 0:
		x.ask()
	default:
		x.leave()
	}
}

// ask sends the request, over a connection that nothing else is on.
func (x *unblocking) ask() {
	by, _ := x.u.pool.take(nil)
	if by == nil {
		x.leave()
		return
	}
	x.u.unblocking++
	by.answer = x.answered
	by.returning = true
	how := "TIMEOUT"
	if x.withError {
		how = "ERROR"
	}
	by.send(redisproto.AppendCommand(nil, "CLIENT", "UNBLOCK", strconv.FormatInt(x.u.id, 10), how),
		&pending{what: expectAnswer, start: by.pool.w.loop.Now(), deadline: x.deadline})
}

// answered takes the server's reply; nil: there will be none.
func (x *unblocking) answered(frame []byte) {
	x.u.unblocking--
	x.u.afterReply()
	if frame == nil || isError(frame) {
		x.leave()
		return
	}
	x.done(intOf(frame))
}

// leave unblocks the client without its server, which does not do it.
func (x *unblocking) leave() {
	c := x.c
	if c.waitsAt() != x.u || c.ring.tail-1 != x.seq {
		x.done(0)
		return
	}
	if x.withError {
		c.endWait(redisproto.AppendError(nil, "UNBLOCKED client unblocked via CLIENT UNBLOCK"))
	} else {
		c.endWait(redisproto.AppendNullArray(nil, int(c.resp)))
	}
	x.done(1)
}

// answered hands the reply to the proxy's own request to who waits for it; nil: there
// will be none.
func (u *upstream) answered(frame []byte) {
	answer := u.answer
	u.answer = nil
	answer(frame)
}
