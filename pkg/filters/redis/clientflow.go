package redis

import "github.com/dragoman-mesh/dragoman/pkg/netloop"

// window is how many requests the client may have in flight: fewer when its
// replies are large, so that what they take stays bounded.
func (c *client) window() int {
	n := c.f.maxPipeline
	if c.x != nil && c.x.averageReply > 4<<10 {
		n = min(n, max(4, inFlightBytes/int(c.x.averageReply)))
	}
	if c.conn.Full() {
		n = 0
	}
	return n
}

// inFlightBytes is what the replies to a client's requests may come to.
const inFlightBytes = 4 << 20

// stall stops parsing until some of the earlier requests are answered, or read.
func (c *client) stall() {
	c.state |= stateStalled | stateCrowded
	if c.conn.Full() {
		c.backedUp()
	}
}

// hold stops parsing until all earlier requests are answered, since the next
// ones take another way.
func (c *client) hold() {
	c.state |= stateBarrier
	if !c.has(stateParsing) {
		c.conn.Pause()
	}
}

// Barrier: the request may be sent only when all earlier ones are answered,
// since it goes over another connection than they did. It reports whether the
// request may go now.
func (c *client) barrier() bool {
	if c.ring.len() == 0 {
		return true
	}
	c.state |= stateBarrier
	return false
}

// resume goes on with the client's input.
func (c *client) resume() {
	listening := c.has(stateBlocked) && !c.conn.Paused()
	c.state &^= stateStalled | stateBarrier | stateCrowded | stateBlocked | stateChoked
	switch {
	case c.state&(stateParsing|stateClosed|stateClosing) != 0:
	case listening:
		c.w.loop.Again(c.conn)
	default:
		c.conn.Resume()
	}
}

// settle is called whenever slots have left the ring.
func (c *client) settle() {
	if c.has(stateLeaving) && (c.x.mode == nil && c.x.upload == nil) {
		c.state |= stateClosing
		c.state &^= stateStalled | stateBarrier
	}
	if c.state&(stateBarrier|stateCrowded|stateChoked|stateClosing) == 0 {
		return
	}
	switch {
	case c.has(stateClosing):
		c.closeIfDone()
	case c.has(stateBarrier | stateChoked):
		if c.ring.len() == 0 {
			c.resume()
		}
	case c.ring.len() <= c.window()/2:
		c.resume()
	}
}

// Drained goes on with what waited for the client to read.
func (c *client) Drained(*netloop.Conn) {
	if c.has(stateClosed) {
		return
	}
	if x := c.x; x != nil {
		x.stuckSince = 0
		c.resumeUpstreams()
		if p, ok := x.mode.(*pipe); ok {
			p.clientDrained()
		}
		if x.subs != nil {
			x.subs.resume()
		}
	}
	c.settle()
}
