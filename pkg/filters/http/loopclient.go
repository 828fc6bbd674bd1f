package http

import (
	"errors"
	"net/http"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/httpproto"
	"github.com/dragoman-mesh/dragoman/pkg/netloop"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// phase says what a client's input is taken for.
type phase uint8

const (
	phaseHead   phase = iota // the next request's head
	phaseBusy                // the body of the request under way, if it has one
	phaseRest                // the rest of a body that nobody reads
	phaseLinger              // nothing: the connection ends
)

// loopClient is a client's connection that its event loop serves. Everything in it
// is the loop's.
type loopClient struct {
	// read-only after construction
	server *server
	conn   *netloop.Conn
	worker *loopWorker
	base   *http.Request // what all of its requests have in common
	born   int64         // Loop.Now

	clock   loopClock
	request *loopRequest // under way, in phaseBusy
	body    httpproto.Body
	phase   phase
	begun   bool // something of a head is there
	skipped bool // an empty line before it
	eof     bool // the client has finished sending
	left    bool // the connection is not the loop's any more, or closed
	seen    int  // bytes of the head that were looked at
	uses    int  // requests
	rest    int  // bytes that may still be read for nothing
	unsent  int  // output at the last look of phaseLinger
	stalled int64
}

const (
	requestsPerTurn = 16 // of one connection, so that it leaves the others their turns
	restPatience    = 2 * time.Second
	lingerStall     = 30 * time.Second
)

// Data implements netloop.Driver.
func (c *loopClient) Data(_ *netloop.Conn, b []byte) int {
	defer c.rescue()
	used := 0
	for range requestsPerTurn {
		if c.left {
			return len(b)
		}
		at := c.phase
		n := c.take(b[used:])
		used += n
		if n == 0 && c.phase == at || used == len(b) && c.phase == at {
			return used
		}
	}
	if used < len(b) && !c.left {
		c.conn.Loop().Again(c.conn)
	}
	return used
}

// take takes what the input begins with.
func (c *loopClient) take(b []byte) int {
	switch c.phase {
	case phaseHead:
		return c.takeHead(b)
	case phaseBusy:
		if !c.body.Over() {
			return c.request.feed(b)
		}
		if len(b) > 0 {
			c.conn.Pause() // of the next request, which has its time
		}
		return 0
	case phaseRest:
		return c.takeRest(b)
	default:
		if c.rest -= len(b); c.rest < 0 {
			c.close()
		}
		return len(b)
	}
}

// takeHead takes a request's head, once it is whole. An empty line before it is
// skipped, RFC 9112 section 2.2.
func (c *loopClient) takeHead(b []byte) int {
	if len(b) >= 2 && !c.skipped && b[0] == '\r' && b[1] == '\n' {
		c.skipped = true
		return 2
	}
	if len(b) < 2 {
		return 0
	}
	if c.conn.Full() { // of answers that the client does not read
		c.conn.Pause()
		return 0
	}
	l := &c.server.conf.Limits
	if c.uses == 0 && c.server.knocks(b) {
		if len(b) >= len(preface) {
			c.leave(b)
		}
		return 0
	}
	n, err := httpproto.End(b, c.seen, l.HeaderBytes)
	if err != nil {
		c.refuse(err)
		return 0
	}
	if n == 0 {
		c.seen = len(b)
		if !c.begun {
			c.begun = true
			c.clock.set(dueIdle, 0)
			c.clock.set(dueHead, l.HeadersTimeout)
		}
		return 0
	}
	c.clock.set(dueIdle, 0)
	c.clock.set(dueHead, 0)
	c.skipped, c.seen = false, 0
	c.begin(b, n)
	return n
}

// begin has a request served whose head is the first n bytes of b.
func (c *loopClient) begin(b []byte, n int) {
	c.begun = true
	q := c.worker.request(c)
	o := &c.server.conf.HTTP1
	l := &c.server.conf.Limits
	err := httpproto.ParseRequest(string(b[:n]), &q.head, httpproto.Limits{Bytes: l.HeaderBytes, Fields: l.HeaderCount})
	var f httpproto.Framing
	if err == nil {
		f, err = httpproto.RequestFraming(&q.head, o.ChunkedLength)
	}
	if err == nil && !q.fill(&f) {
		err = httpproto.ErrMalformed
	}
	if err != nil {
		c.worker.recycle(q)
		c.refuse(err)
		return
	}
	if !q.admitted() {
		c.worker.recycle(q)
		c.leave(b)
		return
	}
	c.uses++
	c.request, c.phase = q, phaseBusy
	if f.Length < 0 {
		f.Length = 0 // a request without a length has no body
	}
	c.body.Start(&f, false, httpproto.Limits{Bytes: l.HeaderBytes, Fields: l.HeaderCount})
	q.expect = f.Expect && !c.body.Over()
	q.w.last = q.w.last || f.Close || c.server.loops.Draining() || l.MaxRequests > 0 && c.uses >= int(l.MaxRequests) ||
		l.MaxConnection > 0 && time.Duration(c.conn.Loop().Now()-c.born) > l.MaxConnection
	q.serve()
}

// knocks says that input may be HTTP/2's preface.
func (s *server) knocks(b []byte) bool {
	n := min(len(b), len(preface))
	return s.conf.Codec != resource.HTTPOne && string(b[:n]) == preface[:n]
}

// errHeadTime is a head that was not whole in time.
var errHeadTime = errors.New("the head of a request was not received in time")

// due is called when something is due.
func (c *loopClient) due(what due) {
	defer c.rescue()
	q := c.request
	switch what {
	case dueIdle:
		c.close()
	case dueHead:
		c.answer(http.StatusRequestTimeout, errHeadTime)
	case dueRest:
		c.linger()
	case dueLinger:
		c.lingered()
	case dueGone:
		q.cancel(errGone)
	case dueRequest:
		q.cancel(errRequestTooOld)
	case dueBound, dueAge:
		q.cancel(errTimeout)
	case dueStill:
		q.still()
	case dueHeld:
		q.w.release()
	case dueTry:
		q.tried(&outcome{err: errPerTry, sent: true})
	case duePause:
		q.again()
	}
}

// rescue has a panic end its connection alone, as it does on a goroutine.
func (c *loopClient) rescue() {
	if p := recover(); p != nil {
		c.lost(p)
	}
}

// lost reports a panic. What it has left of the request is used no more.
func (c *loopClient) lost(p any) {
	chain := c.server.chain.Load()
	q := c.request
	c.request = nil
	if q != nil {
		chain = q.chain
		q.serial++
		q.abandon()
	}
	chain.reported(p)
	c.close()
}

// Drained implements netloop.Driver.
func (c *loopClient) Drained(*netloop.Conn) {
	switch {
	case c.request == nil:
		c.conn.Resume()
	case c.request.up != nil:
		c.request.up.conn.Resume()
	}
}

// EOF implements netloop.Driver. Who has finished sending may wait for the answer
// still; a client that is gone cannot be told from one of those at once.
func (c *loopClient) EOF(*netloop.Conn) {
	c.eof = true
	switch {
	case c.phase == phaseHead || c.phase == phaseRest:
		c.linger()
	case c.phase == phaseLinger:
	case !c.body.Over():
		c.request.unreadable(errUnexpectedEnd)
	default:
		c.clock.set(dueGone, goneAfter)
	}
}

// goneAfter is how long a client that has finished sending is served on.
const goneAfter = 500 * time.Millisecond

// Closed implements netloop.Driver.
func (c *loopClient) Closed(*netloop.Conn, error) {
	c.left = true
	c.clock.stop()
	if c.request != nil {
		c.request.cancel(errGone)
	}
	c.server.loops.Remove(c)
	c.server.open.Add(-1)
}

// wantsGoroutine says what the loop leaves to goroutines: upgrades, mirrors, and
// clusters that do not speak HTTP/1.1.
func (x *exchange) wantsGoroutine(p *passage) bool {
	if upgradeOf(p.in) != "" {
		return true
	}
	if x.route == nil || x.route.Forward == nil {
		return false
	}
	if len(x.mirrorPolicies()) > 0 {
		return true
	}
	p.route = x.route.Forward
	cluster, ok := p.cluster()
	return ok && !p.rt.pools.Cluster(cluster).OneAtATime()
}
