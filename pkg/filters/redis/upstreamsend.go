package redis

import "github.com/dragoman-mesh/dragoman/pkg/netloop"

// send queues a request. The bytes are copied.
func (u *upstream) send(frame []byte, p *pending) {
	u.cork()
	u.conn.Write(frame)
	u.sent(p)
}

// sendChain is send for a request in chunks, which it owns.
func (u *upstream) sendChain(frame *netloop.Chain, p *pending) {
	u.cork()
	u.conn.WriteChain(frame)
	u.sent(p)
}

// cork has a server that has others to answer first get a request together with
// what the next iteration brings.
func (u *upstream) cork() {
	if u.conn.Buffered() == 0 {
		u.conn.SetCorked(u.queue.len() > 0)
	}
}

func (u *upstream) sent(p *pending) {
	u.expect(p)
	if u.conn.Full() && p.c != nil {
		u.choke(p.c)
	}
}

// choke stops a client whose requests the server does not take, until it does
// or the client's earlier requests have been answered.
func (u *upstream) choke(c *client) {
	if c.state&(stateChoked|stateClosed) != 0 {
		return
	}
	c.state |= stateStalled | stateChoked
	if !c.has(stateParsing) {
		c.conn.Pause()
	}
	u.choked = append(u.choked, c)
}

func (u *upstream) unchoke() {
	list := u.choked
	u.choked = nil
	for _, c := range list {
		if c.state&(stateChoked|stateClosed) != stateChoked {
			continue
		}
		if c.state &^= stateChoked; c.state&(stateBarrier|stateBlocked) == 0 {
			c.resume()
		}
	}
}

func (u *upstream) expect(p *pending) {
	u.queue.push(p)
	if p.deadline == 0 {
		return
	}
	if p.deadline < u.lastDeadline {
		u.unordered = true
	}
	u.lastDeadline = p.deadline
	if !u.timeout {
		u.timeout = true
		u.pool.w.watchDeadlines(u)
	}
}
