package redis

import (
	"bytes"
	"errors"
	"strconv"

	"github.com/dragoman-mesh/dragoman/pkg/netloop"
	"github.com/dragoman-mesh/dragoman/pkg/redisproto"
)

// subscriber is the driver of a connection that carries subscriptions of one
// client.
type subscriber struct {
	subs    *subscriptions
	pool    *pool
	conn    *netloop.Conn
	names   int  // subscriptions that are on it
	setup   int  // replies of the connection's own set-up still missing
	refused bool // the server has answered the set-up with an error
	acks    []ack
	closed  bool
	timed   bool // a timer watches that acks come
	// An acknowledgement that the client cannot get yet, because earlier
	// replies are missing, holds up the messages behind it.
	waiting bool
	after   uint32 // the slot of that acknowledgement
	late    bool   // its next message waits for the end of another, or of a reply
	resting bool   // until the next iteration
	big     bigMessage
}

// ack is one acknowledgement that a subscriber waits for.
type ack struct {
	verb, name string
	kind       int
	seq        uint32
	part       int32
	drop       bool  // nobody else waits for it
	hops       int   // redirections followed so far
	sent       int64 // ns
}

// dial opens a connection for subscriptions.
func (s *subscriptions) dial(p *pool) (*subscriber, string) {
	now := p.w.loop.Now()
	switch {
	case now < p.downUntil:
		return nil, p.why()
	case p.full():
		p.stats.overflows++
		return nil, " has too many connections"
	}
	l := &subscriber{subs: s, pool: p}
	setup := &upstream{pool: p}
	hello, err := p.setup(setup)
	if err != nil {
		return nil, ": " + err.Error()
	}
	e := p.key.endpoint
	l.setup = setup.setup
	p.open++
	p.stats.active++
	p.stats.connects++
	s.links[e] = l
	l.conn = p.w.loop.Dial(e.Network, e.Address, netloop.DialOptions{
		Timeout: p.opts.ConnectTimeout, TLS: e.TLS, KeepAlive: p.opts.KeepAlive,
	}, l)
	l.conn.Write(hello)
	return l, ""
}

// send sends a command about one name, whose acknowledgement a will take.
func (l *subscriber) send(verb, name string, a ack) {
	a.verb, a.name, a.sent = verb, name, l.pool.w.loop.Now()
	l.acks = append(l.acks, a)
	l.conn.Write(redisproto.AppendCommand(nil, verb, name))
	l.watch()
}

// watch sees to it that a server which does not answer is given up.
func (l *subscriber) watch() {
	limit := l.subs.c.f.cfg.OpTimeout
	if limit <= 0 || l.timed {
		return
	}
	l.timed = true
	l.pool.w.loop.After(limit, func() {
		l.timed = false
		switch {
		case l.closed || len(l.acks) == 0:
		case l.pool.w.loop.Now()-l.acks[0].sent >= int64(limit):
			l.lost("did not answer in time")
		default:
			l.watch()
		}
	})
}

// Data takes messages and acknowledgements.
func (l *subscriber) Data(conn *netloop.Conn, b []byte) int {
	pos := 0
	c := l.subs.c
	for pos < len(b) && !l.closed && !l.held() {
		if l.big.under {
			pos += l.scanMessage(b[pos:])
			break
		}
		n, err := redisproto.FrameLen(b[pos:], &replyLimits)
		if errors.Is(err, redisproto.ErrIncomplete) {
			if !l.startMessage(b[pos:]) {
				break
			}
			continue
		}
		if err != nil {
			l.lost("sent a malformed message")
			return len(b)
		}
		l.frame(b[pos : pos+n])
		pos += n
		l.late = l.late || (c.x != nil && c.x.pushes.Len() > maxPushes)
	}
	switch {
	case l.closed:
		return len(b)
	case c.conn.Full():
		l.subs.stuck = true
		c.backedUp()
		conn.Pause()
	case l.held():
		conn.Pause()
	}
	return pos
}

