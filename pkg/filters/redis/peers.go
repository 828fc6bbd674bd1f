package redis

import (
	"strconv"
	"strings"

	"github.com/dragoman-mesh/dragoman/pkg/redisproto"
)

// The subcommands of CLIENT that concern other clients of the listener, on all
// loops.

// onLoops runs fn on every loop and answers r with what reply makes of the
// results, in no order. Arguments of r must not be used in fn.
func onLoops[T any](c *client, r *request, fn func(*worker) T, reply func([]T) []byte) {
	onLoopsLater(c, r, func(w *worker, done func(T)) { done(fn(w)) }, reply)
}

// onLoopsLater is onLoops for what takes its time: fn has done called once, on the
// loop that it runs on.
func onLoopsLater[T any](c *client, r *request, fn func(w *worker, done func(T)), reply func([]T) []byte) {
	seq, _ := c.open(r)
	var results []T
	workers := c.w.b.allWorkers()
	left := len(workers)
	arrived := func(result ...T) {
		results = append(results, result...)
		if left--; left == 0 && !c.has(stateClosed) {
			c.reply(seq, reply(results))
		}
	}
	for _, w := range workers {
		if w == c.w {
			continue
		}
		if !w.loop.Post(func() {
			fn(w, func(result T) { c.w.loop.Post(func() { arrived(result) }) })
		}) {
			arrived()
		}
	}
	fn(c.w, func(result T) { arrived(result) })
}

func sum(counts []int64) (total int64) {
	for _, n := range counts {
		total += n
	}
	return total
}

// peers calls each with every client of a listener on this loop.
func (w *worker) peers(listener string, each func(*client)) {
	for _, f := range w.filters {
		if f.name != listener {
			continue
		}
		for p := range f.clients.All() {
			each(p)
		}
	}
}

func (c *client) listClients(r *request) {
	listener := c.f.name
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
	onLoops(c, r, func(w *worker) string {
		var b strings.Builder
		w.peers(listener, func(p *client) {
			if keep(p) {
				b.WriteString(p.describe())
				b.WriteByte('\n')
			}
		})
		return b.String()
	}, func(lists []string) []byte {
		return redisproto.AppendVerbatim(nil, "txt", strings.Join(lists, ""), int(c.resp))
	})
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
		addr := string(r.arg(2))
		c.kill(r, func(p *client) bool { return p.conn.RemoteAddr() == addr }, func(n int64) []byte {
			if n == 0 {
				return redisproto.AppendError(nil, "ERR No such client")
			}
			return replyOK
		})
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
	c.kill(r, func(p *client) bool {
		for _, ok := range tests {
			if !ok(p) {
				return false
			}
		}
		return p != c || !skipMe
	}, func(n int64) []byte { return redisproto.AppendInt(nil, n) })
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

// kill closes the clients that match, and answers with their number. The
// client itself is closed when it has that answer.
func (c *client) kill(r *request, match func(*client) bool, answer func(n int64) []byte) {
	listener := c.f.name
	onLoops(c, r, func(w *worker) (n int64) {
		w.peers(listener, func(p *client) {
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
	}, func(counts []int64) []byte { return answer(sum(counts)) })
}

// unblockClient is CLIENT UNBLOCK. The requests before it and behind it go over other
// connections, and may be what the other client waits for.
func (c *client) unblockClient(r *request) bool {
	if r.argc() > 4 {
		c.localError(r, "ERR unknown subcommand or wrong number of arguments for '"+string(r.arg(1))+"'. Try CLIENT HELP.")
		return true
	}
	withError := r.is(3, "error")
	if r.argc() == 4 && !withError && !r.is(3, "timeout") {
		c.localError(r, "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR")
		return true
	}
	id, err := strconv.ParseUint(string(r.arg(2)), 10, 64)
	if err != nil {
		c.localError(r, "ERR value is not an integer or out of range")
		return true
	}
	if !c.barrier() {
		return false
	}
	listener := c.f.name
	onLoopsLater(c, r, func(w *worker, done func(int64)) {
		var found *client
		w.peers(listener, func(p *client) {
			if p.conn.ID() == id {
				found = p
			}
		})
		if found == nil {
			done(0)
			return
		}
		found.unblock(withError, done)
	}, func(counts []int64) []byte { return redisproto.AppendInt(nil, sum(counts)) })
	if c.ring.len() > 0 {
		c.state |= stateBarrier
	}
	return true
}
