package redis

import (
	"strconv"

	"github.com/dragoman-mesh/dragoman/pkg/redisproto"
)

// queue is a command between MULTI and EXEC.
func (t *tx) queue(c *client, r *request) {
	pl := t.place(c, r)
	if pl.frame == nil {
		pl.frame = r.raw(c.w)
	}
	if pl.reason == "" && t.u == nil {
		switch {
		case pl.keys > 0: // even if it is in vain: the server says what is wrong with each
			t.lost = t.pin(c, pl.to)
			pl.reason = t.lost
		case !t.aborted:
			pl.reason = t.hold(c, r, pl.frame)
		}
	}
	switch {
	case pl.reason == "" && t.u != nil && pl.keys > 0 && !t.on(pl.to):
		pl.reason = errCrossSlot
		fallthrough
	case pl.reason != "":
		t.aborted = true
		c.localError(r, pl.reason)
	case t.u != nil:
		t.queued++
		t.send(c, r, pl.frame)
	case t.aborted:
		c.local(r, replyQueued)
	}
}

// upload is the connection for a request that is sent on as it arrives; nil if
// it has to be gathered, and perhaps refused, as usual.
func (t *tx) upload(c *client, r *request, to target) *upstream {
	switch {
	case t.away || t.aborted || t.lost != "" || (t.multi && refusedInMulti(r) != ""):
		return nil
	case t.u == nil && t.multi:
		t.lost = t.pin(c, to)
	}
	if t.u == nil || to.primary() != t.u.pool.key.endpoint {
		return nil
	}
	t.restart, t.queues = restartNever, nil
	if t.multi {
		t.queued++
	}
	return t.u
}

// place finds out where a command in a transaction goes, and why it cannot.
func (t *tx) place(c *client, r *request) placement {
	if t.lost != "" {
		return placement{reason: t.lost}
	}
	if reason := refusedInMulti(r); reason != "" {
		return placement{reason: reason}
	}
	frame := t.rewritten(c, r)
	if to, one := c.f.one(); one {
		return placement{to: to, frame: frame, keys: 1} // whatever it is
	}
	if frame != nil {
		return placement{frame: frame}
	}
	if r.spec == nil && !c.f.forwardsUnknown(r) {
		return placement{reason: unknownCommand(r)}
	}
	pl := c.place(r, t.home)
	if pl.reason == "" && pl.keys == 0 && concernsAllShards(r) {
		pl.reason = "ERR dragoman: '" + r.fullName() + "' concerns all shards and cannot be part of a transaction on one"
	}
	return pl
}

// hold keeps a command without keys until a key tells the shard.
func (t *tx) hold(c *client, r *request, frame []byte) string {
	if int64(len(t.early)+len(frame)) > c.f.maxGather {
		return "ERR dragoman: too much before the first key of a transaction"
	}
	t.early = append(t.early, frame...)
	t.earlyN++
	t.queued++
	c.local(r, replyQueued)
	return ""
}

// rewritten is a SELECT with the number that the database has upstream; nil
// for other commands.
func (t *tx) rewritten(c *client, r *request) []byte {
	if r.name != "select" {
		return nil
	}
	db, err := strconv.ParseInt(string(r.arg(1)), 10, 32)
	if err != nil {
		return nil
	}
	t.selects = append(t.selects, queuedSelect{t.queued, int32(db)})
	opts := c.f.upstreamOptions()
	if opts == nil {
		return nil
	}
	c.w.inline = redisproto.AppendCommand(c.w.inline[:0], "SELECT", strconv.Itoa(int(effectiveDB(int32(db), opts))))
	return c.w.inline
}

// refusedInMulti says why a command cannot be part of a transaction. Those that
// concern the client's connection would change the server's instead.
func refusedInMulti(r *request) string {
	if spec := r.effective(); spec != nil && spec.Has(redisproto.NoMulti) {
		return "ERR Command not allowed inside a transaction"
	}
	switch r.name {
	case "auth", "hello", "client", "monitor", "replconf",
		"subscribe", "psubscribe", "ssubscribe", "unsubscribe", "punsubscribe", "sunsubscribe":
	case "script":
		if !r.is(1, "debug") {
			return ""
		}
	default:
		return ""
	}
	return "ERR dragoman: '" + r.fullName() + "' cannot be part of a transaction"
}

// concernsAllShards reports whether a command would be executed on every shard
// outside of a transaction.
func concernsAllShards(r *request) bool {
	spec := r.effective()
	if spec == nil || r.name == "ping" || r.name == "wait" || r.name == "waitaof" {
		return false
	}
	return spec.RequestPolicy == "all_shards" || spec.RequestPolicy == "all_nodes" ||
		r.name == "scan" || r.name == "swapdb" || refusedOverShards[r.name]
}
