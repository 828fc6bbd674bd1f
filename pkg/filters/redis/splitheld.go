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

// sendSplit sends a collected request to its shards.
func (c *client) sendSplit(up *upload) {
	r, l := &c.w.req, c.w.loop
	r.command = up.command
	m := c.w.takeMerge(r.split.how, 0)
	name, groups, reason := c.heldGroups(r, &up.held, m)
	if reason != "" {
		c.w.putMerge(m)
		c.localError(r, reason)
		return
	}
	seq, s := c.open(r)
	if len(groups) == 1 {
		c.w.putMerge(m)
	} else {
		m.setParts(len(groups))
		m.join = r.split.join
		s.merge = m
	}
	for i := range groups {
		g := &groups[i]
		var frame netloop.Chain
		head := redisproto.AppendArray(c.w.inline[:0], 1+g.n*r.split.step)
		c.w.inline = redisproto.AppendBulk(head, name)
		frame.Append(l, c.w.inline)
		g.held.MoveTo(&frame)
		c.sendHeld(r, g.t, &frame, seq, int32(i))
	}
}

// heldGroups moves the arguments of a request, whose name it returns, to the groups
// of their shards. A reason says why one has none; nothing is held any more then.
func (c *client) heldGroups(r *request, q *netloop.Chain, m *merge) (name []byte, groups []group, reason string) {
	l := c.w.loop
	argc, line := headLine(l, q)
	q.Skip(l, line)
	size, line := headLine(l, q)
	name = bytes.Clone(q.Lead(l, line+size)[line:])
	q.Skip(l, line+size+2)
	x := sorter{c: c, r: r, groups: c.w.groups[:0], order: m.order}
	for range (argc - 1) / r.split.step {
		size, line := headLine(l, q)
		key := q.Lead(l, line+size)[line:]
		var g *group
		if g, reason = x.place(key); reason != "" {
			break
		}
		g.n++
		if sent := g.rt.strip(key); len(sent) < size {
			c.w.inline = redisproto.AppendBulk(c.w.inline[:0], sent)
			g.held.Append(l, c.w.inline)
			q.Skip(l, line+size+2)
		} else {
			q.MoveN(l, &g.held, line+size+2)
		}
		for range r.split.step - 1 {
			size, line := headLine(l, q)
			q.MoveN(l, &g.held, line+size+2)
		}
	}
	c.w.groups, m.order = x.groups, x.order
	if reason != "" {
		q.Free(l)
		for i := range x.groups {
			x.groups[i].held.Free(l)
		}
	}
	return name, x.groups, reason
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
