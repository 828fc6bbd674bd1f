package redis

import (
	"slices"
	"strconv"

	"github.com/dragoman-mesh/dragoman/pkg/redisproto"
)

const (
	errCrossSlot = "CROSSSLOT Keys in request don't hash to the same slot"
	errNoRoute   = "ERR dragoman: no route takes this key, and there is no catch-all"
)

// handleSingleKey forwards a command by its one key.
func handleSingleKey(c *client, r *request) bool {
	if r.key >= r.argc() {
		return handleKeyless(c, r)
	}
	if len(c.f.routes) == 0 && c.f.catchAll != nil && !r.cmd.Inline() {
		rt := c.f.catchAll
		key := r.arg(r.key)
		t, reason := c.f.locate(rt.clusterFor(r.readOnly), key)
		if reason != "" {
			c.localError(r, reason)
			return true
		}
		if !c.inOrder(&t) {
			return false
		}
		c.f.sampleKey(key)
		if len(rt.mirrors) > 0 {
			c.w.keys = append(c.w.keys[:0], r.key)
			c.mirror(r, rt, c.w.keys, r.frame)
		}
		c.forward(r, t, r.frame)
		return true
	}
	c.w.keys = append(c.w.keys[:0], r.key)
	return c.forwardKeys(r)
}

// handleKeys forwards a command all of whose keys must live on one shard.
func handleKeys(c *client, r *request) bool {
	keys, err := r.spec.AppendKeys(r.cmd, r.frame, c.w.keys[:0])
	c.w.keys = keys
	if err != nil || len(keys) == 0 {
		return handleKeyless(c, r) // the server knows best what is wrong with it
	}
	return c.forwardKeys(r)
}

// forwardKeys forwards r by the keys in c.w.keys.
func (c *client) forwardKeys(r *request) bool {
	rt, t, reason := c.resolve(r, c.w.keys, r.readOnly, target{})
	if reason != "" {
		c.localError(r, reason)
		return true
	}
	if !c.inOrder(&t) {
		return false
	}
	frame := r.strippedFor(rt, c.w)
	for _, k := range c.w.keys {
		c.f.sampleKey(r.arg(k))
	}
	if len(rt.mirrors) > 0 {
		c.mirror(r, rt, c.w.keys, frame)
	}
	c.forward(r, t, frame)
	if len(c.w.keys) > 1 {
		c.holdBehindKeys(&t)
	}
	return true
}

// resolve finds the one target of some keys, by the table of home if that is of the same
// cluster, else by its latest. A reason says why there is none.
func (c *client) resolve(r *request, keys []int, read bool, home target) (rt *route, t target, reason string) {
	rt = c.f.route(r.arg(keys[0]))
	if rt == nil {
		return nil, t, errNoRoute
	}
	t = home.unplaced(rt.clusterFor(read))
	for i, k := range keys {
		key := r.arg(k)
		if i > 0 && c.f.route(key) != rt {
			return nil, t, errCrossSlot
		}
		to, reason := c.f.locateBy(t, rt.strip(key))
		if reason != "" {
			return nil, t, reason
		}
		if i > 0 && to.shard != t.shard {
			return nil, t, errCrossSlot
		}
		t = to
	}
	if r.patterns {
		return rt, t, c.patternsMisplaced(r, rt, t)
	}
	return rt, t, ""
}

// strippedFor is the request as it is sent to a route's cluster; c.w.keys are
// its keys.
func (r *request) strippedFor(rt *route, w *worker) []byte {
	if rt.removePrefix && rt.prefix != "" {
		keys := w.keys
		if r.patterns {
			keys = r.appendPatterns(slices.Clone(keys))
		}
		return r.withoutPrefix(w, keys, len(rt.prefix))
	}
	return r.raw(w)
}

// placement is where a request goes that takes a connection of the client's own.
type placement struct {
	to     target // if keys > 0
	frame  []byte // the request as it is sent there
	keys   int
	reason string // why it cannot go anywhere
}

