package redis

import (
	"errors"
	"strings"

	"github.com/dragoman-mesh/dragoman/pkg/netloop"
	"github.com/dragoman-mesh/dragoman/pkg/redisproto"
)

// Data takes the client's requests.
func (c *client) Data(conn *netloop.Conn, b []byte) int {
	c.lastIn = c.w.tenths()
	c.state |= stateParsing
	n := c.parse(b)
	c.state &^= stateParsing
	if c.ring.len() > 0 {
		c.ring.at(c.ring.tail - 1).last = true
	}
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
	if up := c.x.upload; up != nil && up.sorting != nil {
		c.conn.Pause() // until its keys are
		return 0, true
	} else if up != nil {
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

// gatherAt is how much of a request without a large bulk is gathered in one piece
// before it is taken for a large one.
const gatherAt = 64 << 10

func (c *client) incomplete(b []byte, cmd *redisproto.Command, err error) int {
	if !errors.Is(err, redisproto.ErrIncomplete) {
		c.protocolError(err)
		return len(b)
	}
	if (cmd.InBulk() && cmd.Need() >= bulkAt) || len(b) >= gatherAt {
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
		c.state &^= stateReplySkip // an empty line is what was skipped, in Redis too
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
	if c.x != nil && c.x.subs != nil && !c.subscribedMayRun(r) {
		return true
	}
	if c.x != nil && c.x.mode != nil {
		return c.x.mode.dispatch(c, r)
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
		c.x.named = 0 // the rest of a SUBSCRIBE
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
