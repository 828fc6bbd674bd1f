package redis

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/dragoman-mesh/dragoman/pkg/redisproto"
)

// handleClient answers CLIENT: it is about the connections to the proxy.
func handleClient(c *client, r *request) bool {
	if r.argc() < 2 {
		c.arityError(r)
		return true
	}
	sub := r.spec.Subcommand(r.arg(1))
	if sub == nil {
		return handleKeyless(c, r)
	}
	if !sub.ArityOK(r.argc()) {
		c.localError(r, "ERR wrong number of arguments for '"+sub.Name+"' command")
		return true
	}
	switch strings.TrimPrefix(sub.Name, "client|") {
	case "id":
		c.localInt(r, int64(c.conn.ID())) //nolint:gosec // a counter
	case "getname":
		c.clientName(r)
	case "setname":
		c.setClientName(r)
	case "setinfo":
		c.setClientInfo(r)
	case "info":
		c.localText(r, c.describe()+"\n")
	case "list":
		c.localText(r, c.listClients(r))
	case "kill":
		c.killClients(r)
	case "unblock":
		c.unblockClient(r)
	case "reply":
		c.setReplyMode(r)
	case "no-evict", "no-touch":
		c.onOff(r)
	case "getredir":
		c.localInt(r, -1)
	case "tracking", "trackinginfo", "caching":
		return c.tracking(r)
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
	var name, lib, version, flags = "", "", "", "N"
	subs, patterns, shardSubs, multi := 0, 0, 0, -1
	if x := c.x; x != nil {
		name, lib, version = x.name, x.libName, x.libVersion
		if s := x.subs; s != nil {
			flags = "P"
			subs, patterns, shardSubs = len(s.kinds[byChannel]), len(s.kinds[byPattern]), len(s.kinds[byShardChannel])
		}
		if t, ok := x.mode.(*tx); ok && t.multi {
			multi, flags = 0, "x"
		}
		if x.exclusive != nil && x.mode == nil {
			flags = "b"
		}
	}
	user := "(unauthenticated)"
	if c.user != nil {
		user = c.user.name
	}
	return fmt.Sprintf("id=%d addr=%s laddr=%s fd=%d name=%s age=0 idle=0 flags=%s db=%d sub=%d psub=%d ssub=%d multi=%d "+
		"qbuf=0 qbuf-free=0 argv-mem=0 multi-mem=0 obl=0 oll=0 omem=%d tot-mem=0 events=r cmd=client user=%s redir=-1 resp=%d "+
		"lib-name=%s lib-ver=%s",
		c.conn.ID(), c.conn.RemoteAddr(), c.conn.LocalAddr(), c.conn.FD(), name, flags, c.db, subs, patterns, shardSubs,
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

func (c *client) listClients(r *request) string {
	wanted := map[string]bool{}
	for i := 2; i < r.argc(); i++ {
		if r.is(i, "id") {
			for j := i + 1; j < r.argc(); j++ {
				wanted[string(r.arg(j))] = true
			}
		}
	}
	var b strings.Builder
	c.peers(func(p *client) {
		if len(wanted) == 0 || wanted[strconv.FormatUint(p.conn.ID(), 10)] {
			b.WriteString(p.describe())
			b.WriteByte('\n')
		}
	})
	return b.String()
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
	for i := 2; i+1 < r.argc(); i += 2 {
		value := string(r.arg(i + 1))
		switch {
		case r.is(i, "id"):
			tests = append(tests, func(p *client) bool { return strconv.FormatUint(p.conn.ID(), 10) == value })
		case r.is(i, "addr"):
			tests = append(tests, func(p *client) bool { return p.conn.RemoteAddr() == value })
		case r.is(i, "laddr"):
			tests = append(tests, func(p *client) bool { return p.conn.LocalAddr() == value })
		case r.is(i, "user"):
			tests = append(tests, func(p *client) bool { return p.user != nil && p.user.name == value })
		case r.is(i, "type"):
			tests = append(tests, func(p *client) bool {
				return (value == "pubsub") == (p.x != nil && p.x.subs != nil) && (value == "pubsub" || value == "normal")
			})
		case r.is(i, "skipme"):
			skipMe = strings.EqualFold(value, "yes")
		default:
			c.localError(r, "ERR syntax error")
			return
		}
	}
	if (r.argc()-2)%2 != 0 || len(tests) == 0 {
		c.localError(r, "ERR syntax error")
		return
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
	withError := r.is(3, "error")
	if r.argc() > 4 || (r.argc() == 4 && !withError && !r.is(3, "timeout")) {
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
		c.localError(r, "ERR syntax error")
	}
}

func (c *client) onOff(r *request) {
	if r.is(2, "on") || r.is(2, "off") {
		c.localOK(r)
		return
	}
	c.localError(r, "ERR syntax error")
}

// tracking needs a connection whose server knows this client. With one shard
// the client gets one; over several no server could invalidate for all.
func (c *client) tracking(r *request) bool {
	if _, ok := c.f.one(); ok {
		return handlePipe(c, r)
	}
	c.localError(r, "ERR dragoman: client-side caching needs a listener with a single shard")
	return true
}
