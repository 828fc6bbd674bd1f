package http

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"slices"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/filters/http/h1"
	"github.com/dragoman-mesh/dragoman/pkg/filters/http/pool"
	"github.com/dragoman-mesh/dragoman/pkg/httpproto"
)

var (
	errGone          = context.Canceled // the client has gone
	errUnexpectedEnd = io.ErrUnexpectedEOF
)

// loopRequest is a request that an event loop serves, with its answer. What is
// decided, exchange and passage do, as for requests with a goroutine; here is only
// what waits. Its memory is used for one request after the other, of any client of
// the loop.
type loopRequest struct {
	c      *loopClient
	serial uint64 // tells requests of the same memory apart
	chain  *chain
	x      exchange
	p      passage
	w      loopWriter
	clock  timeouts

	head   httpproto.Head
	r      http.Request
	url    url.URL
	header http.Header
	values []string

	try      int // so many were begun
	endpoint *filters.Endpoint
	up       *loopUpstream // of the try under way; nil: between tries
	wait     *pool.Wait    // for a connection
	host     string        // of the try
	trying   bool
	counted  bool // at the endpoint
	entered  bool // the pool
	repeated bool // on another connection, since the first had met its end
	sent     bool // something of the try
	expect   bool // the client waits for "100 Continue"
	aborted  bool // the answer is not whole

	buffered   int  // output of both sides, when it was looked at last
	keep, lost bool // of the body, for another try
	kept       []byte

	// of the answer
	answer   httpproto.Head
	resp     http.Response
	fields   http.Header
	texts    []string
	body     httpproto.Body
	seen     int  // bytes of its head that were looked at
	answered bool // something of it is there
	reusable bool // the connection, after it
}

// reset makes the memory ready for a request.
func (q *loopRequest) reset(c *loopClient) {
	*q = loopRequest{
		c: c, serial: q.serial + 1, header: q.header, values: q.values, fields: q.fields, texts: q.texts, kept: q.kept[:0],
		w:    loopWriter{q: q, header: q.w.header, pending: q.w.pending[:0], held: q.w.held[:0], declared: -1},
		head: httpproto.Head{Fields: q.head.Fields[:0]}, answer: httpproto.Head{Fields: q.answer.Fields[:0]}, body: q.body,
		x: exchange{cancel: q.x.cancel, loop: c.conn.Loop()}, p: passage{tried: q.p.tried[:0], key: q.p.key[:0]},
	}
	q.x.writer = responseWriter{ResponseWriter: &q.w, x: &q.x}
}

// fill makes net/http's request of the head; false: its target is none.
func (q *loopRequest) fill(f *httpproto.Framing) bool {
	h := &q.head
	q.values = h1.FillHeader(q.header, q.values, h.Fields)
	delete(q.header, "Host")
	q.r = *q.c.base
	r := &q.r
	r.Method, r.RequestURI, r.ProtoMinor, r.Header, r.Host = h.Method, h.Target, h.Minor, q.header, f.Host
	r.Proto = "HTTP/1.1"
	if h.Minor == 0 {
		r.Proto = "HTTP/1.0"
	}
	r.ContentLength = f.Length
	if f.Length < 0 && !f.Chunked {
		r.ContentLength = 0
	}
	if r.URL = h1.Target(h.Method, h.Target); r.URL == nil {
		return false
	}
	if r.URL.Host != "" {
		r.Host = r.URL.Host // of the absolute form, RFC 9112 section 3.2.2
	}
	return true
}

// admitted says that the loop serves the request; otherwise nothing has happened
// yet.
func (q *loopRequest) admitted() bool {
	q.chain = q.c.server.chain.Load()
	if q.chain.router == nil {
		return false
	}
	x := &q.x
	x.chain, x.start, x.original = q.chain, x.now(), &q.r
	if !x.admit(&q.r) {
		return true // and it is answered
	}
	x.find()
	q.p.rt, q.p.x, q.p.w, q.p.in = q.chain.router, x, &x.writer, &q.r
	return !x.wantsGoroutine(&q.p)
}

// serve has the request answered, now or later.
func (q *loopRequest) serve() {
	q.chain.enter(&q.x)
	if q.x.writer.status != 0 { // refused
		q.finish()
		return
	}
	q.x.spans = q.chain.tracing.begin(&q.x, &q.r)
	if q.chain.router.answers(&q.x.writer, &q.x) {
		q.finish()
		return
	}
	q.p.route = q.x.route.Forward
	if !q.p.enter() {
		q.finish()
		return
	}
	q.entered = true
	if !q.c.body.Over() {
		q.p.keeper, q.keep = q, q.p.keeps()
	}
	q.startClock()
	q.attempt()
}

