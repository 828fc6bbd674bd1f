package redis

import (
	"crypto/subtle"
	"strconv"
	"strings"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/redisproto"
)

// The commands that the proxy answers by itself.

func handlePing(c *client, r *request) bool {
	if r.argc() > 2 {
		c.arityError(r)
		return true
	}
	if c.resp == 2 && c.x != nil && c.x.subs != nil && c.x.subs.total() > 0 {
		b := redisproto.AppendArray(c.w.out[:0], 2)
		b = redisproto.AppendBulkString(b, "pong")
		var arg []byte
		if r.argc() == 2 {
			arg = r.arg(1)
		}
		c.w.out = redisproto.AppendBulk(b, arg)
		c.local(r, c.w.out)
		return true
	}
	if r.argc() == 1 {
		c.local(r, replyPong)
		return true
	}
	return handleEcho(c, r)
}

func handleEcho(c *client, r *request) bool {
	c.w.out = redisproto.AppendBulk(c.w.out[:0], r.arg(1))
	c.local(r, c.w.out)
	return true
}

func handleTime(c *client, r *request) bool {
	now := c.w.loop.WallTime()
	b := redisproto.AppendArray(c.w.out[:0], 2)
	b = redisproto.AppendBulkString(b, strconv.FormatInt(now.Unix(), 10))
	c.w.out = redisproto.AppendBulkString(b, strconv.Itoa(now.Nanosecond()/int(time.Microsecond)))
	c.local(r, c.w.out)
	return true
}

func handleQuit(c *client, r *request) bool {
	c.localOK(r)
	c.state |= stateClosing
	return true
}

// handleReset brings the connection back to where it began.
func handleReset(c *client, r *request) bool {
	if !c.barrier() {
		return false
	}
	c.forgetSession()
	c.state &^= stateReplyOff
	c.local(r, []byte("+RESET\r\n"))
	return true
}

func (c *client) forgetSession() {
	if x := c.x; x != nil {
		if x.mode != nil {
			x.mode.end(c)
			x.mode = nil
		}
		if x.subs != nil {
			x.subs.end()
			x.subs = nil
		}
		if x.session != nil {
			x.session.close()
			x.session = nil
		}
		x.name, x.libName, x.libVersion = "", "", ""
	}
	c.resp = 2
	c.db = int32(c.f.cfg.Database)
	c.user = c.f.initialUser()
}

// initialUser is who a client is before it logs in: nil if it has to.
func (f *Filter) initialUser() *user {
	if len(f.users) == 0 {
		return everyone
	}
	if u := f.users["default"]; u != nil && u.nopass() {
		return u
	}
	return nil
}

// handleClusterMode is READONLY, READWRITE and ASKING, which only change how a
// node of a Redis Cluster treats a connection; the proxy sees to that.
func handleClusterMode(c *client, r *request) bool {
	if c.f.slots() {
		c.localOK(r)
		return true
	}
	c.localError(r, "ERR This instance has cluster support disabled")
	return true
}

const errAuthWithoutPassword = "ERR AUTH <password> called without any password configured for the default user. " +
	"Are you sure your configuration is correct?"

func handleAuth(c *client, r *request) bool {
	switch {
	case r.argc() > 3:
		c.localError(r, errSyntax)
	case r.argc() == 2 && c.f.initialUser() != nil:
		c.localError(r, errAuthWithoutPassword)
	case r.argc() == 2:
		c.login(r, "default", r.arg(1))
	default:
		c.login(r, string(r.arg(1)), r.arg(2))
	}
	return true
}

func (c *client) login(r *request, name string, password []byte) {
	if u := c.authenticate(name, password); u != nil {
		c.user = u
		c.localOK(r)
		return
	}
	c.localError(r, errWrongPass)
}

const errWrongPass = "WRONGPASS invalid username-password pair or user is disabled."