// held reports whether the next message has to wait.
func (l *subscriber) held() bool { return l.waiting || l.late || l.resting }

func (l *subscriber) resume() {
	if !l.closed && !l.held() && !l.subs.stuck {
		l.conn.Resume()
	}
}

func (l *subscriber) frame(frame []byte) {
	c := l.subs.c
	switch {
	case l.setup > 0 && frame[0] != '>':
		l.setupReply(frame)
	case l.outdated(frame):
	case isError(frame) && len(l.acks) == 0:
		l.lost(errorText(frame))
	case isError(frame) || isAcknowledgement(frame):
		l.acknowledged(frame)
	default:
		c.f.stats.messages++
		c.message(frame)
	}
}

func (l *subscriber) setupReply(frame []byte) {
	l.setup--
	if isError(frame) && !l.pool.refusedPing(frame) {
		l.setup++ // it never was up
		l.refused = true
		l.lost("refused the proxy's set-up: " + errorText(frame))
		return
	}
	if l.setup == 0 {
		l.pool.recovered()
	}
}

// acknowledged takes an acknowledgement, or an error in its place.
func (l *subscriber) acknowledged(frame []byte) {
	c := l.subs.c
	verb, name := acknowledges(frame)
	if len(l.acks) == 0 || (verb != "" && (verb != l.acks[0].verb || name != l.acks[0].name)) {
		l.ended(verb, name)
		return
	}
	a := l.acks[0]
	l.acks = l.acks[1:]
	if bytes.HasPrefix(frame, []byte("-MOVED ")) { // a shard channel
		l.pool.cluster.Refresh("MOVED")
		if !a.drop && c.f.cfg.Redirection && l.moved(a, errorText(frame)) {
			return
		}
	}
	if !a.drop {
		c.addPart(a.seq, a.part, frame)
		c.ring.at(a.seq).merge.done(c, a.seq, a.part)
	}
	if l.closed {
		return
	}
	if !a.drop && !c.answered(a.seq) {
		l.waiting, l.after = true, a.seq
	}
	l.subs.tidy()
}

// outdated reports whether frame is the error of an SUNSUBSCRIBE that the node has met
// with the end of the subscription before, since the slot had moved away. That was
// taken for the acknowledgement.
func (l *subscriber) outdated(frame []byte) bool {
	slot, ok := bytes.CutPrefix(frame, []byte("-MOVED "))
	if !ok || len(l.acks) == 0 {
		return ok
	}
	slot, _, _ = bytes.Cut(slot, []byte(" "))
	return string(slot) != strconv.Itoa(int(redisproto.Slot([]byte(l.acks[0].name))))
}

// moved subscribes to a shard channel where its slot is now. It returns false if the
// client is to get the error.
func (l *subscriber) moved(a ack, text string) bool {
	s, p := l.subs, l.pool
	links := s.kinds[byShardChannel][a.name]
	if a.verb != "ssubscribe" || len(links) != 1 || links[0] != l {
		return false
	}
	var next *subscriber
	if e := p.redirected(text); e != nil && a.hops < maxHops {
		next, _ = s.linkTo(p.w.pool(poolKey{endpoint: e, db: p.key.db, resp: p.key.resp}, p.cluster, p.opts))
	}
	if next == nil {
		s.c.failPart(a.seq, a.part, errOnTheMove)
		s.tidy()
		return true
	}
	s.c.f.stats.redirections++
	if s.version == 0 {
		s.version = s.c.f.tablesVersion() // which has the channel elsewhere
	}
	links[0] = next
	l.names--
	next.names++
	a.hops++
	next.send(a.verb, a.name, a)
	s.tidy()
	return true
}

