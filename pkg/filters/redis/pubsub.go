package redis

import (
	"bytes"

	"github.com/dragoman-mesh/dragoman/pkg/netloop"
	"github.com/dragoman-mesh/dragoman/pkg/redisproto"
)

// subscriptions are what a client is subscribed to. It has one connection of
// its own to each shard concerned: a channel lives on the shard that its name
// hashes to, a pattern on all of them.
type subscriptions struct {
	c     *client
	kinds [3]map[string]struct{} // by kind
	links map[*pool]*subscriber
	stuck bool
}

// The kinds of subscription, which are counted together or apart as Redis does.
const (
	byChannel = iota
	byPattern
	byShardChannel
)

// subCommand says what a (un)subscribe command does.
type subCommand struct {
	kind int
	add  bool
}

func subCommandOf(name string) subCommand {
	switch name {
	case "subscribe":
		return subCommand{byChannel, true}
	case "psubscribe":
		return subCommand{byPattern, true}
	case "ssubscribe":
		return subCommand{byShardChannel, true}
	case "punsubscribe":
		return subCommand{byPattern, false}
	case "sunsubscribe":
		return subCommand{byShardChannel, false}
	default:
		return subCommand{byChannel, false}
	}
}

// count is the number that an acknowledgement carries: shard channels are
// counted by themselves.
func (s *subscriptions) count(kind int) int {
	if kind == byShardChannel {
		return len(s.kinds[byShardChannel])
	}
	return len(s.kinds[byChannel]) + len(s.kinds[byPattern])
}

func (s *subscriptions) total() int {
	return len(s.kinds[byChannel]) + len(s.kinds[byPattern]) + len(s.kinds[byShardChannel])
}

// handleSubscribe is SUBSCRIBE, UNSUBSCRIBE and their relatives. Each channel
// is acknowledged by itself, once the server has done so.
func handleSubscribe(c *client, r *request) bool {
	cmd := subCommandOf(r.name)
	x := c.extra()
	if cmd.add && x.subs == nil {
		if !c.barrier() {
			return false
		}
		x.subs = &subscriptions{c: c, links: map[*pool]*subscriber{}}
		for i := range x.subs.kinds {
			x.subs.kinds[i] = map[string]struct{}{}
		}
	}
	if r.argc() == 1 {
		c.unsubscribeAll(r, cmd)
	}
	for i := 1; i < r.argc(); i++ {
		c.subscribe(r, cmd, string(r.arg(i)))
		if c.has(stateClosed) {
			return true
		}
	}
	if s := x.subs; s != nil && s.total() == 0 {
		s.endWhenQuiet()
	}
	return true
}

func (c *client) unsubscribeAll(r *request, cmd subCommand) {
	var names []string
	count := 0
	if s := c.x.subs; s != nil {
		for name := range s.kinds[cmd.kind] {
			names = append(names, name)
		}
		count = s.count(cmd.kind)
	}
	if len(names) == 0 {
		b := redisproto.AppendPush(c.w.out[:0], 3, int(c.resp))
		b = redisproto.AppendBulkString(b, r.name)
		b = redisproto.AppendNull(b, int(c.resp))
		c.w.out = redisproto.AppendInt(b, int64(count))
		c.local(r, c.w.out)
	}
	for _, name := range names {
		c.subscribe(r, cmd, name)
	}
}

// subscribe adds or removes one subscription.
func (c *client) subscribe(r *request, cmd subCommand, name string) {
	s := c.x.subs
	var held bool
	if s != nil {
		_, held = s.kinds[cmd.kind][name]
	}
	if s == nil || (held == cmd.add) {
		count := 0
		if s != nil {
			count = s.count(cmd.kind)
		}
		c.local(r, c.acknowledgement(r.name, name, count))
		return
	}
	links, reason := s.linksFor(cmd.kind, name, r.name)
	if reason != "" {
		c.localError(r, reason)
		return
	}
	if cmd.add {
		s.kinds[cmd.kind][name] = struct{}{}
	} else {
		delete(s.kinds[cmd.kind], name)
	}
	seq, slot := c.open(r)
	slot.merge = c.w.takeMerge(combineFirst, len(links))
	verb, count := r.name, s.count(cmd.kind)
	slot.finish = func(c *client, frame []byte) []byte {
		if isError(frame) {
			return frame
		}
		return c.acknowledgement(verb, name, count)
	}
	frame := redisproto.AppendCommand(nil, verb, name)
	for i, l := range links {
		l.acks = append(l.acks, ack{seq: seq, part: int32(i)}) //nolint:gosec // few
		l.conn.Write(frame)
	}
}

