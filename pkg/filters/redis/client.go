package redis

import (
	"errors"
	"strings"

	"github.com/dragoman-mesh/dragoman/pkg/netloop"
	"github.com/dragoman-mesh/dragoman/pkg/redisproto"
)

// client is the driver of one downstream connection. An idle one must cost
// next to nothing, so whatever is rare lives behind x.
type client struct {
	conn   *netloop.Conn
	w      *worker
	f      *localFilter
	ring   ring
	x      *extra // nil until needed
	user   *user  // nil: not logged in
	held   int    // bytes of replies whose turn has not come
	stash  []byte // small replies whose turn has not come; nil if there are none
	db     int32
	resp   uint8
	state  clientState
	since  uint32 // when it came, see tenth
	lastIn uint32 // when it sent something last
	// prev and next link the clients of f.
	prev, next *client
}

// clientState is a set of flags.
type clientState uint16

const (
	stateClosed    clientState = 1 << iota // no more calls; replies are dropped
	stateClosing                           // closes when the ring is empty
	stateStalled                           // nothing is parsed until resume
	stateBarrier                           // stalled until the ring is empty
	stateReplyOff                          // CLIENT REPLY OFF
	stateReplySkip                         // the next reply is dropped
	stateParsing                           // inside Data
	stateCrowded                           // stalled because too much is in flight
	stateBlocked                           // waits for a server for as long as it takes
	stateLeaving                           // closes when its transaction or upload is over
	stateChoked                            // stalled because a server does not take its requests
)

// extra is the state of a client that does more than plain requests.
type extra struct {
	name, libName, libVersion string
	mode                      mode // takes the requests over, e.g. a transaction
	partial                   *redisproto.Command
	upload                    *upload
	pushes                    netloop.Chain // out-of-band data that waits for the end of a reply
	paused                    []*upstream   // paused until this client has read more
	subs                      *subscriptions
	exclusive                 *upstream   // a connection that is this client's for a while
	session                   *upstream   // one that is until it leaves
	waits                     []*upstream // those of WAIT
	averageReply              int32
	stuckSince                int64 // when output last rose above the high-water mark; 0: it is not
	pausedAt                  int64 // when the first of paused was
	heldLimit                 int   // 0: the default
	lastOutput                int   // bytes buffered at the last tick
	watched                   bool  // in the worker's list of clients that are held up
}

// mode is a client's state in which requests take another way than usual.
type mode interface {
	// dispatch handles one request, like a handler.
	dispatch(c *client, r *request) bool
	// end is called when the client goes away or is reset.
	end(c *client)
}

func (c *client) extra() *extra {
	if c.x == nil {
		c.x = &extra{}
	}
	return c.x
}

func (c *client) has(s clientState) bool { return c.state&s != 0 }

// Data takes the client's requests.
func (c *client) Data(conn *netloop.Conn, b []byte) int {
	c.lastIn = c.w.tenths()
	c.state |= stateParsing
	n := c.parse(b)
	c.state &^= stateParsing
	if c.has(stateClosing) {
		c.closeIfDone()
		return len(b)
	}
	if c.has(stateStalled|stateBarrier) && !conn.Paused() && (!c.has(stateBlocked) || len(b)-n >= blockedInput) {
		conn.Pause()
		if c.has(stateBlocked) {
			c.watch()
		}
	}
	return n
}

// blockedInput is how much a blocked client may send ahead: as long as it is
// read, its end is noticed at once. Beyond that the worker looks now and then.
const blockedInput = 256 << 10

const notYet = stateStalled | stateBarrier | stateClosing | stateClosed

func (c *client) parse(b []byte) int {
	pos := 0
	for pos < len(b) && c.state&notYet == 0 {
		if c.x != nil && (c.x.upload != nil || c.x.mode != nil) {
			n, taken := c.takeover(b[pos:])
			pos += n
			if taken {
				return pos
			}
			if n > 0 {
				continue
			}
		}
		cmd := &c.w.cmd
		if c.x != nil && c.x.partial != nil {
			cmd = c.x.partial
		} else {
			cmd.Reset()
		}
		n, err := cmd.Parse(b[pos:], c.limits())
		if err != nil {
			return pos + c.incomplete(b[pos:], cmd, err)
		}
		if !c.dispatch(b[pos:pos+n], cmd) {
			return pos
		}
		pos += n
		if cmd != &c.w.cmd && c.x != nil {
			c.x.partial = nil
		}
	}
	return pos
}