// place finds out where the primary of a request's keys is. The channel of
// PUBLISH counts as a key where it decides the shard. Home is where the requests before it
// are, which it has to be placed with: by the same table.
func (c *client) place(r *request, home target) placement {
	switch {
	case r.name == "publish" || r.name == "spublish":
		t, reason := c.channelTarget(r.arg(1), home)
		if reason == "" && c.f.slots() && r.name == "publish" {
			return placement{frame: r.raw(c.w)} // any node of the Redis Cluster tells the others
		}
		return placement{to: t, frame: r.raw(c.w), keys: 1, reason: reason}
	case r.spec != nil:
		keys, err := r.spec.AppendKeys(r.cmd, r.frame, c.w.keys[:0])
		c.w.keys = keys
		if err != nil || len(keys) == 0 {
			return placement{frame: r.raw(c.w)}
		}
	case r.argc() > 1:
		c.w.keys = append(c.w.keys[:0], 1)
	default:
		return placement{frame: r.raw(c.w)}
	}
	rt, t, reason := c.resolve(r, c.w.keys, false, home)
	if reason != "" {
		return placement{keys: len(c.w.keys), reason: reason}
	}
	return placement{to: t, frame: r.strippedFor(rt, c.w), keys: len(c.w.keys)}
}

// strip takes the route's prefix off a key, if it is to be removed.
func (rt *route) strip(key []byte) []byte {
	if rt.removePrefix && len(key) >= len(rt.prefix) {
		return key[len(rt.prefix):]
	}
	return key
}

// withoutPrefix is the request with the first n bytes of each key left out.
func (r *request) withoutPrefix(w *worker, keys []int, n int) []byte {
	b := redisproto.AppendArray(w.inline[:0], r.argc())
	next := 0
	for i := range r.argc() {
		arg := r.arg(i)
		if next < len(keys) && keys[next] == i {
			arg = arg[n:]
			next++
		}
		b = redisproto.AppendBulk(b, arg)
	}
	w.inline = b
	return b
}

// handleKeyless forwards a command without keys: to the only shard, or, where
// the answer does not depend on the shard, to any.
func handleKeyless(c *client, r *request) bool {
	if t, ok := c.f.one(); ok {
		c.forward(r, t, r.raw(c.w))
		return true
	}
	if refusedOverShards[r.name] && !r.harmless() {
		if r.name == "cluster" && c.f.slots() { // what handleCluster leaves
			return c.forwardAny(r)
		}
		if r.name == "cluster" {
			c.localError(r, "ERR This instance has cluster support disabled")
			return true
		}
		return c.refuseOverShards(r)
	}
	return c.forwardAny(r)
}

func (c *client) refuseOverShards(r *request) bool {
	c.localError(r, "ERR dragoman: '"+r.name+"' is meant for one server, but this listener has "+
		strconv.Itoa(c.f.shardCount())+" shards")
	return true
}

// refusedOverShards are commands whose effect on an arbitrary shard would
// surprise.
var refusedOverShards = map[string]bool{
	"cluster": true, "debug": true, "failover": true, "module": true, "monitor": true,
	"psync": true, "replconf": true, "replicaof": true, "shutdown": true, "slaveof": true, "sync": true,
}

// harmless reports whether any shard can answer r, although the command is one of
// refusedOverShards.
func (r *request) harmless() bool {
	return r.sub != nil && (r.sub.Name == "module|list" || r.sub.Name == "module|help")
}

// forwardAny sends r to the first shard that can take it.
func (c *client) forwardAny(r *request) bool {
	var best target
	found := false
	c.f.shards(func(t target) {
		if !found || (!usable(c.f.endpoint(best, r.readOnly)) && usable(c.f.endpoint(t, r.readOnly))) {
			best, found = t, true
		}
	})
	if !found {
		c.localError(r, c.noEndpoint())
		return true
	}
	c.forward(r, best, r.raw(c.w))
	return true
}

func (c *client) noEndpoint() string {
	return "ERR dragoman: listener " + c.f.name + " has no endpoint yet"
}

func (f *localFilter) shardCount() int {
	n := 0
	f.shards(func(target) { n++ })
	return n
}

// slots reports whether the keys live in a Redis Cluster.
func (f *localFilter) slots() bool {
	all := f.dataClusters()
	return len(all) == 1 && all[0].Table().Slots != nil
}

