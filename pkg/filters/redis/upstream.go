package redis

import (
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/netloop"
	"github.com/dragoman-mesh/dragoman/pkg/redisproto"
)

// upstream is the driver of one connection to a Redis server. A shared one
// carries the pipelined requests of all clients of its loop; an exclusive one
// belongs to a client for a while: a transaction, a blocking command, an upload.
type upstream struct {
	conn           *netloop.Conn
	pool           *pool
	queue          pendings
	scan           redisproto.Scanner
	frame          int64 // bytes of the current frame that were passed on already
	pieces         bool  // inside a frame that is passed on in pieces
	failed         bool  // that frame is an error
	pipe           *pipe // all bytes go to this client, unparsed
	pipeAfterSetup *pipe
	broken         string
	owner          *client // who has the exclusive connection
	up             bool    // connected and set up
	noDatabase     bool    // the server has no database of the pool's number
	refused        bool    // the server has answered the set-up with an error
	setup          int     // replies of the connection's own set-up still missing
	closed         bool
	paused         bool
	shared         bool
	feeds          bool      // what it sends unasked is for its owner
	returning      bool      // exclusive, goes back to the pool when the queue is empty
	dirty          bool      // and is then closed instead
	gone           bool      // no further requests; leaves service when the queue is empty
	spare          bool      // gone, but good for another time
	timeout        bool      // in the worker's list of connections with deadlines
	unordered      bool      // the queue's deadlines do not rise
	refusals       bool      // its owner has got errors from it
	lastIn         int64     // when bytes arrived last
	lastDeadline   int64     // of the last request
	choked         []*client // who waits for the output to drain
	id             int64     // by which the server knows it; 0: it was not asked
	needID         []*unblocking
	unblocking     int // CLIENT UNBLOCK requests for it that are under way
	answer         func(frame []byte)
	patience       int64 // ns without a byte that end a reply which has begun; 0: no limit
}

// occupied reports whether a request sent now would wait for a large reply of
// somebody else, or for somebody who does not read his.
func (u *upstream) occupied() bool {
	return u.paused || (u.pieces && u.scan.BulkLeft() > occupyAt)
}

// waits reports whether c has a request here.
func (u *upstream) waits(c *client) bool {
	for i := range u.queue.len() {
		if u.queue.at(i).c == c {
			return true
		}
	}
	return false
}

// othersWait reports whether clients besides c have requests here.
func (u *upstream) othersWait(c *client) bool {
	for i := range u.queue.len() {
		if f := u.queue.at(i); f.live() && f.c != c {
			return true
		}
	}
	return false
}

// fail closes the connection and answers everything that waits on it.
func (u *upstream) fail(reason string) {
	if u.broken == "" {
		u.broken = reason
	}
	u.close()
	u.lost()
}

func (u *upstream) close() {
	if !u.closed {
		u.closed = true
		u.conn.Close()
		u.pool.forget(u)
	}
}

// Drained lets a paused upload or pipe go on.
func (u *upstream) Drained(*netloop.Conn) {
	u.unchoke()
	if u.pipe != nil {
		u.pipe.upstreamDrained()
		return
	}
	if c := u.owner; c != nil && c.x != nil && c.x.upload != nil {
		c.x.upload.resume(c)
	}
}

// EOF: a server that stops sending is of no more use.
func (u *upstream) EOF(*netloop.Conn) {
	u.fail("closed the connection")
}

// Closed answers what waited on the connection.
func (u *upstream) Closed(_ *netloop.Conn, err error) {
	if u.closed {
		return
	}
	if err != nil && u.broken == "" {
		u.broken = err.Error()
	}
	u.closed = true
	u.pool.forget(u)
	u.lost()
}

// lost fails all outstanding requests of a dead connection.
func (u *upstream) lost() {
	p := u.pool
	switch {
	case u.noDatabase:
		p.lastError, p.downUntil = u.broken, p.w.loop.Now()+int64(maxBackoff)
	case !u.up:
		p.connectFailed(u.broken, u.refused)
	case u.queue.len() > 0:
		p.stats.disconnects++
		p.cluster.Report(p.key.endpoint, filters.Disconnect)
	}
	if u.pipe != nil {
		u.pipe.upstreamClosed()
	} else if u.pipeAfterSetup != nil {
		u.pipeAfterSetup.refused(p.unavailable(": " + u.broken))
	}
	msg := p.unavailable(": " + u.broken)
	for partial := u.pieces; u.queue.len() > 0; partial = false {
		var f pending
		u.queue.pop(&f)
		switch {
		case f.what == expectAnswer:
			u.answered(nil)
		case !f.live():
		case partial && f.c.ring.at(f.seq).open:
			f.c.drop() // half of a reply is out: there is no way to take it back
		default:
			f.c.failPart(f.seq, f.part, msg)
		}
	}
	if u.owner != nil {
		u.owner.lostExclusive(u)
	}
}