// loginLimits bound what a client may send before it has logged in, as in Redis.
var loginLimits = redisproto.Limits{MaxInline: 64 << 10, MaxArgs: 10, MaxBulk: 16 << 10, MaxDepth: 1}

func (c *client) limits() *redisproto.Limits {
	if c.user == nil {
		return &loginLimits
	}
	return &c.f.limits
}

// takeover lets an upload or a raw pipe have the bytes. taken is false if the
// ordinary parser is to go on at n.
func (c *client) takeover(b []byte) (n int, taken bool) {
	if up := c.x.upload; up != nil {
		n = up.data(c, b)
		return n, c.x.upload != nil
	}
	if p, ok := c.x.mode.(*pipe); ok {
		return p.send(b), true
	}
	return 0, false
}

// rescan is the size below which a partial request is simply parsed again.
const rescan = 4 << 10

func (c *client) incomplete(b []byte, cmd *redisproto.Command, err error) int {
	if !errors.Is(err, redisproto.ErrIncomplete) {
		c.protocolError(err)
		return len(b)
	}
	if cmd.InBulk() && cmd.Need() >= bulkAt {
		if n, ok := c.startUpload(b, cmd); ok {
			return n
		}
	}
	if c.has(stateBarrier) {
		return 0
	}
	if cmd.Total() > c.f.maxGather || int64(len(b)) > c.f.maxGather {
		return c.discardRequest(b, cmd)
	}
	if len(b) >= rescan && cmd == &c.w.cmd {
		partial := *cmd
		c.extra().partial = &partial
		c.w.cmd = redisproto.Command{}
	}
	return 0
}

// protocolError answers as Redis does and closes: after malformed input there
// is no way to find the next request.
func (c *client) protocolError(err error) {
	c.f.stats.protocolErrors++
	c.w.b.log.Debug("client sent malformed input", "listener", c.f.name, "client", c.conn.RemoteAddr(), "reason", err)
	c.localError(nil, "ERR "+err.Error())
	c.state |= stateClosing
}

// dispatch routes one complete request. It returns false if the request has to
// be shown again later.
func (c *client) dispatch(frame []byte, cmd *redisproto.Command) bool {
	if len(cmd.Args) == 0 {
		return true
	}
	if c.f.successor != nil {
		if c.moveOn(); c.state&(stateClosing|stateClosed) != 0 {
			return false
		}
	}
	r := &c.w.req
	r.take(c.w, cmd, frame)
	if c.ring.len() >= c.window() {
		c.stall()
		return false
	}
	if !r.arityOK() {
		if r.foreign {
			c.foreign()
			return false
		}
		c.arityError(r)
		return true
	}
	if (c.user == nil || !c.user.unrestricted) && !c.admitted(r) {
		return true
	}
	if c.x != nil && c.x.mode != nil {
		return c.x.mode.dispatch(c, r)
	}
	if c.x != nil && c.x.subs != nil && !c.subscribedMayRun(r) {
		return true
	}
	return r.handle(c, r)
}

// foreign ends a client that speaks HTTP, as Redis does: a browser could be made to
// send commands in the body of a request to localhost. Such a line is not passed on
// either, since the server would close a connection that others use.
func (c *client) foreign() {
	c.f.stats.protocolErrors++
	c.w.b.log.Warn("closing a client that speaks HTTP instead of Redis", "listener", c.f.name, "client", c.conn.RemoteAddr())
	c.drop()
}

// admitted reports whether the client may send r at all. If not, it has been
// answered.
func (c *client) admitted(r *request) bool {
	switch {
	case r.noAuth:
		return true
	case c.user == nil:
		c.refuse(r, "NOAUTH Authentication required.")
	case !c.user.allows(r):
		c.f.stats.denied++
		c.refuse(r, "NOPERM this user has no permissions to run the '"+r.fullName()+"' command")
	default:
		return true
	}
	return false
}

// refuse answers a request that cannot be executed, which also spoils the
// transaction that it may be part of.
func (c *client) refuse(r *request, msg string) {
	if c.x != nil {
		if t, ok := c.x.mode.(*tx); ok {
			t.refused(c, r)
		}
	}
	if r.name == "exec" {
		_, reason, _ := strings.Cut(msg, " ")
		msg = "EXECABORT Transaction discarded because of: " + reason
	}
	c.localError(r, msg)
}

// window is how many requests the client may have in flight: fewer when its
// replies are large, so that what they take stays bounded.
func (c *client) window() int {
	n := c.f.maxPipeline
	if c.x != nil && c.x.averageReply > 4<<10 {
		n = min(n, max(4, inFlightBytes/int(c.x.averageReply)))
	}
	if c.conn.Full() {
		n = 0
	}
	return n
}

