package redis

import (
	"errors"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/netloop"
	"github.com/dragoman-mesh/dragoman/pkg/redisproto"
)

// upload is a request with a payload too large to be gathered in one buffer.
// Up to uploadShared bytes it is collected as a chain of chunks and then sent
// like any other. A larger one is passed on as it arrives, over a connection of
// its own, since nobody else could use that connection until it is complete. One
// that has to be split over shards is collected whole.
type upload struct {
	args    int                // arguments whose end was not yet seen
	scan    redisproto.Scanner // of the current one
	inArg   bool               // scan has begun it
	t       target
	placed  int64 // ns, when t was found
	command *command
	split   bool // over several shards: t is not set
	total   int64
	held    netloop.Chain // collected
	u       *upstream     // passing on; nil while collecting or discarding
	pinned  bool          // u is the client's own, because of a transaction or a session
	seq     uint32
	slot    bool   // seq is open, or was and has been answered
	discard string // not empty: the rest is dropped, this is the answer
	sorting *sorting
	waiting int64 // since when the client is paused because u takes no more; 0: it is not
}

const (
	// uploadShared is the size up to which a request goes over a shared connection.
	uploadShared = 1 << 20
	// requestSlack is what a request may have besides its largest argument
	// before it counts as larger than the limit.
	requestSlack = 64 << 10
)

const errTooLarge = "ERR dragoman: the request is too large"

// startUpload takes over an incomplete request that has a large bulk on its
// way. ok is false if it has to be gathered as usual.
func (c *client) startUpload(b []byte, cmd *redisproto.Command) (n int, ok bool) {
	if len(cmd.Args) == 0 || c.user == nil || (c.x != nil && c.x.subs != nil) {
		return 0, false
	}
	r := &c.w.req
	r.take(c.w, cmd, b)
	if !r.streams || !r.effective().ArityOK(cmd.NumArgs()) || (!c.user.unrestricted && !c.user.allows(r)) {
		return 0, false
	}
	t, ok := c.uploadTarget(r)
	split := !ok && c.splitsHeld(r)
	if !ok && !split {
		return 0, false
	}
	if c.ring.len() >= c.window() {
		c.stall()
		return 0, true
	}
	if split && c.f.anySlots() && !c.barrier() || !split && !c.inOrder(&t) {
		return 0, true
	}
	up := newUpload(cmd)
	up.t, up.placed, up.command, up.split = t, c.w.loop.Now(), r.command, split
	switch {
	case split:
	case c.x != nil && (c.x.mode != nil || c.x.session != nil):
		if cmd.Total() <= uploadShared || !up.startPinned(c, r) {
			return 0, false
		}
	case cmd.Total() > uploadShared && !up.start(c):
		return 0, true
	}
	c.extra().upload = up
	c.x.partial = nil
	return up.data(c, b), true
}

func newUpload(cmd *redisproto.Command) *upload { return &upload{args: cmd.NumArgs()} }

// uploadsTo reports whether a request of the client's is being passed on to u.
func (c *client) uploadsTo(u *upstream) bool {
	return c.x != nil && c.x.upload != nil && c.x.upload.u == u
}

// uploadTarget is where an incomplete request goes. ok is false if that is not
// yet known, or if the request has to be rewritten or copied.
func (c *client) uploadTarget(r *request) (target, bool) {
	if t, ok := c.f.one(); ok {
		return t, len(c.f.catchAll.mirrors) == 0
	}
	if r.key == 0 || r.key >= r.argc() || r.spec.LastKey != r.spec.FirstKey {
		return target{}, false
	}
	key := r.arg(r.key)
	rt := c.f.route(key)
	if rt == nil || len(rt.mirrors) > 0 || (rt.removePrefix && rt.prefix != "") {
		return target{}, false
	}
	t, reason := c.f.locate(rt.clusterFor(r.readOnly), key)
	return t, reason == ""
}