// startClock begins the request's timeouts.
func (q *loopRequest) startClock() {
	q.clock = q.p.timeouts()
	k := &q.c.clock
	k.set(dueAge, q.x.maxAge())
	if q.c.body.Over() {
		q.requested()
		return
	}
	k.set(dueRequest, q.clock.request)
	k.set(dueStill, q.clock.still)
}

// requested says that the request is complete: the timeout of the route begins.
func (q *loopRequest) requested() {
	k := &q.c.clock
	k.set(dueRequest, 0)
	if q.clock.bound > 0 {
		k.set(dueBound, q.clock.bound)
	} else if !k.isSet(dueStill) {
		k.set(dueStill, q.clock.still)
	}
}

// touch says that something has happened.
func (q *loopRequest) touch() {
	if q.c.clock.isSet(dueStill) {
		q.c.clock.set(dueStill, q.clock.still)
	}
}

// still is called when nothing was sent or received for too long, as far as
// drivers know. A slow peer may be taking what waits for it.
func (q *loopRequest) still() {
	n := q.c.conn.Buffered()
	if q.up != nil {
		n += q.up.conn.Buffered()
	}
	if n != q.buffered {
		q.buffered = n
		q.c.clock.set(dueStill, q.clock.still)
		return
	}
	q.cancel(errStreamIdle)
}

// deliver passes on what the tries have brought.
func (q *loopRequest) deliver(o *outcome) {
	if o.err != nil {
		q.drop()
		q.p.failed(o.err)
		q.finish()
		return
	}
	if o.resp.StatusCode == http.StatusSwitchingProtocols {
		q.drop()
		q.p.count(o.resp.StatusCode)
		q.p.unasked()
		q.finish()
		return
	}
	q.p.head(o.resp)
	q.w.begin(false)
	if !q.c.body.Over() && !q.c.clock.isSet(dueStill) {
		q.c.clock.set(dueStill, q.clock.still)
	}
}

// cancel ends the request early.
func (q *loopRequest) cancel(why error) {
	if q.x.why == nil {
		q.x.why = why
	}
	q.stop(why)
}

// stop ends whatever the request is at.
func (q *loopRequest) stop(err error) {
	switch {
	case q.trying:
		q.tried(&outcome{err: err, sent: q.sent})
	case q.c.clock.isSet(duePause):
		q.c.clock.set(duePause, 0)
		q.p.pool.DoneRetry()
		q.deliver(&outcome{err: err})
	default:
		q.broken(err)
	}
}

// unreadable ends a request whose body is none, or has no end.
func (q *loopRequest) unreadable(err error) {
	q.lost, q.w.last = true, true
	q.stop(&h1.BodyError{Err: err})
}

// broken ends an answer whose rest will not come.
func (q *loopRequest) broken(err error) {
	q.drop()
	q.p.broken(err)
	q.finish()
}

// abandon ends a request that a panic has ended.
func (q *loopRequest) abandon() {
	q.x.Explain("", "panic")
	q.drop()
	if q.entered {
		q.p.pool.Leave()
	}
	q.c.clock.clear()
	q.chain.finish(&q.x)
	q.chain.leave(&q.x)
}

// finish ends the request.
func (q *loopRequest) finish() {
	c := q.c
	whole := q.w.end()
	q.drop()
	if q.entered {
		q.p.pool.Leave()
	}
	c.clock.clear()
	q.chain.finish(&q.x)
	q.chain.leave(&q.x)
	c.over(q, whole)
}

// replayable implements keeper.
func (q *loopRequest) replayable() bool { return !q.lost }

// forget drops what would keep other memory alive.
func (q *loopRequest) forget() {
	clear(q.header)
	clear(q.fields)
	clear(q.w.header)
	clear(q.values)
	clear(q.texts)
	clear(q.head.Fields)
	clear(q.answer.Fields)
	clear(q.p.tried)
	q.p = passage{tried: slices.Clip(q.p.tried)[:0], key: q.p.key[:0]}
	q.r, q.resp, q.url = http.Request{}, http.Response{}, url.URL{}
	q.c, q.chain, q.endpoint, q.x.loop = nil, nil, nil, nil
	const most = 16 << 10
	if cap(q.kept) > most {
		q.kept = nil
	}
	if cap(q.w.pending) > most {
		q.w.pending = nil
	}
	if cap(q.w.held) > most {
		q.w.held = nil
	}
}