func (c *client) acknowledgement(verb, name string, count int) []byte {
	b := redisproto.AppendPush(nil, 3, int(c.resp))
	b = redisproto.AppendBulkString(b, verb)
	b = redisproto.AppendBulkString(b, name)
	return redisproto.AppendInt(b, int64(count))
}

// linksFor are the connections that a subscription needs.
func (s *subscriptions) linksFor(kind int, name, verb string) ([]*subscriber, string) {
	var targets []target
	if kind == byPattern {
		s.c.f.shards(func(t target) { targets = append(targets, t) })
	} else {
		t, reason := s.c.channelTarget([]byte(name))
		if reason != "" {
			return nil, reason
		}
		targets = append(targets, t)
	}
	if len(targets) == 0 {
		return nil, "ERR dragoman: listener " + s.c.f.name + " has no endpoint yet"
	}
	links := make([]*subscriber, 0, len(targets))
	for _, t := range targets {
		p, reason := s.c.poolFor(t, false)
		if p == nil {
			return nil, reason
		}
		l, reason := s.link(p)
		if l == nil {
			return nil, "ERR dragoman: " + verb + ": " + p.describe() + reason
		}
		links = append(links, l)
	}
	return links, ""
}

func (s *subscriptions) link(p *pool) (*subscriber, string) {
	if l := s.links[p]; l != nil {
		return l, ""
	}
	l := &subscriber{subs: s, pool: p}
	setup := &upstream{pool: p}
	hello, err := p.setup(setup)
	if err != nil {
		return nil, ": " + err.Error()
	}
	if now := p.w.loop.Now(); now < p.downUntil {
		return nil, p.why()
	}
	e := p.key.endpoint
	l.setup = setup.setup
	l.conn = p.w.loop.Dial(e.Network, e.Address, netloop.DialOptions{Timeout: p.opts.ConnectTimeout, TLS: e.TLS}, l)
	l.conn.Write(hello)
	p.open++
	p.stats.active++
	p.stats.connects++
	s.links[p] = l
	return l, ""
}

// end closes all connections.
func (s *subscriptions) end() {
	for _, l := range s.links {
		l.close()
	}
	s.links = map[*pool]*subscriber{}
}

// endWhenQuiet leaves the subscribed state when the last acknowledgement is in.
func (s *subscriptions) endWhenQuiet() {
	for _, l := range s.links {
		if len(l.acks) > 0 {
			return
		}
	}
	s.end()
	if s.c.x.subs == s && s.total() == 0 {
		s.c.x.subs = nil
	}
}

func (s *subscriptions) resume() {
	if !s.stuck {
		return
	}
	s.stuck = false
	for _, l := range s.links {
		l.conn.Resume()
	}
}

// subscribedMayRun reports whether r may run on a subscribed client. With
// RESP2 only a few commands may, since their replies could not be told from
// messages.
func (c *client) subscribedMayRun(r *request) bool {
	if c.resp == 3 || c.x.subs.total() == 0 || allowedWhileSubscribed(r.name) {
		return true
	}
	c.localError(r, "ERR Can't execute '"+r.name+"': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context")
	return false
}

// ack is one acknowledgement that a subscriber waits for.
type ack struct {
	seq  uint32
	part int32
}

// subscriber is the driver of a connection that carries subscriptions of one
// client.
type subscriber struct {
	subs   *subscriptions
	pool   *pool
	conn   *netloop.Conn
	setup  int
	acks   []ack
	closed bool
}

func (l *subscriber) Data(conn *netloop.Conn, b []byte) int {
	pos := 0
	c := l.subs.c
	for pos < len(b) && !l.closed {
		n, err := redisproto.FrameLen(b[pos:], &replyLimits)
		if err == redisproto.ErrIncomplete { //nolint:errorlint // a bare sentinel, on the hot path
			return pos
		}
		if err != nil {
			c.drop()
			return len(b)
		}
		l.frame(b[pos : pos+n])
		pos += n
	}
	if !l.closed && c.conn.Full() {
		l.subs.stuck = true
		c.backedUp()
		conn.Pause()
	}
	return pos
}

