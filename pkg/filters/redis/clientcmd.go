package redis

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/dragoman-mesh/dragoman/pkg/redisproto"
)

// handleClient answers CLIENT: it is about the connections to the proxy.
func handleClient(c *client, r *request) bool {
	sub := r.sub
	if sub == nil {
		return handleKeyless(c, r)
	}
	switch strings.TrimPrefix(sub.Name, "client|") {
	case "id":
		c.localInt(r, int64(c.conn.ID()))
	case "getname":
		c.clientName(r)
	case "setname":
		c.setClientName(r)
	case "setinfo":
		c.setClientInfo(r)
	case "info":
		c.localText(r, c.describe()+"\n")
	case "list":
		c.listClients(r)
	case "kill":
		c.killClients(r)
	case "unblock":
		c.unblockClient(r)
	case "reply":
		c.setReplyMode(r)
	case "no-evict", "no-touch":
		c.onOff(r)
	case "getredir":
		if c.session() != nil {
			return handleTracking(c, r)
		}
		c.localInt(r, -1)
	case "tracking", "trackinginfo", "caching":
		return handleTracking(c, r)
	case "pause", "unpause":
		return c.fanOutWith(r, sub, combineFirst)
	default: // help
		return c.forwardAny(r)
	}
	return true
}

func (c *client) localInt(r *request, n int64) {
	c.w.out = redisproto.AppendInt(c.w.out[:0], n)
	c.local(r, c.w.out)
}

func (c *client) localText(r *request, s string) {
	c.w.out = redisproto.AppendVerbatim(c.w.out[:0], "txt", s, int(c.resp))
	c.local(r, c.w.out)
}

func (c *client) clientName(r *request) {
	if c.x == nil || c.x.name == "" {
		c.w.out = redisproto.AppendNull(c.w.out[:0], int(c.resp))
	} else {
		c.w.out = redisproto.AppendBulkString(c.w.out[:0], c.x.name)
	}
	c.local(r, c.w.out)
}

func (c *client) setClientName(r *request) {
	name := string(r.arg(2))
	if !validName(name) {
		c.localError(r, errClientName)
		return
	}
	c.extra().name = name
	c.localOK(r)
}

func (c *client) setClientInfo(r *request) {
	value := string(r.arg(3))
	switch {
	case !validName(value):
		c.localError(r, "ERR "+strings.ToLower(string(r.arg(2)))+" cannot contain spaces, newlines or special characters.")
		return
	case r.is(2, "lib-name"):
		c.extra().libName = value
	case r.is(2, "lib-ver"):
		c.extra().libVersion = value
	default:
		c.localError(r, "ERR Unrecognized option '"+string(r.arg(2))+"'")
		return
	}
	c.localOK(r)
}

// describe is the client's line in CLIENT LIST.
func (c *client) describe() string {
	name, lib, version, flags := "", "", "", "N"
	subs, patterns, shardSubs, multi := 0, 0, 0, -1
	if x := c.x; x != nil {
		name, lib, version = x.name, x.libName, x.libVersion
		if s := x.subs; s != nil {
			flags = "P"
			subs, patterns, shardSubs = len(s.kinds[byChannel]), len(s.kinds[byPattern]), len(s.kinds[byShardChannel])
		}
		if t, ok := x.mode.(*tx); ok && t.multi {
			multi, flags = t.queued, "x"
		}
		if x.exclusive != nil && x.mode == nil {
			flags = "b"
		}
	}
	user := "(unauthenticated)"
	if c.user != nil {
		user = c.user.name
	}
	now := c.w.tenths()
	return fmt.Sprintf("id=%d addr=%s laddr=%s fd=%d name=%s age=%d idle=%d flags=%s db=%d sub=%d psub=%d ssub=%d multi=%d "+
		"qbuf=0 qbuf-free=0 argv-mem=0 multi-mem=0 obl=0 oll=0 omem=%d tot-mem=0 events=r cmd=client user=%s redir=-1 resp=%d "+
		"lib-name=%s lib-ver=%s",
		c.conn.ID(), c.conn.RemoteAddr(), c.conn.LocalAddr(), c.conn.FD(), name,
		(now-c.since)/10, (now-c.lastIn)/10, flags, c.db, subs, patterns, shardSubs,
		multi, c.conn.Buffered(), user, c.resp, lib, version)
}

// peers calls each with every client of the listener on this loop.
func (c *client) peers(each func(*client)) {
	for _, f := range c.w.filters {
		if f.name != c.f.name {
			continue
		}
		for p := f.clients; p != nil; {
			next := p.next
			each(p)
			p = next
		}
	}
}

