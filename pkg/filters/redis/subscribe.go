package redis

import (
	"slices"

	"github.com/dragoman-mesh/dragoman/pkg/redisproto"
)

// handleSubscribe is SUBSCRIBE, UNSUBSCRIBE and their relatives. Each channel
// is acknowledged by itself, once the server has done so.
func handleSubscribe(c *client, r *request) bool {
	cmd := subCommandOf(r.name)
	x := c.extra()
	if cmd.add && x.subs == nil {
		if !c.barrier() {
			return false
		}
		x.subs = newSubscriptions(c)
	}
	whole := true
	if r.argc() == 1 {
		whole = c.unsubscribeAll(r, cmd)
	} else {
		for whole && x.named+1 < r.argc() {
			c.subscribeOne(r, cmd, string(r.arg(x.named+1)))
			whole = x.named+1 == r.argc() || c.ring.len() < c.window()
		}
	}
	if x.subs != nil {
		x.subs.tidy()
	}
	if !whole { // each name in flight takes a kilobyte
		c.stall()
		return false
	}
	x.named = 0
	return true
}

// unsubscribeAll leaves as many names as may be in flight. It reports whether these
// were all.
func (c *client) unsubscribeAll(r *request, cmd subCommand) bool {
	x := c.x
	var names []string
	room := max(1, c.window()-c.ring.len())
	if x.subs != nil {
		for name := range x.subs.kinds[cmd.kind] {
			if len(names) == room {
				break
			}
			names = append(names, name)
		}
	}
	if len(names) == 0 && x.named == 0 { // nothing to unsubscribe from
		b := redisproto.AppendPush(c.w.out[:0], 3, int(c.resp))
		b = redisproto.AppendBulkString(b, r.name)
		b = redisproto.AppendNull(b, int(c.resp))
		c.w.out = redisproto.AppendInt(b, int64(x.subs.count(cmd.kind)))
		seq, slot := c.open(r)
		slot.mute = false // as in subscribeOne
		c.reply(seq, c.w.out)
	}
	slices.Sort(names)
	for _, name := range names {
		c.subscribeOne(r, cmd, name)
	}
	return x.subs == nil || len(x.subs.kinds[cmd.kind]) == 0
}

// subscribeOne deals with the next name of a request.
func (c *client) subscribeOne(r *request, cmd subCommand, name string) {
	seq, slot := c.open(r)
	slot.mute = false // acknowledgements are pushed, whatever CLIENT REPLY says
	slot.further = c.x.named > 0
	c.x.named++
	c.subscribe(r.name, cmd, name, seq, slot)
}

// maxSubscriptions is how many a client may have. Each takes about 300 bytes here, and
// more at the server.
const maxSubscriptions = 256 << 10

const errSubscriptions = "ERR dragoman: too many subscriptions for one client"

// subscribe adds or removes one subscription, which slot seq acknowledges.
func (c *client) subscribe(verb string, cmd subCommand, name string, seq uint32, slot *slot) {
	s := c.x.subs
	var links []*subscriber
	held := false
	if s != nil {
		links, held = s.kinds[cmd.kind][name]
	}
	if held == cmd.add {
		c.reply(seq, c.acknowledgement(verb, name, s.count(cmd.kind)))
		return
	}
	if cmd.add {
		if s.total() >= c.f.maxSubscriptions {
			c.fail(seq, errSubscriptions)
			return
		}
		var reason string
		if links, reason = s.linksFor(cmd.kind, name); reason != "" {
			c.fail(seq, reason)
			return
		}
		s.kinds[cmd.kind][name] = links
	} else {
		delete(s.kinds[cmd.kind], name)
	}
	count := s.count(cmd.kind)
	slot.merge = c.w.takeMerge(combineFirst, len(links))
	slot.finish = func(c *client, frame []byte) []byte {
		if !isError(frame) {
			return c.acknowledgement(verb, name, count)
		}
		if cmd.add {
			s.undo(cmd.kind, verb, name)
		}
		return frame
	}
	for i, l := range links {
		if cmd.add {
			l.names++
		} else {
			l.names--
		}
		l.send(verb, name, ack{seq: seq, part: int32(i), kind: cmd.kind})
	}
}

// undo takes back a subscription that a server has refused.
func (s *subscriptions) undo(kind int, verb, name string) {
	links := s.kinds[kind][name]
	delete(s.kinds[kind], name)
	for _, l := range links {
		l.names--
		if !l.closed && len(links) > 1 {
			l.send(undoing(verb), name, ack{drop: true, kind: kind})
		}
	}
}

// undoing is the command that takes back another.
func undoing(verb string) string {
	if verb == "psubscribe" {
		return "punsubscribe"
	}
	return "unsubscribe" // shard channels are on one server only
}

func (c *client) acknowledgement(verb, name string, count int) []byte {
	b := redisproto.AppendPush(nil, 3, int(c.resp))
	b = redisproto.AppendBulkString(b, verb)
	b = redisproto.AppendBulkString(b, name)
	return redisproto.AppendInt(b, int64(count))
}
