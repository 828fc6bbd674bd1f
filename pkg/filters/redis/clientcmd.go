package redis

import (
	"fmt"
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
		return c.unblockClient(r)
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