// authenticate returns the user if the password is right, else nil.
func (c *client) authenticate(name string, password []byte) *user {
	u := c.f.users[name]
	if len(c.f.users) == 0 && name == "default" {
		u = everyone
	}
	if u == nil {
		c.f.stats.loginFailures++
		return nil
	}
	ok := u.nopass()
	for _, want := range u.passwords {
		value, err := c.f.secret(want)
		if err != nil {
			c.w.b.log.Error("reading a user's password", "listener", c.f.name, "user", name, "error", err)
			continue
		}
		if subtle.ConstantTimeCompare([]byte(value), password) == 1 {
			ok = true
		}
	}
	if !ok {
		c.f.stats.loginFailures++
		return nil
	}
	return u
}

// handleHello switches the protocol, logs in and names the connection, each if asked.
func handleHello(c *client, r *request) bool {
	resp := c.resp
	next := 1
	if r.argc() > 1 {
		v, err := strconv.ParseInt(string(r.arg(1)), 10, 64)
		if err != nil {
			c.localError(r, "ERR Protocol version is not an integer or out of range")
			return true
		}
		if v != 2 && v != 3 {
			c.localError(r, "NOPROTO unsupported protocol version")
			return true
		}
		resp, next = uint8(v), 2
	}
	u, name, setName, reason := c.helloOptions(r, next)
	switch {
	case reason != "":
		c.localError(r, reason)
		return true
	case u == nil:
		c.localError(r, "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO "+
			"<proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol "+
			"version at the same time")
		return true
	}
	if resp != c.resp && !c.barrier() {
		return false
	}
	if own := c.own(); own != nil && resp != c.resp {
		own.send(redisproto.AppendCommand(nil, "HELLO", strconv.Itoa(int(resp))),
			&pending{what: expectIgnore, start: c.w.loop.Now(), deadline: c.f.deadline()})
	}
	c.user, c.resp = u, resp
	if setName {
		c.extra().name = name
	}
	c.local(r, c.helloReply())
	return true
}

// helloOptions reads the options of HELLO from argument i on, in their order.
func (c *client) helloOptions(r *request, i int) (u *user, name string, setName bool, reason string) {
	u = c.user
	for i < r.argc() {
		switch {
		case r.is(i, "auth") && i+2 < r.argc():
			if u = c.authenticate(string(r.arg(i+1)), r.arg(i+2)); u == nil {
				return nil, "", false, errWrongPass
			}
			i += 3
		case r.is(i, "setname") && i+1 < r.argc():
			name, setName = string(r.arg(i+1)), true
			if !validName(name) {
				return nil, "", false, errClientName
			}
			i += 2
		default:
			return nil, "", false, "ERR Syntax error in HELLO option '" + string(r.arg(i)) + "'"
		}
	}
	return u, name, setName, ""
}

func (c *client) helloReply() []byte {
	mode := "standalone"
	if c.f.slots() {
		mode = "cluster"
	}
	b := redisproto.AppendMap(nil, 7, int(c.resp))
	field := func(k, v string) {
		b = redisproto.AppendBulkString(b, k)
		b = redisproto.AppendBulkString(b, v)
	}
	field("server", "redis")
	field("version", c.w.b.serverVersion())
	b = redisproto.AppendInt(redisproto.AppendBulkString(b, "proto"), int64(c.resp))
	b = redisproto.AppendInt(redisproto.AppendBulkString(b, "id"), int64(c.conn.ID()))
	field("mode", mode)
	field("role", "master")
	return redisproto.AppendArray(redisproto.AppendBulkString(b, "modules"), 0)
}

const errClientName = "ERR Client names cannot contain spaces, newlines or special characters."

func validName(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r < '!' || r > '~' }) < 0
}

// handleACL answers what concerns the client itself. The rest is about the
// servers' users, which are not the clients'.
func handleACL(c *client, r *request) bool {
	if r.argc() == 2 && r.is(1, "whoami") && len(c.f.users) > 0 {
		c.w.out = redisproto.AppendBulkString(c.w.out[:0], c.user.name)
		c.local(r, c.w.out)
		return true
	}
	return handleContainer(c, r)
}
