package redis

import (
	"slices"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/redisproto"
)

// subscriptions are what a client is subscribed to. It has one connection of
// its own to each shard concerned: a channel lives on the shard that its name
// hashes to, a pattern on all of them.
type subscriptions struct {
	c     *client
	kinds [3]map[string][]*subscriber // by kind: the names, and the connections that they are on
	links map[*filters.Endpoint]*subscriber
	stuck bool // the client does not read: nothing is read from the links
	// version tells with which tables the links were last compared.
	version uint64
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

func newSubscriptions(c *client) *subscriptions {
	s := &subscriptions{c: c, links: map[*filters.Endpoint]*subscriber{}}
	for i := range s.kinds {
		s.kinds[i] = map[string][]*subscriber{}
	}
	c.w.subscribed[s] = struct{}{}
	return s
}

// count is the number that an acknowledgement carries: shard channels are
// counted by themselves.
func (s *subscriptions) count(kind int) int {
	switch {
	case s == nil:
		return 0
	case kind == byShardChannel:
		return len(s.kinds[byShardChannel])
	}
	return len(s.kinds[byChannel]) + len(s.kinds[byPattern])
}

func (s *subscriptions) total() int {
	return len(s.kinds[byChannel]) + len(s.kinds[byPattern]) + len(s.kinds[byShardChannel])
}

// linksFor are the connections that a subscription needs.
func (s *subscriptions) linksFor(kind int, name string) ([]*subscriber, string) {
	targets, reason := s.c.subscriptionTargets(kind, name)
	if reason != "" {
		return nil, reason
	}
	links := make([]*subscriber, 0, len(targets))
	for _, t := range targets {
		p, reason := s.c.poolFor(t, false)
		if p == nil {
			return nil, reason
		}
		l, reason := s.linkTo(p)
		if l == nil {
			return nil, p.unavailable(reason)
		}
		links = append(links, l)
	}
	return links, ""
}

// linkTo is the connection to an endpoint. A reason says why there is none.
func (s *subscriptions) linkTo(p *pool) (*subscriber, string) {
	if l := s.links[p.key.endpoint]; l != nil {
		return l, ""
	}
	return s.dial(p)
}

// subscriptionTargets are the shards that a subscription has to be on. In a
// Redis Cluster every node has the messages of all channels but shard channels.
func (c *client) subscriptionTargets(kind int, name string) ([]target, string) {
	switch from, key := sourceOf(kind, name); {
	case from == fromAll:
		return c.everyShard()
	case from == fromKey:
		t, reason := c.keyTarget(key)
		return []target{t}, reason
	case kind != byPattern:
		t, reason := c.channelTarget([]byte(name), target{})
		if reason == "" && kind == byChannel {
			t.standIn()
		}
		return []target{t}, reason
	}
	var targets []target
	c.f.shards(func(t target) {
		if t.table.Slots == nil || len(targets) == 0 {
			t.standIn()
			targets = append(targets, t)
		}
	})
	if len(targets) == 0 {
		return nil, c.noEndpoint()
	}
	return targets, ""
}

// end closes all connections.
func (s *subscriptions) end() {
	delete(s.c.w.subscribed, s)
	for _, l := range s.links {
		l.close()
	}
	clear(s.links)
}

// tidy closes the connections that carry nothing any more, and leaves the
// subscribed state with the last one.
func (s *subscriptions) tidy() {
	for e, l := range s.links {
		if l.names == 0 && len(l.acks) == 0 {
			l.close()
			delete(s.links, e)
		}
	}
	if len(s.links) == 0 && s.c.x.subs == s {
		s.end()
		s.c.x.subs = nil
	}
}

// resume goes on when the client has read.
func (s *subscriptions) resume() {
	if !s.stuck {
		return
	}
	s.stuck = false
	for _, l := range s.links {
		l.resume()
	}
}

// written is called when slots have left the client's ring.
func (s *subscriptions) written() {
	for _, l := range s.links {
		was := l.held()
		if l.waiting && s.c.answered(l.after) {
			l.waiting = false
		}
		if l.late && s.c.x.pushes.Len() == 0 && !s.c.midReply() {
			l.late = false
		}
		if was {
			l.resume()
		}
	}
}

// answered reports whether slot seq has left the ring.
func (c *client) answered(seq uint32) bool { return int32(c.ring.head-seq) > 0 }

// misplaced reports whether a subscription is no longer where its messages are,
// because the cluster has changed. A replica has its primary's messages.
func (s *subscriptions) misplaced() bool {
	version := s.c.f.tablesVersion()
	if version == s.version {
		return false
	}
	s.version = version
	for kind, names := range s.kinds {
		for name, links := range names {
			targets, reason := s.c.subscriptionTargets(kind, name)
			if reason != "" {
				continue // nobody has it now
			}
			from, _ := sourceOf(kind, name)
			for _, t := range targets {
				if !t.servedBy(links, kind == byShardChannel || from != fromAnywhere) {
					return true
				}
			}
		}
	}
	return false
}

// servedBy reports whether one of the links leads to the target's shard, or
// in a Redis Cluster to any, unless it has to be that one.
func (t *target) servedBy(links []*subscriber, exactly bool) bool {
	shards := t.table.Shards[t.shard : t.shard+1]
	if t.table.Slots != nil && !exactly {
		shards = t.table.Shards
	}
	for i := range shards {
		for _, l := range links {
			if l.leadsTo(shards[i].Primary) || slices.ContainsFunc(shards[i].Replicas, l.leadsTo) {
				return true
			}
		}
	}
	return false
}

// leadsTo reports whether l is a connection to e. A redirection may have led there before
// the table had that endpoint.
func (l *subscriber) leadsTo(e *filters.Endpoint) bool {
	return e != nil && e.Address == l.pool.key.endpoint.Address
}

// subscribedMayRun reports whether r may run on a subscribed client. With
// RESP2 only a few commands may, since their replies could not be told from
// messages.
func (c *client) subscribedMayRun(r *request) bool {
	if c.resp == 3 || c.x.subs.total() == 0 || r.spec == nil || allowedWhileSubscribed(r.name) {
		return true
	}
	c.refuse(r, "ERR Can't execute '"+r.fullName()+"': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context")
	return false
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
