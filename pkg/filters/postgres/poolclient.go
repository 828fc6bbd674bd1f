package postgres

import (
	"errors"

	"github.com/dragoman-mesh/dragoman/pkg/database"
	"github.com/dragoman-mesh/dragoman/pkg/netloop"
	"github.com/dragoman-mesh/dragoman/pkg/pgproto"
)

// poolClient is what a session of a pool has instead of a server of its own. It
// is the driver of the client's connection once the session is let in.
type poolClient struct {
	s       *session
	p       *pool
	g       *group
	server  *poolServer // that works for it; nil: none
	startup pgproto.Startup
	id      cancelID // that the client was told; zero before
	since   int64    // loop time since which it waits, ns

	left  int64 // bytes of the client's message that are passed on or dropped
	seam  *seam // of a long text that is passed on; nil: it is none
	vars  *settings
	facts *facts // what the client was told

	assigned  *assignments // that its connections get
	assigning *assignments // the same when the query under way has succeeded
	assigns   bool         // the server has executed what says so
	state     clientState

	names      map[string]named // its prepared statements
	namedBytes int
	unnamed    *unnamed       // nil: there is none
	spare      *unnamed       // memory for the next
	next       *database.Part // where it goes on at the end of its transaction; nil: nowhere
}

// clientState is a set of a pooled session's flags.
type clientState uint8

const (
	isQueued    clientState = 1 << iota // it waits for a connection
	isSkipping                          // after an error, up to the client's Sync
	isDropped                           // left is dropped
	isStopped                           // it is not read from until the server has answered
	isDue                               // its connection is given back at the end of the message under way
	isQuitting                          // nothing more of it is read
	isCancelled                         // what it waits to ask for is not to be done
	hasBegun                            // it has sent more than Close since its latest Sync
)

func (c *poolClient) is(f clientState) bool { return c.state&f != 0 }

// verdict is what becomes of a message of the client.
type verdict uint8

const (
	forwarded verdict = iota // it goes to the server as it is
	dropped                  // it goes nowhere
	rewritten                // its head is written, the rest of it goes to the server
	consumed                 // it is written, or answered
	unread                   // it is looked at again later
)

// Data implements netloop.Driver: what the client says.
func (c *poolClient) Data(conn *netloop.Conn, b []byte) int {
	s := c.s
	if s.Is(database.Ended) {
		return len(b)
	}
	s.Active = conn.Loop().Now()
	from, at := 0, 0 // b[from:at] is for the server
	for at < len(b) && (c.left > 0 || !c.is(isStopped)) {
		if c.left > 0 {
			k := int(min(c.left, int64(len(b)-at)))
			c.left -= int64(k)
			at += k
			if c.is(isDropped) {
				from = at
			}
			if c.seam != nil {
				c.lookOn(b[at-k : at])
			}
			continue
		}
		h, err := pgproto.ParseHead(b[at:], s.b.framing.limits)
		if errors.Is(err, pgproto.ErrIncomplete) {
			break
		}
		if err != nil {
			s.clientBroke(err)
			return len(b)
		}
		if rewrites(h.Type) && from < at {
			c.send(conn, b[from:at])
			from = at
		}
		v, n := c.message(h, b[at:])
		if s.Is(database.Ended) {
			return len(b)
		}
		if v == unread {
			break
		}
		c.state &^= isDropped
		c.left = int64(headSize + h.Len - n)
		at += n
		switch v {
		case dropped:
			c.send(conn, b[from:at-n])
			from = at
			c.state |= isDropped
		case rewritten, consumed:
			from = at
		}
	}
	c.send(conn, b[from:at])
	s.Part.Stats.Received.Add(uint64(at))
	if c.is(isStopped) && c.left == 0 {
		conn.Pause()
	}
	if c.is(isDue) && c.left == 0 {
		c.finished()
	}
	return at
}

// rewrites reports whether messages of a type may be written anew, or end the
// session.
func rewrites(typ byte) bool {
	switch typ {
	case pgproto.TypeParse, pgproto.TypeBind, pgproto.TypeDescribe, pgproto.TypeClose, pgproto.TypeTerminate:
		return true
	}
	return false
}

// send passes bytes on to the server.
func (c *poolClient) send(conn *netloop.Conn, b []byte) {
	if len(b) > 0 && c.server != nil {
		netloop.Forward(conn, c.server.conn, b)
	}
}

// message takes a message of the client, which m begins with. n is how many bytes
// of it are done with.
func (c *poolClient) message(h pgproto.Head, m []byte) (v verdict, n int) {
	switch {
	case h.Type == pgproto.TypeTerminate:
		c.state |= isQuitting
		c.s.abandon()
		return consumed, headSize
	case c.is(isSkipping) && h.Type != pgproto.TypeSync:
		return dropped, 0
	case c.is(isCancelled) && (c.server == nil || !c.server.is(isSetting)):
		c.cancelled(h)
		return dropped, 0
	case h.Type == pgproto.TypeQuery && !c.p.key.session && len(m) < headSize+min(h.Len, maxHintText):
		return unread, 0 // and takes no connection yet
	case h.Type == pgproto.TypeQuery && len(c.names) > 0:
		if v, n, ok := c.deallocate(h, m); ok {
			return v, n
		}
	}
	if c.server == nil {
		switch h.Type {
		case pgproto.TypeSync:
			c.state = c.state&^isSkipping | isDue
			c.s.Part.Stats.Transactions.Add(1)
			c.s.Down.Write(pgproto.AppendReadyForQuery(nil, pgproto.TxIdle))
			return dropped, 0
		case pgproto.TypeFlush, pgproto.TypeCopyData, pgproto.TypeCopyDone, pgproto.TypeCopyFail:
			return dropped, 0
		}
		if v, n, ok := c.parseAhead(h, m); ok {
			return v, n
		}
		if !c.acquire() {
			return unread, 0
		}
	} else if c.server.is(isSetting) {
		c.s.Down.Pause()
		return unread, 0
	}
	if c.p.key.session {
		c.state &^= isSkipping
		c.sent(h, m)
		return forwarded, headSize
	}
	return c.shared(h, m)
}