// start opens the way for a payload that is passed on as it arrives. It
// returns false if earlier requests have to be answered first.
func (up *upload) start(c *client) bool {
	if !c.barrier() {
		return false
	}
	u, reason := c.take(up.t)
	up.u = u
	seq, _ := c.open(&request{command: up.command})
	up.seq, up.slot = seq, true
	if up.u == nil {
		up.refuse(c, reason)
		return true
	}
	c.extra().exclusive = up.u
	up.u.conn.WriteChain(&up.held)
	return true
}

// startPinned is start for a client that has a connection of its own, on which
// the request keeps its place.
func (up *upload) startPinned(c *client, r *request) bool {
	u := c.x.session
	if t, ok := c.x.mode.(*tx); ok {
		u = t.upload(c, r, up.t)
	} else if c.x.mode != nil || u != nil && up.t.primary() != u.pool.key.endpoint {
		return false
	}
	if u == nil {
		return false
	}
	up.u, up.pinned = u, true
	seq, _ := c.open(r)
	up.seq, up.slot = seq, true
	return true
}

// data takes the next bytes of the request.
func (up *upload) data(c *client, b []byte) int {
	n, err := up.advance(b, &c.f.limits)
	if err != nil {
		up.malformed(c, err)
		return len(b)
	}
	switch {
	case n == 0:
	case up.split && up.discard == "" && n < ownedAt:
		up.held.Append(c.w.loop, b[:n])
		up.took(c, n)
	default:
		up.take(c, c.conn.Own(b[:n]))
	}
	if up.args == 0 {
		up.complete(c)
		return n
	}
	if left := up.scan.BulkLeft(); left >= bulkAt {
		c.conn.ReadBulk(left)
	}
	return n
}

// advance finds how much of b belongs to the request. Nothing but bulks is let
// through: a server that meets anything else closes the connection, which may
// be a shared one.
func (up *upload) advance(b []byte, lim *redisproto.Limits) (n int, err error) {
	if up.total == 0 {
		for n < len(b) && b[n] != '\n' {
			n++
		}
		n++ // the count was parsed before
	}
	for up.args > 0 && n < len(b) {
		if !up.inArg {
			switch rest := b[n:]; {
			case rest[0] != '$':
				return n, &redisproto.ProtocolError{Reason: "expected '$'"}
			case len(rest) == 1:
				return n, nil
			case rest[1] == '-':
				return n, &redisproto.ProtocolError{Reason: "invalid bulk length"}
			}
			up.inArg = true
		}
		k, done, err := up.scan.Scan(b[n:], lim)
		n += k
		if err != nil || !done {
			return n, err
		}
		up.argDone()
	}
	return n, nil
}

func (up *upload) argDone() {
	up.inArg = false
	up.args--
}

// Bulk takes a piece of the payload.
func (c *client) Bulk(_ *netloop.Conn, p *netloop.Chunk, left int64) {
	c.lastIn = c.w.tenths()
	if c.x == nil || c.x.upload == nil {
		c.w.loop.Free(p)
		return
	}
	up := c.x.upload
	if err := up.scan.Payload(p.Bytes()); err != nil {
		c.w.loop.Free(p)
		up.malformed(c, err)
		return
	}
	up.take(c, p)
	if left > 0 || c.x.upload != up {
		return
	}
	if _, done, err := up.scan.Scan(nil, &c.f.limits); err != nil || !done {
		return
	}
	if up.argDone(); up.args == 0 {
		up.complete(c)
	}
}

// ownedAt is from how many bytes on what is collected whole is kept in the buffer
// that it came in, which is mostly full then. Less is copied together.
const ownedAt = 48 << 10

// took counts n bytes more, and refuses the request when they are too many.
func (up *upload) took(c *client, n int) {
	limit := c.f.limits.MaxBulk + requestSlack
	if up.split {
		limit = c.f.maxGather
	}
	if up.total += int64(n); up.total > limit && up.discard == "" {
		up.refuse(c, errTooLarge)
	}
}

