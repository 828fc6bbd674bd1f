package redis

import (
	"bytes"

	"github.com/dragoman-mesh/dragoman/pkg/netloop"
)

// pipe is the mode of a client that talks to one server directly, byte for
// byte: replication, the Lua debugger. It is for listeners with one shard, and
// lasts until the client disconnects.
type pipe struct {
	c     *client
	u     *upstream
	first []byte // what waits for the connection to be set up; then nil
}

// handlePipe gives the client a connection of its own for the rest of its life.
func handlePipe(c *client, r *request) bool {
	t, ok := c.f.one()
	if !ok {
		return handleKeyless(c, r)
	}
	if !c.user.unrestricted { // nobody looks at what passes
		c.f.stats.denied++
		c.localError(r, "NOPERM this user has no permissions to run the '"+r.fullName()+"' command")
		return true
	}
	if !c.barrier() {
		return false
	}
	u, reason := c.take(t)
	if u == nil {
		c.localError(r, reason)
		return true
	}
	pp := &pipe{c: c, u: u}
	x := c.extra()
	if x.mode != nil {
		x.mode.end(c) // a WATCH
	}
	x.mode, x.exclusive = pp, u
	if u.setup == 0 {
		u.pipe = pp
		u.conn.Write(r.raw(c.w))
		return true
	}
	u.pipeAfterSetup = pp
	pp.first = bytes.Clone(r.raw(c.w))
	return true
}

// begin sends the first request, when the connection is set up: some are
// refused behind others.
func (p *pipe) begin() {
	p.u.conn.Write(p.first)
	p.first = nil
	p.c.conn.Resume()
}

// dispatch is not used: the client's bytes go through send unparsed.
func (p *pipe) dispatch(*client, *request) bool { return true }

// send passes on what the client sends.
func (p *pipe) send(b []byte) int {
	if p.first != nil {
		p.c.conn.Pause()
		return 0
	}
	if p.u.closed {
		return len(b)
	}
	p.u.conn.Write(b)
	if p.u.conn.Full() {
		p.c.conn.Pause()
	}
	return len(b)
}

// receive passes on what the server sends.
func (p *pipe) receive(b []byte) int {
	p.c.conn.Write(b)
	if p.c.conn.Full() {
		p.u.conn.Pause()
		p.c.backedUp()
	}
	return len(b)
}

func (p *pipe) upstreamDrained() { p.c.conn.Resume() }
func (p *pipe) clientDrained()   { p.u.conn.Resume() }

// upstreamClosed ends the client with its server, after what it still has to get.
func (p *pipe) upstreamClosed() {
	c := p.c
	if !c.has(stateClosed) {
		c.release()
		c.conn.CloseAfterFlush()
	}
}

// refused ends the client because its server could not be reached at all.
func (p *pipe) refused(reason string) {
	c := p.c
	if c.has(stateClosed) {
		return
	}
	c.x.mode = nil
	c.localError(nil, reason)
	c.state |= stateClosing
	c.closeIfDone()
}

func (p *pipe) end(*client) { p.u.close() }

var _ netloop.Driver = (*upstream)(nil)