// handleUnknown is for names that are not in the command table.
func handleUnknown(c *client, r *request) bool {
	if t, ok := c.f.one(); ok {
		c.forward(r, t, r.raw(c.w))
		return true
	}
	if c.f.forwardsUnknown(r) && r.argc() > 1 {
		c.w.keys = append(c.w.keys[:0], 1)
		return c.forwardKeys(r)
	}
	c.localError(r, unknownCommand(r))
	return true
}

// unknownCommand words the error as Redis does (commandCheckExistence).
func unknownCommand(r *request) string {
	msg := append([]byte("ERR unknown command '"), r.arg(0)[:min(128, len(r.arg(0)))]...)
	msg = append(msg, "', with args beginning with: "...)
	args := 0
	for i := 1; i < r.argc() && args < 128; i++ {
		arg := r.arg(i)
		arg = arg[:min(len(arg), 128-args)]
		args += len(arg) + len("'' ")
		msg = append(msg, '\'')
		msg = append(msg, arg...)
		msg = append(msg, "' "...)
	}
	return string(msg)
}

// arityError words the error as Redis does.
func (c *client) arityError(r *request) {
	c.refuse(r, "ERR wrong number of arguments for '"+r.fullName()+"' command")
}

// handleContainer routes a command by its subcommand.
func handleContainer(c *client, r *request) bool {
	t, one := c.f.one()
	sub := r.sub
	switch {
	case sub != nil && sub.Name == "script|debug": // a debugging session is a state of the connection
		if one {
			return handlePipe(c, r)
		}
		return c.refuseOverShards(r)
	case sub != nil && (sub.Name == "script|kill" || sub.Name == "function|kill"):
		return handleScriptKill(c, r)
	case one && r.name == "script" && sub != nil && sub.RequestPolicy == "all_nodes" && c.f.readsReplicas(t):
		return c.fanOut(r, sub) // replicas do not learn scripts from their primary
	case one || sub == nil || refusedOverShards[r.name]:
		return handleKeyless(c, r)
	case len(sub.KeySpecs) > 0:
		return handleKeys(c, r)
	case c.allShards(sub):
		return c.fanOut(r, sub)
	default:
		return handleKeyless(c, r)
	}
}

// allShards reports whether a subcommand concerns every shard.
func (c *client) allShards(sub *redisproto.Spec) bool {
	switch sub.Name {
	case "config|get", "acl|log", "acl|load":
		return true
	}
	return sub.RequestPolicy == "all_shards" || sub.RequestPolicy == "all_nodes"
}

// handleScript routes EVAL and FCALL by the keys they declare.
func handleScript(c *client, r *request) bool {
	keys, err := r.spec.AppendKeys(r.cmd, r.frame, c.w.keys[:0])
	c.w.keys = keys
	if err != nil || len(keys) == 0 {
		if t, ok := c.f.one(); ok {
			c.forward(r, t, r.raw(c.w))
			return true
		}
		return c.forwardAny(r)
	}
	return c.forwardKeys(r)
}

// handlePublish sends a message to the shard that the channel's subscribers
// are on.
func handlePublish(c *client, r *request) bool {
	t, reason := c.channelTarget(r.arg(1), target{})
	if reason != "" {
		c.localError(r, reason)
		return true
	}
	if r.name == "publish" {
		t.standIn()
	}
	if !c.inOrder(&t) {
		return false
	}
	c.forward(r, t, r.raw(c.w))
	return true
}

// channelTarget is the shard of a pub/sub channel, by the table of home as in resolve.
func (c *client) channelTarget(channel []byte, home target) (target, string) {
	if rt := c.f.catchAll; rt != nil {
		return c.f.locateBy(home.unplaced(rt.cluster), channel)
	}
	all := c.f.dataClusters()
	if len(all) == 0 {
		return target{}, c.noEndpoint()
	}
	return c.f.locateBy(home.unplaced(all[0]), channel)
}

// standIn makes t a shard of the same Redis Cluster whose primary is up, if its own is
// not: every node has the messages of all channels but shard channels.
func (t *target) standIn() {
	if t.table.Slots == nil {
		return
	}
	for i := range t.table.Shards {
		if at := (t.shard + i) % len(t.table.Shards); usable(t.table.Shards[at].Primary) {
			t.shard = at
			return
		}
	}
}