// ended is called when the server has ended a subscription by itself, as it
// does with the shard channels of a slot that has moved away.
func (l *subscriber) ended(verb, name string) {
	kind := subCommandOf(verb).kind
	if _, ok := l.subs.kinds[kind][name]; !ok {
		return
	}
	delete(l.subs.kinds[kind], name)
	l.names--
	l.subs.c.push(l.subs.c.acknowledgement(verb, name, l.subs.count(kind)))
	l.subs.tidy()
}

// message passes on a message in the client's protocol.
func (c *client) message(frame []byte) {
	if kind := c.messageKind(); frame[0] != kind {
		c.w.out = append(append(c.w.out[:0], kind), frame[1:]...)
		frame = c.w.out
	}
	c.push(frame)
}

// messageKind is what messages begin with in the client's protocol.
func (c *client) messageKind() byte {
	if c.resp == 3 {
		return '>'
	}
	return '*'
}

// isAcknowledgement tells "subscribe" and the like from messages, which all
// end in "message".
func isAcknowledgement(frame []byte) bool {
	kind := frame[headerLen(frame):]
	kind = kind[headerLen(kind):]
	end := bytes.IndexByte(kind, '\r')
	return end >= 0 && !bytes.HasSuffix(kind[:end], []byte("message"))
}

// acknowledges reads what an acknowledgement is about; empty if it is none.
func acknowledges(frame []byte) (verb, name string) {
	v, _, err := redisproto.ParseValue(frame, &replyLimits)
	if err != nil || len(v.Elems) < 2 {
		return "", ""
	}
	return string(v.Elems[0].Str), string(v.Elems[1].Str)
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

// Drained does nothing: subscriptions are small.
func (l *subscriber) Drained(*netloop.Conn) {}

// EOF ends the connection.
func (l *subscriber) EOF(*netloop.Conn) { l.lost("closed the connection") }

// Closed ends the connection.
func (l *subscriber) Closed(_ *netloop.Conn, err error) {
	if l.closed {
		return
	}
	reason := "closed the connection"
	if err != nil {
		reason = err.Error()
	}
	l.lost(reason)
}

// pending counts the subscriptions that the server has not acknowledged yet.
func (l *subscriber) pending() int {
	n := 0
	for i := range l.acks {
		if subCommandOf(l.acks[i].verb).add {
			n++
		}
	}
	return n
}

// lost answers what waited on the connection with an error. If there were
// acknowledged subscriptions on it, messages may have been missed, which the client must
// learn: its connection is closed.
func (l *subscriber) lost(reason string) {
	if l.closed {
		return
	}
	c := l.subs.c
	l.close()
	if l.setup > 0 {
		l.pool.connectFailed(reason, l.refused)
	}
	had := l.names - l.pending()
	acks := l.acks
	l.acks = nil
	for _, a := range acks {
		if !a.drop && !c.has(stateClosed) {
			c.failPart(a.seq, a.part, l.pool.unavailable(": "+reason))
		}
	}
	switch {
	case c.has(stateClosed):
	case l.subs.stuck: // the server has had enough of it
		c.f.stats.slowClients++
		c.w.b.log.Warn("closing a subscriber that does not read its messages",
			"listener", c.f.name, "client", c.conn.RemoteAddr(), "endpoint", l.pool.describe(), "reason", reason)
		c.drop()
	case had > 0 || l.big.under:
		c.w.b.log.Info("a subscription's server is gone, closing its client",
			"listener", c.f.name, "endpoint", l.pool.describe(), "reason", reason)
		c.drop()
	default:
		delete(l.subs.links, l.pool.key.endpoint)
		l.subs.tidy()
	}
}

// dropMisplaced closes the subscribers whose channels are elsewhere now.
func (w *worker) dropMisplaced() {
	for s := range w.subscribed {
		if s.misplaced() {
			w.b.log.Info("a subscription's shard has changed, closing its client", "listener", s.c.f.name)
			s.c.drop()
		}
	}
}

var _ netloop.Driver = (*subscriber)(nil)