// take passes p on, or keeps it. It owns p.
func (up *upload) take(c *client, p *netloop.Chunk) {
	up.took(c, p.Len())
	switch {
	case up.discard != "":
		c.w.loop.Free(p)
	case up.u != nil:
		up.u.conn.WriteChunk(p)
	default:
		up.held.AppendChunk(p)
		if !up.split && up.held.Len() > uploadShared && !up.start(c) {
			c.conn.Pause() // until the earlier requests are answered
		}
	}
	if up.u != nil && up.u.conn.Full() && up.waiting == 0 {
		up.waiting = c.w.loop.Now()
		c.conn.Pause()
		c.watch()
	}
}

// resume goes on when the server has taken what was there.
func (up *upload) resume(c *client) {
	if up.waiting != 0 {
		up.waiting = 0
		c.conn.Resume()
	}
}

// complete is called when the whole request is there.
func (up *upload) complete(c *client) {
	c.x.upload = nil
	switch {
	case up.u != nil:
		s := c.ring.at(up.seq)
		up.u.expect(&pending{c: c, seq: up.seq, start: s.start, deadline: c.f.deadline(), shard: up.u.pool.stats})
		if up.pinned {
			up.resume(c) // its last bytes may wait still; who sends more is choked as always
		} else {
			c.giveBack(up.u, false)
			c.state |= stateBarrier
		}
	case up.discard == "" && up.split:
		c.sendSplit(up)
	case up.discard == "":
		r := &c.w.req
		r.command = up.command
		seq, s := c.open(r)
		if up.t.table != up.t.cluster.Table() {
			s.start = up.placed // by a table that is over, see inOrder
		}
		c.sendHeld(r, up.t, &up.held, seq, 0)
	case !up.slot:
		c.localError(nil, up.discard)
	}
	c.settle()
}

// refuse answers the request with an error although it is not whole. The rest
// of it is dropped, and the client's connection lives on.
func (up *upload) refuse(c *client, reason string) {
	up.discard = reason
	up.release(c)
	if c.has(stateClosed) {
		return
	}
	if up.slot {
		c.fail(up.seq, reason)
	} else if c.x != nil {
		if t, ok := c.x.mode.(*tx); ok {
			t.spoil()
		}
	}
	up.resume(c)
}

// lost is called when the upload's connection u has failed.
func (up *upload) lost(c *client, u *upstream) {
	if up.u == u {
		up.refuse(c, u.pool.unavailable(": "+u.broken))
	}
}

// overdue gives up an upload whose server does not take it.
func (up *upload) overdue(now int64, limit time.Duration) bool {
	return up.waiting != 0 && limit > 0 && now-up.waiting > int64(limit)
}

// malformed ends a client whose request turned out to be none.
func (up *upload) malformed(c *client, err error) {
	c.x.upload = nil
	up.release(c)
	switch {
	case c.has(stateClosed):
		return
	case !up.slot:
		c.protocolError(err)
		c.settle()
		return
	}
	c.state |= stateClosing
	c.f.stats.protocolErrors++
	if up.discard == "" {
		c.fail(up.seq, "ERR "+err.Error())
	}
	c.settle()
}

// release gives back what the upload holds. A server never executes half a
// request: it forgets it with the connection.
func (up *upload) release(c *client) {
	up.held.Free(c.w.loop)
	if up.sorting != nil {
		up.sorting.free()
		up.sorting = nil
	}
	if u := up.u; u != nil {
		up.u = nil
		if up.pinned && !u.closed && !c.has(stateClosed) {
			u.fail("a request on it was given up")
		}
		u.close()
		if c.x.exclusive == u {
			c.x.exclusive = nil
		}
	}
}

// discardRequest drops a request that would have to be gathered but is too
// large for that, and answers it with an error.
func (c *client) discardRequest(b []byte, cmd *redisproto.Command) int {
	if cmd.Inline() {
		c.protocolError(errors.New("Protocol error: too big inline request")) //nolint:staticcheck // Redis' words
		return len(b)
	}
	up := newUpload(cmd)
	c.extra().upload = up
	c.x.partial = nil
	up.refuse(c, errTooLarge)
	return up.data(c, b)
}
