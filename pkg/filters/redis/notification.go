package redis

import "strings"

// Keyspace notifications are messages that a server publishes about its own keys.
// No other server has them, a node of a Redis Cluster neither: who wants to hear of
// an event has to be subscribed on every shard, of a key on that of the key.

// source says where messages on a channel, or on those of a pattern, come from.
type source uint8

const (
	fromAnywhere source = iota // wherever somebody publishes
	fromKey                    // from the shard of one key
	fromAll                    // from every shard
)

const notificationHead = "__key"

// sourceOf tells notifications by the name of their channel, as in
// "__keyspace@0__:key" and "__keyevent@0__:expired". Patterns that begin with
// anything else may have notifications among others; these come from the shards
// that the pattern is on.
func sourceOf(kind int, name string) (from source, key string) {
	if kind == byShardChannel || !strings.HasPrefix(name, notificationHead) {
		return fromAnywhere, ""
	}
	if kind == byPattern {
		return fromAll, ""
	}
	what, rest, ok := strings.Cut(name[len(notificationHead):], "@")
	_, rest, found := strings.Cut(rest, "__:")
	switch {
	case !ok || !found:
		return fromAnywhere, ""
	case what == "space":
		return fromKey, rest
	case what == "event":
		return fromAll, ""
	}
	return fromAnywhere, ""
}

// everyShard are targets on all shards.
func (c *client) everyShard() ([]target, string) {
	var targets []target
	c.f.shards(func(t target) { targets = append(targets, t) })
	if len(targets) == 0 {
		return nil, c.noEndpoint()
	}
	return targets, ""
}

// keyTarget is the shard that tells of a key.
func (c *client) keyTarget(key string) (target, string) {
	rt := c.f.route([]byte(key))
	if rt == nil {
		return c.channelTarget([]byte(key), target{}) // of which nothing will be heard here
	}
	return c.f.locate(rt.cluster, []byte(key))
}
