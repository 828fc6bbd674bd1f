package redis

import (
	"slices"
	"strconv"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/netloop"
	"github.com/dragoman-mesh/dragoman/pkg/redisproto"
)

// CLIENT UNBLOCK for a client that waits at a server is asked of that server. Nobody
// else can tell whether the client has got already what it waits for, and to a
// connection that is closed instead the server may still give an element, which is
// lost then. A client in WAIT is unblocked at all the servers that it waits at.

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

// learnedID lets those go on who wait for the number; 0: there will be none.
func (u *upstream) learnedID(id int64) {
	if u.id = id; id <= 0 {
		u.id = idRefused
	}
	waiting := u.needID
	u.needID = nil
	for _, x := range waiting {
		if x.timer != nil {
			x.timer.Stop()
		}
		x.begin()
	}
}

// unblocking is one CLIENT UNBLOCK, for a client that waits at u.
type unblocking struct {
	c         *client
	u         *upstream
	seq       uint32 // its request
	withError bool
	deadline  int64 // ns; 0: none
	timer     *netloop.Timer
	done      func(int64) // called once, with how many clients were unblocked
}

// unblock is CLIENT UNBLOCK for a client of this proxy, which gets the reply of a
// time-out, or an error. done is called once, with how many clients were unblocked.
func (c *client) unblock(withError bool, done func(int64)) {
	at := c.blockedAt()
	if len(at) == 0 {
		done(0)
		return
	}
	left, unblocked := len(at), int64(0)
	arrived := func(n int64) {
		unblocked = max(unblocked, n)
		if left--; left == 0 {
			done(unblocked)
		}
	}
	for _, u := range at {
		x := &unblocking{c: c, u: u, seq: c.ring.tail - 1, withError: withError, deadline: c.f.deadline(), done: arrived}
		x.begin()
	}
}

// blockedAt are the connections that the client is blocked on: that of its command,
// those of WAIT, or its session.
func (c *client) blockedAt() []*upstream {
	if u := c.waitsAt(); u != nil {
		return []*upstream{u}
	}
	if !c.has(stateBlocked) {
		return nil
	}
	switch c.ring.at(c.ring.tail - 1).cmd.name {
	case "wait", "waitaof":
		return c.waitsAside()
	}
	if u := c.session(); u != nil {
		return []*upstream{u}
	}
	return nil
}

// over reports whether the client waits there no longer, or for something else.
func (x *unblocking) over() bool {
	return x.u.closed || x.c.ring.tail-1 != x.seq || !slices.Contains(x.c.blockedAt(), x.u) || !x.u.waits(x.c)
}

// begin asks the server as soon as it has told the connection's number.
func (x *unblocking) begin() {
	switch {
	case x.over():
		x.done(0)
	case x.u.id == idAsked:
		x.u.awaitID(x)
	case x.u.id > 0:
		x.ask()
	default:
		x.leave()
	}
}

// awaitID has x begin when the connection's number is known, or is not going to be.
func (u *upstream) awaitID(x *unblocking) {
	u.needID = append(u.needID, x)
	if x.deadline == 0 {
		return
	}
	l := u.pool.w.loop
	x.timer = l.After(max(0, time.Duration(x.deadline-l.Now())), func() {
		if i := slices.Index(u.needID, x); i >= 0 {
			u.needID = slices.Delete(u.needID, i, i+1)
			x.leave()
		}
	})
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
	switch {
	case x.over() || x.u == c.session():
		x.done(0)
		return
	case x.u != c.waitsAt():
		c.endWaitAside(x.u, x.withError)
	case x.withError:
		c.endWait(redisproto.AppendError(nil, errUnblocked))
	default:
		c.endWait(redisproto.AppendNullArray(nil, int(c.resp)))
	}
	x.done(1)
}

const errUnblocked = "UNBLOCKED client unblocked via CLIENT UNBLOCK"

// endWaitAside is endWait for one of the servers of WAIT, of whose replicas none is
// known to have the writes then.
func (c *client) endWaitAside(u *upstream, withError bool) {
	var ask pending
	for i := range u.queue.len() {
		if p := u.queue.at(i); p.c == c {
			ask, p.c = *p, nil
		}
	}
	u.owner = nil
	u.close()
	if withError {
		c.failPart(ask.seq, ask.part, errUnblocked)
		return
	}
	s := c.ring.at(ask.seq)
	none := redisproto.AppendInt(nil, 0)
	if s.cmd.name == "waitaof" {
		none = append(append(redisproto.AppendArray(nil, 2), none...), none...)
	}
	c.addPart(ask.seq, ask.part, none)
	s.merge.done(c, ask.seq, ask.part)
}

// answered hands the reply to the proxy's own request to who waits for it; nil: there
// will be none.
func (u *upstream) answered(frame []byte) {
	answer := u.answer
	u.answer = nil
	answer(frame)
}
