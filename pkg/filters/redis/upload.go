package redis

import (
	"errors"

	"github.com/dragoman-mesh/dragoman/pkg/netloop"
	"github.com/dragoman-mesh/dragoman/pkg/redisproto"
)

// upload is a request with a payload too large to be gathered in one buffer.
// Up to uploadShared bytes it is collected as a chain of chunks and then sent
// like any other. A larger one is passed on as it arrives, over a connection of
// its own, since nobody else could use that connection until it is complete.
type upload struct {
	scan    redisproto.Scanner
	seq     uint32
	slot    bool // seq is open
	t       target
	command *command
	held    netloop.Chain
	total   int64
	u       *upstream // passing on; nil while collecting or discarding
	discard bool      // the rest of the request is dropped
}

// uploadShared is the size up to which a request goes over a shared connection.
const uploadShared = 1 << 20

// startUpload takes over an incomplete request that has a large bulk on its
// way. ok is false if it has to be gathered as usual.
func (c *client) startUpload(b []byte, cmd *redisproto.Command) (n int, ok bool) {
	if len(cmd.Args) == 0 || (c.x != nil && (c.x.mode != nil || c.x.subs != nil)) {
		return 0, false
	}
	info := c.w.b.commands.lookup(cmd.Arg(b, 0))
	if info == nil || info.key == 0 || info.key >= len(cmd.Args) || info.blocking ||
		c.user == nil || !c.user.unrestricted || !info.spec.ArityOK(cmd.NumArgs()) {
		return 0, false
	}
	if info.spec.LastKey != info.spec.FirstKey {
		return 0, false
	}
	key := cmd.Arg(b, info.key)
	rt := c.f.route(key)
	if rt == nil || len(rt.mirrors) > 0 || (rt.removePrefix && rt.prefix != "") {
		return 0, false
	}
	t, reason := c.f.locate(rt.clusterFor(info), key)
	if reason != "" || t.table.Slots != nil {
		return 0, false
	}
	if c.ring.len() >= c.window() {
		c.state |= stateStalled | stateCrowded
		return 0, true
	}
	up := &upload{t: t, command: info}
	if cmd.Total() > uploadShared {
		if !c.barrier() {
			return 0, true
		}
		up.start(c, t)
	}
	c.extra().upload = up
	c.x.partial = nil
	return up.data(c, b), true
}

// start opens the way for a payload that is passed on as it arrives.
func (up *upload) start(c *client, t target) {
	p, reason := c.poolFor(t, false)
	if p != nil {
		var why string
		if up.u, why = p.take(c); up.u == nil {
			reason = "ERR dragoman: " + p.describe() + " " + why
		}
	}
	seq, _ := c.open(&request{command: up.command})
	up.seq, up.slot = seq, true
	if up.u == nil {
		up.discard = true
		c.fail(seq, reason)
		return
	}
	c.extra().exclusive = up.u
	c.state |= stateUploading
}

// data takes the next bytes of the request.
func (up *upload) data(c *client, b []byte) int {
	n, done, err := up.scan.Scan(b, &c.f.limits)
	if err != nil {
		c.x.upload = nil
		up.abort(c)
		c.protocolError(err)
		return len(b)
	}
	if n > 0 {
		up.take(c, c.conn.Own(b[:n]))
	}
	if done {
		up.complete(c)
		return n
	}
	if left := up.scan.BulkLeft(); left >= bulkAt {
		c.conn.ReadBulk(left)
	}
	return n
}

// Bulk takes a piece of the payload.
func (c *client) Bulk(_ *netloop.Conn, p *netloop.Chunk, left int64) {
	if c.x == nil || c.x.upload == nil {
		c.w.loop.Free(p)
		return
	}
	up := c.x.upload
	up.scan.Skip(int64(p.Len()))
	up.take(c, p)
	if left > 0 {
		return
	}
	if _, done, err := up.scan.Scan(nil, &c.f.limits); err == nil && done {
		up.complete(c)
	}
}

// take owns p.
func (up *upload) take(c *client, p *netloop.Chunk) {
	up.total += int64(p.Len())
	switch {
	case up.discard:
		c.w.loop.Free(p)
	case up.u != nil:
		up.u.conn.WriteChunk(p)
		if up.u.conn.Buffered() > highWater {
			c.conn.Pause()
		}
	default:
		up.held.AppendChunk(p)
	}
}

// complete is called when the whole request is there.
func (up *upload) complete(c *client) {
	c.x.upload = nil
	c.state &^= stateUploading
	switch {
	case up.u != nil:
		s := c.ring.at(up.seq)
		up.u.expect(pending{c: c, seq: up.seq, start: s.start, deadline: c.f.deadline(), shard: up.u.pool.stats})
		c.giveBack(up.u, false)
		c.state |= stateBarrier
	case up.discard:
		if !up.slot {
			c.localError(nil, "ERR dragoman: request too large to be routed")
		}
	default:
		up.sendShared(c)
	}
}

// sendShared sends a collected request over the shared connection.
func (up *upload) sendShared(c *client) {
	r := &c.w.req
	r.command = up.command
	seq, s := c.open(r)
	p, reason := c.poolFor(up.t, r.readOnly)
	if p != nil {
		u, why := p.get(c)
		if u != nil {
			u.conn.WriteChain(&up.held)
			u.expect(pending{c: c, seq: seq, start: s.start, deadline: c.f.deadline(), shard: p.stats})
			return
		}
		reason = "ERR dragoman: " + p.describe() + " " + why
	}
	up.held.Free(c.w.loop)
	c.fail(seq, reason)
}

// lost is called when the upload's connection has failed: the rest of the
// payload is dropped.
func (up *upload) lost(u *upstream) {
	if up.u != u {
		return
	}
	c := u.owner
	up.u, up.discard = nil, true
	c.state &^= stateUploading
	c.fail(up.seq, "ERR dragoman: "+u.pool.describe()+": "+u.broken)
	c.conn.Resume()
}

// abort is called when the client goes away.
func (up *upload) abort(c *client) {
	up.held.Free(c.w.loop)
	if up.u != nil {
		up.u.close()
		up.u = nil
	}
}

// discardRequest drops a request that would have to be gathered but is too
// large for that, and answers it with an error.
func (c *client) discardRequest(b []byte, cmd *redisproto.Command) int {
	if cmd.Inline() {
		c.protocolError(errors.New("Protocol error: too big inline request")) //nolint:revive,staticcheck // Redis' words
		return len(b)
	}
	up := &upload{discard: true}
	c.extra().upload = up
	c.x.partial = nil
	return up.data(c, b)
}