func (l *subscriber) frame(frame []byte) {
	c := l.subs.c
	switch {
	case l.setup > 0:
		l.setup--
		if isError(frame) {
			c.w.b.log.Warn("subscription refused", "listener", c.f.name, "endpoint", l.pool.describe(), "reason", errorText(frame))
			c.drop()
		}
	case isError(frame) || isAcknowledgement(frame):
		if len(l.acks) == 0 {
			c.push(frame) // the server ended a subscription by itself
			return
		}
		a := l.acks[0]
		l.acks = l.acks[1:]
		c.addPart(a.seq, a.part, frame)
		c.ring.at(a.seq).merge.done(c, a.seq, a.part)
		if !l.closed && l.subs.total() == 0 {
			l.subs.endWhenQuiet()
		}
	default:
		c.f.stats.messages++
		c.push(frame)
	}
}

// isAcknowledgement tells "subscribe" and the like from messages, which all
// end in "message".
func isAcknowledgement(frame []byte) bool {
	start := headerLen(frame)
	rest := frame[start:]
	return start > 0 && !bytes.HasSuffix(rest[headerLen(rest):][:min(len(rest)-headerLen(rest), kindLen(rest))], []byte("message"))
}

// kindLen is the length of the bulk at the beginning of b.
func kindLen(b []byte) int {
	v, _, err := redisproto.ParseValue(b, &replyLimits)
	if err != nil {
		return 0
	}
	return len(v.Str)
}

func (l *subscriber) close() {
	if l.closed {
		return
	}
	l.closed = true
	l.pool.open--
	l.pool.stats.active--
	l.conn.Close()
}

func (l *subscriber) Drained(*netloop.Conn) {}

// EOF: messages may have been lost, which the client must learn.
func (l *subscriber) EOF(*netloop.Conn) { l.lost("closed by the server") }

func (l *subscriber) Closed(_ *netloop.Conn, err error) {
	if l.closed {
		return
	}
	reason := "closed"
	if err != nil {
		reason = err.Error()
	}
	l.lost(reason)
}

func (l *subscriber) lost(reason string) {
	c := l.subs.c
	l.close()
	c.w.b.log.Info("a subscription's server is gone, closing its client", "listener", c.f.name, "endpoint", l.pool.describe(), "reason", reason)
	c.drop()
}

// handlePubSub is PUBSUB: what exists on any shard.
func handlePubSub(c *client, r *request) bool {
	if _, ok := c.f.one(); ok || r.argc() < 2 {
		return handleKeyless(c, r)
	}
	sub := r.spec.Subcommand(r.arg(1))
	if sub == nil || sub.Name == "pubsub|help" {
		return c.forwardAny(r)
	}
	if sub.Name == "pubsub|numsub" || sub.Name == "pubsub|shardnumsub" {
		return c.fanOutWith(r, sub, combineNumSub)
	}
	return c.fanOut(r, sub)
}

// combineNumSub adds up name-count pairs.
func combineNumSub(m *merge, dst []byte, resp uint8) []byte {
	var names [][]byte
	var counts []int64
	for _, p := range m.parts {
		v, _, err := redisproto.ParseValue(p, &replyLimits)
		if err != nil {
			return append(dst, p...)
		}
		for i := 0; i+1 < len(v.Elems); i += 2 {
			if i/2 == len(names) {
				names = append(names, v.Elems[i].Str)
				counts = append(counts, 0)
			}
			counts[i/2] += v.Elems[i+1].Int
		}
	}
	start := len(dst)
	dst = redisproto.AppendArray(dst, 2*len(names))
	if resp == 3 && len(m.parts[0]) > 0 && m.parts[0][0] == '%' {
		dst = redisproto.AppendMap(dst[:start], len(names), 3)
	}
	for i, name := range names {
		dst = redisproto.AppendBulk(dst, name)
		dst = redisproto.AppendInt(dst, counts[i])
	}
	return dst
}
