package http

import (
	"errors"
	"net"

	"github.com/dragoman-mesh/dragoman/pkg/filters/http/h1"
	"github.com/dragoman-mesh/dragoman/pkg/httpproto"
)

// leave hands the connection over to goroutines, with what it has sent.
func (c *loopClient) leave(ahead []byte) {
	socket, unsent, err := c.conn.Leave()
	if err != nil {
		c.close()
		return
	}
	c.left = true
	c.clock.stop()
	c.server.loops.Remove(c)
	c.server.resume(socket, append([]byte(nil), ahead...), unsent)
}

// refuse answers what is no request, if there was anything.
func (c *loopClient) refuse(err error) {
	status := h1.RefusalStatus(err)
	if status == 0 {
		c.close()
		return
	}
	c.answer(status, err)
}

func (c *loopClient) answer(status int, err error) {
	c.server.refused(status, err)
	if c.uses == 0 && c.server.either() && errors.Is(err, httpproto.ErrNoHTTP) {
		c.linger()
		return
	}
	c.conn.Write(h1.AppendRefusal(c.worker.out[:0], status))
	c.linger()
}

// linger ends the connection. It reads on for a while: unread input would turn the
// close into a reset, which may overtake the answer.
func (c *loopClient) linger() {
	c.phase, c.rest = phaseLinger, h1.LingerBytes
	c.clock.stop()
	c.unsent, c.stalled = c.conn.Buffered(), c.conn.Loop().Now()
	c.conn.CloseWrite()
	c.conn.Resume()
	c.clock.set(dueLinger, h1.LingerTime)
}

// lingered closes the connection, unless a slow client is still at the output.
func (c *loopClient) lingered() {
	now := c.conn.Loop().Now()
	if n := c.conn.Buffered(); n != c.unsent {
		c.unsent, c.stalled = n, now
	}
	if c.unsent > 0 && now-c.stalled < int64(lingerStall) {
		c.clock.set(dueLinger, h1.LingerTime)
		return
	}
	c.close()
}

func (c *loopClient) close() {
	if !c.left {
		c.conn.Close()
	}
}

// abort ends the connection, from any goroutine.
func (c *loopClient) abort() { c.conn.Loop().Post(c.conn.Close) }

// over is told that the request under way has been answered, as far as it could.
func (c *loopClient) over(q *loopRequest, whole bool) {
	last, expected := q.w.last, q.expect
	c.request, c.begun = nil, false
	c.worker.recycle(q)
	switch {
	case c.left:
	case !whole:
		c.phase = phaseLinger
		c.conn.CloseAfterFlush()
	case last || c.eof || expected, c.server.loops.Draining():
		c.linger()
	case !c.body.Over():
		c.phase, c.rest = phaseRest, h1.Leftover
		c.clock.set(dueRest, restPatience)
		c.conn.Resume()
	default:
		c.phase = phaseHead
		c.clock.set(dueIdle, c.server.conf.Limits.Idle)
		c.conn.Resume()
	}
}

// takeRest reads a body to its end, so that the connection can go on.
func (c *loopClient) takeRest(b []byte) int {
	used := 0
	for {
		data, n, err := c.body.Next(b[used:])
		used += n
		c.rest -= len(data)
		switch {
		case err != nil || c.rest < 0:
			c.linger()
			return used
		case c.body.Over():
			c.phase = phaseHead
			c.clock.set(dueRest, 0)
			c.clock.set(dueIdle, c.server.conf.Limits.Idle)
			return used
		case len(data) == 0:
			return used
		}
	}
}

// drain ends the connection if it is idle; otherwise it ends with its request.
func (c *loopClient) drain() { c.conn.Loop().Post(c.closeIdle) }

func (c *loopClient) closeIdle() {
	if c.phase == phaseHead && !c.begun {
		c.close()
	}
}

// resume serves a connection that has left its loop.
func (s *server) resume(socket net.Conn, ahead, unsent []byte) {
	s.serveSocket(socket, nil, ahead, unsent)
}
