package http

import (
	"net/http"

	"github.com/dragoman-mesh/dragoman/pkg/filters/http/h1"
)

// attempt begins a try.
func (q *loopRequest) attempt() {
	q.try++
	x := &q.x
	x.upstream.attempts = q.try
	if q.endpoint = q.p.pick(); q.endpoint == nil {
		x.fail(q.p.w, http.StatusServiceUnavailable, "UH", "no_healthy_upstream", "no healthy upstream")
		q.finish()
		return
	}
	q.host, q.trying, q.repeated = q.p.aim(q.endpoint), true, false
	x.upstream.protocol = "HTTP/1.1"
	if r := q.p.retry; r != nil {
		q.c.clock.set(dueTry, r.PerTry)
	}
	q.connect()
}

// connect finds the try a connection, now or later.
func (q *loopRequest) connect() {
	if !q.counted {
		q.counted = true
		q.p.pool.Begin(q.endpoint)
	}
	up, wait, err := q.c.worker.take(q)
	switch {
	case err != nil:
		q.tried(&outcome{err: err})
	case wait != nil:
		q.wait = wait
	default:
		q.send(up)
	}
}

// woken is the end of a wait for a connection.
func (q *loopRequest) woken() {
	if q.wait == nil {
		return
	}
	q.wait = nil
	q.connect()
}

// send sends the head, and what is kept of the body. The rest follows as it
// comes, once the endpoint has taken the connection.
func (q *loopRequest) send(up *loopUpstream) {
	q.up, up.request = up, q
	q.sent, q.answered, q.seen = up.ready, false, 0
	c := q.c
	length := q.r.ContentLength
	out := h1.AppendRequest(c.worker.out[:0], q.r.Method, q.p.target, q.host, q.header, length)
	up.conn.Write(out)
	c.worker.out = out[:0]
	if len(q.kept) > 0 {
		q.forward(q.kept)
	}
	if q.p.keeper == nil {
		return
	}
	if c.body.Over() {
		q.ended()
		return
	}
	if up.ready {
		q.proceed()
	}
}

// ready is told that the endpoint has taken the connection.
func (q *loopRequest) ready() {
	q.sent = true
	if q.p.keeper != nil {
		q.proceed()
	}
}

// proceed begins to take the body.
func (q *loopRequest) proceed() {
	if q.expect {
		q.expect = false
		if q.w.status == 0 {
			q.c.conn.WriteString(h1.Continue)
		}
	}
	q.c.conn.Resume()
}

// tried is told how the try has ended: with a response's head, or without one.
func (q *loopRequest) tried(o *outcome) {
	p := &q.p
	q.trying = false
	q.c.clock.set(dueTry, 0)
	if o.err != nil && q.up != nil && q.up.uses > 1 && !q.repeated && p.mayRepeat(q.answered, o.err) {
		// The endpoint closed a connection that was idle, at the moment we used it.
		q.drop()
		q.repeated, q.trying = true, true
		q.connect()
		return
	}
	p.report(q.endpoint, o.resp, o.err)
	if o.resp != nil {
		q.x.upstream.answered = q.x.now()
	}
	retrying := p.worth(o, q.try)
	if retrying && p.pool.MayRetry() {
		q.drop()
		p.tried = append(p.tried, q.endpoint)
		q.c.clock.set(duePause, max(p.backoff(q.try), 1))
		return
	}
	if retrying {
		q.x.flag = "URX"
	}
	q.deliver(o)
}

// again is the end of the pause between two tries.
func (q *loopRequest) again() {
	q.p.pool.DoneRetry()
	q.attempt()
}

// drop gives the try's connection up, or the wait for one.
func (q *loopRequest) drop() {
	if q.wait != nil {
		q.p.pool.Abandon(q.wait)
		q.wait = nil
	}
	if up := q.up; up != nil {
		q.up, up.request = nil, nil
		up.conn.Close()
	}
	if q.counted {
		q.counted = false
		q.p.pool.End(q.endpoint)
	}
}
