package http

import (
	"net/http"

	"github.com/dragoman-mesh/dragoman/pkg/filters/http/h1"
	"github.com/dragoman-mesh/dragoman/pkg/httpproto"
)

// response takes what the endpoint has sent. It tells how much of it.
func (q *loopRequest) response(up *loopUpstream, b []byte) int {
	used := 0
	for q.up == up && !q.resumed() {
		n, err := q.takeAnswer(b[used:])
		if err != nil {
			q.tried(&outcome{err: err, sent: true})
			return len(b)
		}
		if n == 0 {
			return used
		}
		used += n
	}
	if q.up != up {
		return len(b) // another try is under way, or the client got its answer
	}
	return used + q.takeBody(b[used:])
}

// resumed says that the head of the answer has been passed on.
func (q *loopRequest) resumed() bool { return q.w.begun }

// takeAnswer takes a head, of 1xx responses too.
func (q *loopRequest) takeAnswer(b []byte) (int, error) {
	q.answered = q.answered || len(b) > 0
	limits := q.p.pool.Limits()
	n, err := httpproto.End(b, q.seen, limits.HeadBytes)
	if n == 0 || err != nil {
		q.seen = len(b)
		return 0, err
	}
	q.seen = 0
	h := &q.answer
	if err := httpproto.ParseResponse(string(b[:n]), h, httpproto.Limits{Bytes: limits.HeadBytes, Fields: limits.Fields}); err != nil {
		return 0, err
	}
	if h.Status >= 200 {
		return n, q.receive(h)
	}
	switch h.Status {
	case http.StatusContinue: // the proxy says it itself
	case http.StatusSwitchingProtocols: // nobody has asked for that
		q.resp = http.Response{StatusCode: h.Status}
		q.tried(&outcome{resp: &q.resp, sent: true})
	default:
		fields := make(http.Header, len(h.Fields))
		h1.FillHeader(fields, make([]string, len(h.Fields)), h.Fields)
		q.p.inform(h.Status, fields)
	}
	return n, nil
}

// receive makes net/http's response of a head.
func (q *loopRequest) receive(h *httpproto.Head) error {
	f, err := httpproto.FramingOf(h, true)
	if err != nil {
		return err
	}
	clear(q.fields)
	q.texts = h1.FillHeader(q.fields, q.texts, h.Fields)
	q.resp = http.Response{StatusCode: h.Status, ProtoMajor: 1, ProtoMinor: h.Minor, Header: q.fields, ContentLength: f.Length}
	q.reusable = !f.Close
	if h1.Silent(q.r.Method, h.Status) {
		f = httpproto.Framing{}
	}
	limits := q.p.pool.Limits()
	q.body.Start(&f, true, httpproto.Limits{Bytes: limits.HeadBytes, Fields: limits.Fields})
	q.tried(&outcome{resp: &q.resp, sent: true})
	return nil
}

// takeBody passes on what the endpoint has sent of the body.
func (q *loopRequest) takeBody(b []byte) int {
	used := 0
	for {
		if q.body.Over() {
			q.complete(used == len(b))
			return len(b)
		}
		data, n, err := q.body.Next(b[used:])
		used += n
		if err != nil {
			q.broken(err)
			return len(b)
		}
		if len(data) == 0 && !q.body.Over() {
			q.w.hold()
			if used > 0 && !q.c.clock.isSet(dueStill) {
				q.c.clock.set(dueStill, q.clock.still)
			}
			q.touch()
			return used
		}
		if len(data) > 0 {
			q.x.writer.sent += int64(len(data))
			q.w.pass(data)
		}
	}
}

// complete ends the answer. alone says that nothing came behind it.
func (q *loopRequest) complete(alone bool) {
	if fields := q.body.Trailer(); len(fields) > 0 {
		q.resp.Trailer = h1.TrailerOf(fields)
		q.p.trailers(&q.resp)
	}
	q.x.upstream.ended = q.x.now()
	if up := q.up; alone && q.reusable && q.c.body.Over() {
		q.up, up.request = nil, nil
		q.c.worker.give(up)
	}
	q.finish()
}

// endOfInput is the end of what the endpoint sends.
func (q *loopRequest) endOfInput(err error) {
	switch {
	case q.trying:
		q.tried(&outcome{err: err, sent: q.sent})
	case q.body.Endless():
		q.reusable = false
		q.body = httpproto.Body{}
		q.complete(true)
	default:
		q.broken(err)
	}
}
