package http

import (
	"net/http"

	"github.com/dragoman-mesh/dragoman/pkg/filters/http/h1"
	"github.com/dragoman-mesh/dragoman/pkg/httpproto"
)

// feed passes on what the client's input has of the body.
func (q *loopRequest) feed(b []byte) int {
	c := q.c
	if q.up == nil || !q.up.ready {
		c.conn.Pause()
		return 0
	}
	used := 0
	for {
		data, n, err := c.body.Next(b[used:])
		used += n
		if err != nil {
			q.unreadable(err)
			return used
		}
		if len(data) > 0 {
			q.x.received.Add(int64(len(data)))
			q.save(data)
			q.forward(data)
		}
		if c.body.Over() {
			q.ended()
			q.requested()
			return used
		}
		if len(data) == 0 {
			q.touch()
			return used
		}
	}
}

// save keeps a piece of the body, as long as all of it is not too much.
func (q *loopRequest) save(b []byte) {
	switch {
	case !q.keep:
		q.lost = true
	case q.lost:
	case len(q.kept)+len(b) > replayLimit:
		q.lost, q.kept = true, q.kept[:0]
	default:
		q.kept = append(q.kept, b...)
	}
}

// forward sends a piece of the body.
func (q *loopRequest) forward(b []byte) {
	conn := q.up.conn
	chunked := q.r.ContentLength < 0
	if chunked {
		var line [20]byte
		conn.Write(httpproto.AppendChunkLine(line[:0], len(b)))
	}
	if len(b) >= ownFrom {
		conn.WriteChunk(q.c.conn.Own(b))
	} else {
		conn.Write(b)
	}
	if chunked {
		conn.WriteString("\r\n")
	}
	if conn.Full() {
		q.c.conn.Pause()
	}
}

// ended sends what follows the body.
func (q *loopRequest) ended() {
	if q.r.ContentLength >= 0 {
		return
	}
	var trailer http.Header
	if q.c.server.conf.HTTP1.Trailers {
		trailer = h1.TrailerOf(q.c.body.Trailer())
	}
	q.up.conn.Write(h1.AppendEnd(nil, trailer))
}
