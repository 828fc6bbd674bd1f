package redis

// A session is a connection that is one client's until it leaves, because its
// server keeps something for it and may speak unasked: client tracking, or
// MONITOR. It is for listeners with one shard.

// session is the connection that all of the client's requests take; nil for
// nearly all clients.
func (c *client) session() *upstream {
	if c.x == nil {
		return nil
	}
	return c.x.session
}

// openSession gives the client a session, if it has none yet. again is true if
// the request has to be shown again later; otherwise a nil connection means
// that r has been answered with an error.
func (c *client) openSession(r *request, t target) (u *upstream, again bool) {
	if u := c.session(); u != nil {
		return u, false
	}
	if !c.barrier() {
		return nil, true
	}
	if watch := c.watching(); watch != nil { // its connection becomes the session
		u, watch.borrowed = watch.u, true
	} else {
		var reason string
		if u, reason = c.take(t); u == nil {
			c.localError(r, reason)
			return nil, false
		}
	}
	u.feeds = true
	c.extra().session = u
	return u, false
}

// watching is the client's transaction, if it has a connection.
func (c *client) watching() *tx {
	if c.x == nil {
		return nil
	}
	if t, ok := c.x.mode.(*tx); ok && t.u != nil {
		return t
	}
	return nil
}

// sendSession sends a request, or a part of one, over the client's session.
func (c *client) sendSession(u *upstream, t target, frame []byte, seq uint32, s *slot, part int32) {
	if t.primary() != u.pool.key.endpoint {
		c.failPart(seq, part, "ERR dragoman: the server that this connection was tied to is no longer in service here")
		c.state |= stateClosing
		return
	}
	u.send(frame, &pending{c: c, seq: seq, part: part, start: s.start, deadline: c.f.deadline(), shard: u.pool.stats})
}

// outOfBand passes on what the server says unasked.
func (c *client) outOfBand(u *upstream, frame []byte) {
	if c.has(stateClosed) {
		return
	}
	c.push(frame)
	if c.conn.Full() && !u.paused {
		c.pauseUpstream(u)
	}
}

// handleTracking is CLIENT TRACKING, CACHING, TRACKINGINFO and GETREDIR. The
// server that invalidates has to know this client, so tracking takes a session.
// Over several shards it is never on, as on the connections that clients share:
// any server can say what follows from that.
func handleTracking(c *client, r *request) bool {
	t, one := c.f.one()
	on := r.sub.Name == "client|tracking" && r.is(2, "on")
	switch {
	case !one && on:
		c.localError(r, "ERR dragoman: client-side caching needs a listener with a single shard")
		return true
	case !one:
		return c.forwardAny(r)
	case on:
		for i := 3; i < r.argc(); i++ {
			if r.is(i, "redirect") { // the number that the client knows is not the server's
				c.localError(r, "ERR The client ID you want redirect to does not exist")
				return true
			}
		}
		if u, again := c.openSession(r, t); u == nil {
			return !again
		}
	}
	c.forward(r, t, r.raw(c.w))
	return true
}

// monitor is the mode of a client that watches what its server does.
type monitor struct{}

// handleMonitor gives the client a connection on which the server tells it
// every command.
func handleMonitor(c *client, r *request) bool {
	t, one := c.f.one()
	if !one {
		return handleKeyless(c, r)
	}
	u, again := c.openSession(r, t)
	if u == nil {
		return !again
	}
	c.forward(r, t, r.raw(c.w))
	c.x.mode = monitor{}
	return true
}

// dispatch lets through what the proxy answers itself. The server refuses the
// rest, too, and its errors could not be told from what it tells.
func (monitor) dispatch(c *client, r *request) bool {
	switch r.name {
	case "quit", "reset", "ping", "echo", "time":
		return r.handle(c, r)
	case "monitor":
		return true // as Redis: no answer
	}
	c.localError(r, "ERR Replica can't interact with the keyspace")
	return true
}

func (monitor) end(*client) {}
