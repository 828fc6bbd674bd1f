package redis

import (
	"bytes"
	"slices"
	"strconv"

	"github.com/dragoman-mesh/dragoman/pkg/netloop"
	"github.com/dragoman-mesh/dragoman/pkg/redisproto"
)

// A large request that has to be split is collected in chunks, and these become
// the requests to the shards: it takes little more memory than its length. No
// server gets anything of it before it is whole, since half of it must not be
// executed.

// splitsHeld reports whether r, of which not all has come, may be split that way.
func (c *client) splitsHeld(r *request) bool {
	if step := r.split.step; step == 0 || (r.cmd.NumArgs()-1)%step != 0 {
		return false
	}
	if r.cmd.Total() > c.f.maxGather || (c.x != nil && (c.x.mode != nil || c.x.session != nil)) {
		return false
	}
	for _, rt := range append(slices.Clip(c.f.routes), c.f.catchAll) {
		if rt != nil && len(rt.mirrors) > 0 { // their keys are sorted anew
			return false
		}
	}
	return true
}

// keysPerTurn is how many keys of a request, or of its reply, are sorted in one
// iteration of the loop, which takes about a millisecond: others are served in between.
const keysPerTurn = 8 << 10

// sorting is a collected request that is being taken apart.
type sorting struct {
	sorter
	name []byte // of the command
	keys int    // that are left
	m    *merge
	seq  uint32
}

// sendSplit sends a collected request to its shards, as soon as its keys are sorted.
func (c *client) sendSplit(up *upload) {
	l, q := c.w.loop, &up.held
	argc, line := headLine(l, q)
	q.Skip(l, line)
	size, line := headLine(l, q)
	r := &request{command: up.command}
	x := &sorting{sorter: sorter{c: c, r: r}, keys: (argc - 1) / r.split.step, m: c.w.takeMerge(r.split.how, 0)}
	x.name = bytes.Clone(q.Lead(l, line+size)[line:])
	q.Skip(l, line+size+2)
	x.order = x.m.order
	var s *slot
	x.seq, s = c.open(r)
	s.merge = x.m
	up.sorting = x
	c.x.upload = up
	c.sortHeld(up)
}

// sortHeld sorts as many keys as are one turn's.
func (c *client) sortHeld(up *upload) {
	x := up.sorting
	if x == nil { // the client has gone
		return
	}
	reason := ""
	for n := min(x.keys, keysPerTurn); n > 0 && reason == ""; n-- {
		reason = x.sortOne(&up.held)
		x.keys--
	}
	if x.keys > 0 && reason == "" {
		c.conn.Pause()
		c.w.loop.Post(func() { c.sortHeld(up) })
		return
	}
	x.m.order = x.order
	if reason != "" {
		up.release(c)
	}
	c.x.upload, up.sorting = nil, nil
	c.sendSorted(x, reason)
	if c.f.successor != nil && !c.has(stateClosed) {
		c.moveOn() // what it was kept from
	}
	if c.state&(notYet|stateParsing) == 0 {
		c.conn.Resume() // see takeover
	}
	c.settle()
}

// sortOne moves one key, with what belongs to it, to the group of its shard.
func (x *sorting) sortOne(q *netloop.Chain) (reason string) {
	l := x.c.w.loop
	size, line := headLine(l, q)
	key := q.Lead(l, line+size)[line:]
	g, reason := x.place(key)
	if reason != "" {
		return reason
	}
	g.n++
	if sent := g.rt.strip(key); len(sent) < size {
		x.c.w.inline = redisproto.AppendBulk(x.c.w.inline[:0], sent)
		g.held.Append(l, x.c.w.inline)
		q.Skip(l, line+size+2)
	} else {
		q.MoveN(l, &g.held, line+size+2)
	}
	for range x.r.split.step - 1 {
		size, line := headLine(l, q)
		q.MoveN(l, &g.held, line+size+2)
	}
	return ""
}

// free gives back what is sorted already.
func (x *sorting) free() {
	for i := range x.groups {
		x.groups[i].held.Free(x.c.w.loop)
	}
}

// sendSorted sends the groups, or answers the request with the reason why there are
// none.
func (c *client) sendSorted(x *sorting, reason string) {
	r, l, s := x.r, c.w.loop, c.ring.at(x.seq)
	if reason != "" || len(x.groups) == 1 {
		s.merge = nil
		c.w.putMerge(x.m)
	}
	if reason != "" {
		c.fail(x.seq, reason)
		return
	}
	if s.merge != nil {
		x.m.setParts(len(x.groups))
		x.m.join = r.split.join
	}
	for i := range x.groups {
		g := &x.groups[i]
		var frame netloop.Chain
		head := redisproto.AppendArray(c.w.inline[:0], 1+g.n*r.split.step)
		c.w.inline = redisproto.AppendBulk(head, x.name)
		frame.Append(l, c.w.inline)
		g.held.MoveTo(&frame)
		c.sendHeld(r, g.t, &frame, x.seq, int32(i))
	}
}

// headLine gives the number in the first line of q, which was found to be well-formed
// before, and the length of that line.
func headLine(l *netloop.Loop, q *netloop.Chain) (n, length int) {
	for most := 32; ; most *= 2 {
		b := q.Lead(l, most)
		if end := bytes.IndexByte(b, '\n'); end > 0 {
			n, _ = strconv.Atoi(string(b[1 : end-1]))
			return n, end + 1
		}
	}
}

// sendHeld is sendPart for a request in chunks, which it owns.
func (c *client) sendHeld(r *request, t target, frame *netloop.Chain, seq uint32, part int32) {
	p, reason := c.poolFor(t, r.readOnly)
	if p != nil {
		u, why := p.get(c)
		if u != nil {
			item := pending{c: c, seq: seq, part: part, start: c.ring.at(seq).start, deadline: c.f.deadline(), shard: p.stats}
			if t.table.Slots != nil && c.f.cfg.Redirection && frame.Len() <= maxReplay {
				item.replay = &replay{frame: bytes.Clone(frame.Contiguous(c.w.loop))}
			}
			u.sendChain(frame, &item)
			return
		}
		reason = p.unavailable(why)
	}
	frame.Free(c.w.loop)
	c.failPart(seq, part, reason)
}