// inFlightBytes is what the replies to a client's requests may come to.
const inFlightBytes = 4 << 20

// stall stops parsing until some of the earlier requests are answered, or read.
func (c *client) stall() {
	c.state |= stateStalled | stateCrowded
	if c.conn.Full() {
		c.backedUp()
	}
}

// hold stops parsing until all earlier requests are answered, since the next
// ones take another way.
func (c *client) hold() {
	c.state |= stateBarrier
	if !c.has(stateParsing) {
		c.conn.Pause()
	}
}

// Barrier: the request may be sent only when all earlier ones are answered,
// since it goes over another connection than they did. It reports whether the
// request may go now.
func (c *client) barrier() bool {
	if c.ring.len() == 0 {
		return true
	}
	c.state |= stateBarrier
	return false
}

// resume goes on with the client's input.
func (c *client) resume() {
	listening := c.has(stateBlocked) && !c.conn.Paused()
	c.state &^= stateStalled | stateBarrier | stateCrowded | stateBlocked | stateChoked
	switch {
	case c.state&(stateParsing|stateClosed|stateClosing) != 0:
	case listening:
		c.w.loop.Again(c.conn)
	default:
		c.conn.Resume()
	}
}

// settle is called whenever slots have left the ring.
func (c *client) settle() {
	if c.has(stateLeaving) && (c.x.mode == nil && c.x.upload == nil) {
		c.state |= stateClosing
		c.state &^= stateStalled | stateBarrier
	}
	if c.state&(stateBarrier|stateCrowded|stateChoked|stateClosing) == 0 {
		return
	}
	switch {
	case c.has(stateClosing):
		c.closeIfDone()
	case c.has(stateBarrier | stateChoked):
		if c.ring.len() == 0 {
			c.resume()
		}
	case c.ring.len() <= c.window()/2:
		c.resume()
	}
}

func (c *client) closeIfDone() {
	if c.ring.len() == 0 && !c.has(stateClosed) && !c.has(stateParsing) {
		c.release()
		c.conn.CloseAfterFlush()
	}
}

// Drained goes on with what waited for the client to read.
func (c *client) Drained(*netloop.Conn) {
	if c.has(stateClosed) {
		return
	}
	if x := c.x; x != nil {
		x.stuckSince = 0
		c.resumeUpstreams()
		if p, ok := x.mode.(*pipe); ok {
			p.clientDrained()
		}
		if x.subs != nil {
			x.subs.resume()
		}
	}
	c.settle()
}

// EOF: the client sends nothing more. What it asked for is still answered.
func (c *client) EOF(conn *netloop.Conn) {
	if c.has(stateClosed) {
		return
	}
	if c.has(stateBlocked) || (c.x != nil && (c.x.mode != nil || c.x.subs != nil || c.x.upload != nil)) {
		c.drop()
		return
	}
	c.state |= stateClosing
	c.state &^= stateStalled | stateBarrier
	c.closeIfDone()
}

// Closed ends the client.
func (c *client) Closed(_ *netloop.Conn, err error) {
	if err != nil {
		c.f.stats.clientErrors++
	}
	c.release()
}

// drop closes the connection now.
func (c *client) drop() {
	if c.has(stateClosed) {
		return
	}
	c.release()
	c.conn.Close()
}

// release gives back everything the client holds, once.
func (c *client) release() {
	if c.has(stateClosed) {
		return
	}
	c.state |= stateClosed
	if x := c.x; x != nil {
		if x.mode != nil {
			x.mode.end(c)
			x.mode = nil
		}
		if x.subs != nil {
			x.subs.end()
			x.subs = nil
		}
		if x.upload != nil {
			x.upload.release(c)
			x.upload = nil
		}
		if x.exclusive != nil {
			x.exclusive.close()
			x.exclusive = nil
		}
		if x.session != nil {
			x.session.close()
			x.session = nil
		}
		for _, u := range x.waits {
			if u.owner == c {
				u.close()
			}
		}
		x.pushes.Free(c.w.loop)
		c.resumeUpstreams()
	}
	for seq := c.ring.head; seq != c.ring.tail; seq++ {
		s := c.ring.at(seq)
		s.reply.Free(c.w.loop)
		if s.merge != nil {
			s.merge.orphan(c.w)
		}
	}
	c.ring = ring{}
	c.dropStash()
	c.f.remove(c)
}