func (c *client) listClients(r *request) {
	keep := func(*client) bool { return true }
	switch {
	case r.argc() == 2:
	case r.argc() == 4 && r.is(2, "type"):
		is, ok := clientType(r.arg(3))
		if !ok {
			c.localError(r, "ERR Unknown client type '"+string(r.arg(3))+"'")
			return
		}
		keep = is
	case r.argc() > 3 && r.is(2, "id"):
		wanted := map[uint64]bool{}
		for i := 3; i < r.argc(); i++ {
			id, err := strconv.ParseInt(string(r.arg(i)), 10, 64)
			if err != nil {
				c.localError(r, "ERR Invalid client ID")
				return
			}
			wanted[uint64(max(id, 0))] = true
		}
		keep = func(p *client) bool { return wanted[p.conn.ID()] }
	default:
		c.localError(r, errSyntax)
		return
	}
	var b strings.Builder
	c.peers(func(p *client) {
		if keep(p) {
			b.WriteString(p.describe())
			b.WriteByte('\n')
		}
	})
	c.localText(r, b.String())
}

const errSyntax = "ERR syntax error"

// clientType is the test for one of Redis' types of clients. No client of the
// proxy is a replica or a primary.
func clientType(name []byte) (is func(*client) bool, ok bool) {
	pubsub := func(c *client) bool { return c.x != nil && c.x.subs != nil && c.x.subs.total() > 0 }
	switch strings.ToLower(string(name)) {
	case "normal":
		return func(c *client) bool { return !pubsub(c) }, true
	case "pubsub":
		return pubsub, true
	case "master", "replica", "slave":
		return func(*client) bool { return false }, true
	}
	return nil, false
}

// killClients closes connections to the proxy, chosen as Redis does by
// address or by filters of which all must match.
func (c *client) killClients(r *request) {
	if r.argc() == 3 {
		if c.kill(func(p *client) bool { return p.conn.RemoteAddr() == string(r.arg(2)) }) == 0 {
			c.localError(r, "ERR No such client")
			return
		}
		c.localOK(r)
		return
	}
	var tests []func(*client) bool
	skipMe := true
	for i := 2; i < r.argc(); i += 2 {
		if r.is(i, "skipme") && i+1 < r.argc() && (r.is(i+1, "yes") || r.is(i+1, "no")) {
			skipMe = r.is(i+1, "yes")
			continue
		}
		test, reason := c.killTest(r, i)
		if reason != "" {
			c.localError(r, reason)
			return
		}
		tests = append(tests, test)
	}
	c.localInt(r, int64(c.kill(func(p *client) bool {
		for _, ok := range tests {
			if !ok(p) {
				return false
			}
		}
		return p != c || !skipMe
	})))
}

// killTest is one filter of CLIENT KILL: arguments i and i+1.
func (c *client) killTest(r *request, i int) (test func(*client) bool, reason string) {
	if i+1 == r.argc() {
		return nil, errSyntax
	}
	value := string(r.arg(i + 1))
	switch {
	case r.is(i, "id"):
		id, err := strconv.ParseInt(value, 10, 64)
		if err != nil || id < 1 {
			return nil, "ERR client-id should be greater than 0"
		}
		return func(p *client) bool { return p.conn.ID() == uint64(id) }, ""
	case r.is(i, "addr"):
		return func(p *client) bool { return p.conn.RemoteAddr() == value }, ""
	case r.is(i, "laddr"):
		return func(p *client) bool { return p.conn.LocalAddr() == value }, ""
	case r.is(i, "user"):
		if c.f.users[value] == nil && (len(c.f.users) > 0 || value != everyone.name) {
			return nil, "ERR No such user '" + value + "'"
		}
		return func(p *client) bool { return p.user != nil && p.user.name == value }, ""
	case r.is(i, "type"):
		is, ok := clientType(r.arg(i + 1))
		if !ok {
			return nil, "ERR Unknown client type '" + value + "'"
		}
		return is, ""
	}
	return nil, errSyntax
}

func (c *client) kill(match func(*client) bool) int {
	n := 0
	c.peers(func(p *client) {
		if !match(p) {
			return
		}
		n++
		if p == c {
			c.state |= stateClosing
		} else {
			p.drop()
		}
	})
	return n
}

func (c *client) unblockClient(r *request) {
	if r.argc() > 4 {
		c.localError(r, "ERR unknown subcommand or wrong number of arguments for '"+string(r.arg(1))+"'. Try CLIENT HELP.")
		return
	}
	withError := r.is(3, "error")
	if r.argc() == 4 && !withError && !r.is(3, "timeout") {
		c.localError(r, "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR")
		return
	}
	id, err := strconv.ParseUint(string(r.arg(2)), 10, 64)
	if err != nil {
		c.localError(r, "ERR value is not an integer or out of range")
		return
	}
	found := int64(0)
	c.peers(func(p *client) {
		if p.conn.ID() == id && p.unblock(withError) {
			found = 1
		}
	})
	c.localInt(r, found)
}

func (c *client) setReplyMode(r *request) {
	switch {
	case r.is(2, "on"):
		c.state &^= stateReplyOff | stateReplySkip
		c.localOK(r)
	case r.is(2, "off"):
		c.state |= stateReplyOff
	case r.is(2, "skip"):
		if !c.has(stateReplyOff) {
			c.state |= stateReplySkip
		}
	default:
		c.localError(r, errSyntax)
	}
}

func (c *client) onOff(r *request) {
	if r.is(2, "on") || r.is(2, "off") {
		c.localOK(r)
		return
	}
	c.localError(r, errSyntax)
}
