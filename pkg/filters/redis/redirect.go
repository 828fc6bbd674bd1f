package redis

import (
	"net/netip"
	"strings"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/redisproto"
)

// maxHops bounds how often one request is sent on.
const maxHops = 5

// serverError looks at an error reply. It returns true if the request has been
// sent elsewhere and the client's reply is still to come.
func (u *upstream) serverError(p *pending, frame []byte) bool {
	code, rest, _ := strings.Cut(errorText(frame), " ")
	switch code {
	case "MOVED", "ASK":
		u.pool.cluster.Refresh(code)
		if !p.c.f.cfg.Redirection || u.pool.cluster.Table().Slots == nil {
			return false
		}
		if code == "ASK" {
			p.c.f.slotsMove(u.pool.cluster)
			if u.splitAsked(p) {
				return true
			}
		}
		if _, addr, ok := strings.Cut(rest, " "); !ok || p.replay == nil || !u.follow(p, addr, code == "ASK") {
			// Where the slot is now is nothing that the client could use.
			p.c.failPart(p.seq, p.part, errOnTheMove)
		}
		return true
	case "TRYAGAIN":
		p.c.f.slotsMove(u.pool.cluster)
		return u.tryLater(p, frame, u.canSplitUp(p))
	case "CLUSTERDOWN":
		u.pool.cluster.Refresh(code)
		return u.tryLater(p, frame, false)
	case "READONLY":
		u.pool.cluster.Refresh(code)
	case "LOADING", "MASTERDOWN":
		u.pool.cluster.Report(u.pool.key.endpoint, filters.ServerError)
		return u.tryLater(p, frame, false)
	}
	return false
}

const errOnTheMove = "TRYAGAIN dragoman: the key's slot is being moved to another node"

// follow sends a request that is redirected on, at once or when it may go: when nodes
// that send it to and fro agree, and when those before it have been executed.
func (u *upstream) follow(p *pending, addr string, ask bool) bool {
	if p.hops >= maxHops || p.behindRetries() {
		return u.tryLater(p, redisproto.AppendError(nil, errOnTheMove), false)
	}
	return u.redirect(p, addr, ask)
}

// redirect sends the request to where the cluster says it belongs.
func (u *upstream) redirect(p *pending, addr string, ask bool) bool {
	w := u.pool.w
	addr = u.pool.fullAddress(addr)
	e := u.pool.cluster.Table().ByAddress(addr)
	if e != nil {
		w.sendStraysTo(addr) // they were first
	} else {
		e = w.adhocEndpoint(addr, u.pool.key.endpoint)
	}
	switch {
	case e == nil && u.shared:
		w.keepStray(stray{pending: *p, from: u.pool, addr: addr, ask: ask})
	case e == nil:
		u.pool.cluster.Refresh("unknown node " + addr)
		return u.tryLater(p, redisproto.AppendError(nil, errOnTheMove), false)
	case u.shared:
		u.pool.sendOn(p, e, ask)
	default:
		return u.relocate(p, e, ask)
	}
	return true
}

// fullAddress is the address of a redirection, in which an empty host means the same one.
func (p *pool) fullAddress(addr string) string {
	if port, ok := strings.CutPrefix(strings.TrimPrefix(addr, "?"), ":"); ok {
		host, _, _ := cutPort(p.key.endpoint.Address)
		return host + ":" + port
	}
	return addr
}

// redirected is the endpoint that an error of p's endpoint, like "MOVED 1 ::1:6379",
// sends to; nil if it is not known.
func (p *pool) redirected(text string) *filters.Endpoint {
	addr := p.fullAddress(text[strings.LastIndexByte(text, ' ')+1:])
	if e := p.cluster.Table().ByAddress(addr); e != nil {
		return e
	}
	return p.w.adhocEndpoint(addr, p.key.endpoint)
}

// sendOn sends a request that an endpoint of p has redirected to e.
func (p *pool) sendOn(item *pending, e *filters.Endpoint, ask bool) {
	key := poolKey{endpoint: e, db: p.key.db, resp: p.key.resp}
	to, reason := p.w.pool(key, p.cluster, p.opts).get(item.c)
	if to == nil {
		item.c.failPart(item.seq, item.part, "ERR dragoman: redirected to "+e.Address+reason)
		return
	}
	item.c.f.stats.redirections++
	if ask {
		to.send(askingRequest, &pending{what: expectIgnore, start: item.start})
	}
	again := *item
	again.hops++
	again.shard = to.pool.stats
	again.deadline = item.c.f.deadline()
	to.send(again.replay.frame, &again)
}

var askingRequest = redisproto.AppendCommand(nil, "ASKING")

// adhocEndpoint makes an endpoint of a redirection's target that the topology
// does not have yet; nil if it is not a literal address.
func (w *worker) adhocEndpoint(addr string, like *filters.Endpoint) *filters.Endpoint {
	if e := w.adhoc[addr]; e != nil {
		return e
	}
	host, port, ok := cutPort(addr)
	if !ok {
		return nil
	}
	if _, err := netip.ParseAddr(host); err != nil {
		return nil
	}
	dial := host + ":" + port
	if strings.Contains(host, ":") {
		dial = "[" + host + "]:" + port
	}
	e := &filters.Endpoint{Network: "tcp", Address: dial, Hostname: addr, TLS: like.TLS}
	e.SetHealthy(true)
	w.adhoc[addr] = e
	return e
}

// cutPort splits at the last colon, since Redis writes IPv6 without brackets.
func cutPort(addr string) (host, port string, ok bool) {
	i := strings.LastIndexByte(addr, ':')
	if i < 0 {
		return "", "", false
	}
	return strings.Trim(addr[:i], "[]"), addr[i+1:], true
}

// combineInfo makes one INFO of many: the first shard's text, in which what
// can be added up is the sum over the shards.
func combineInfo(m *merge, dst []byte, resp uint8) []byte {
	texts := make([]string, len(m.parts))
	for i, p := range m.parts {
		v, _, err := redisproto.ParseValue(p, &replyLimits)
		if err != nil {
			return append(dst, p...)
		}
		texts[i] = string(v.Text())
	}
	text := mergeInfo(texts)
	if resp == 3 {
		return redisproto.AppendVerbatim(dst, "txt", text, 3)
	}
	return redisproto.AppendBulkString(dst, text)
}