// acquire takes a connection. Without one, the client waits.
func (c *poolClient) acquire() bool {
	if c.is(isQueued) {
		return false
	}
	if c.g.take(c) {
		return true
	}
	if !c.s.Is(database.Ended) {
		c.s.Down.Pause()
		c.s.Down.SetHangupNotice(true)
	}
	return false
}

// ready has a client that has waited go on.
func (c *poolClient) ready() {
	c.s.Down.SetHangupNotice(false)
	c.mayRead()
}

// mayRead reads on if nothing speaks against it.
func (c *poolClient) mayRead() {
	srv := c.server
	if c.s.Is(database.Ended) || c.is(isQueued) || srv != nil && (srv.is(isSetting) || srv.conn.Full()) {
		return
	}
	if c.is(isStopped) && srv != nil && srv.tracker.Outstanding() > 0 && !srv.tracker.CopyIn() {
		return
	}
	c.state &^= isStopped
	c.s.Down.Resume()
}

// account counts a message that goes to the server.
func (c *poolClient) account(typ byte) {
	s := c.s
	if s.Began == 0 {
		s.Began = s.Active
	}
	switch typ {
	case pgproto.TypeQuery, pgproto.TypeExecute, pgproto.TypeFunctionCall:
		s.Part.Stats.Queries.Add(1)
	}
}

// tell has the tracker know of a message, and stops the client at the end of a
// unit if the session is to leave: who sends ahead would never come to an end.
func (c *poolClient) tell(typ byte) {
	c.server.tracker.Client(typ)
	switch typ {
	case pgproto.TypeParse, pgproto.TypeBind, pgproto.TypeDescribe, pgproto.TypeExecute:
		c.state |= hasBegun
	case pgproto.TypeSync, pgproto.TypeQuery:
		c.state &^= hasBegun
	}
	if c.s.Is(database.Leaving) && endsUnit(typ) {
		c.state |= isStopped
	}
}

// watchSlow shows the beginning of a message to the log of slow queries, and to
// spans.
func (c *poolClient) watchSlow(h pgproto.Head, m []byte) {
	slow := c.s.slow
	if slow == nil {
		return
	}
	if slow.head(h.Type); slow.wants(h.Type) {
		slow.text(c.s, h.Type, m[headSize:min(len(m), headSize+min(h.Len, slow.Reach()))])
	}
}

// answered is a ReadyForQuery that the client gets.
func (c *poolClient) answered(status pgproto.TxStatus) {
	s, srv := c.s, c.server
	if c.assigning != nil {
		c.assign(status)
	}
	s.Answered(c.p.key.loop.Now(), srv.tracker.Outstanding() > 0 || srv.tracker.Pipelining())
	if spans := s.Spans(); spans != nil {
		spans.Ready(srv.tracker.Outstanding() == 0, s.Part.Loop.WallTime(), srv.to.Endpoint)
	}
	if status == pgproto.TxIdle {
		s.Part.Stats.Transactions.Add(1)
	}
	c.finished()
}

// finished looks whether the session has done with its connection for now.
func (c *poolClient) finished() {
	srv := c.server
	c.state &^= isDue
	defer c.goOn()
	switch {
	case srv == nil:
		if c.s.Is(database.Leaving) && !c.is(isQueued) {
			c.depart()
		}
		return
	case !srv.tracker.Idle() || !srv.ledger.empty():
		c.mayRead()
		return
	case c.left > 0:
		c.state |= isDue
		return
	case c.s.Is(database.Leaving):
		c.depart()
		return
	case c.p.key.session:
		return
	}
	if srv.hints.keeps() {
		srv.pin()
	}
	srv.hints = 0
	if !srv.is(isPinned) && (c.unnamed == nil || !c.unnamed.long) {
		srv.release()
		c.mayRead() // it may have been paused because that server took no more
	}
}

// goOn reads on for a client that was stopped.
func (c *poolClient) goOn() {
	if c.is(isStopped) {
		c.mayRead()
	}
}

// Drained implements netloop.Driver.
func (c *poolClient) Drained(*netloop.Conn) {
	if c.server != nil {
		c.server.conn.Resume()
	}
}

// EOF implements netloop.Driver: the client is gone.
func (c *poolClient) EOF(*netloop.Conn) { c.s.abandon() }

// Closed implements netloop.Driver.
func (c *poolClient) Closed(_ *netloop.Conn, err error) { c.s.downGone(err) }
