package http

import (
	"net/http"
	"strconv"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/filters/http/h1"
	"github.com/dragoman-mesh/dragoman/pkg/httpproto"
)

// loopWriter is the http.ResponseWriter of a request that an event loop serves. It
// never blocks: answers of the proxy's own are short, and those of endpoints are
// paused when the client is slow.
type loopWriter struct {
	q        *loopRequest
	header   http.Header
	pending  []byte // of the body, before the head
	held     []byte // the head, which waits for the body's first piece
	status   int    // 0: not said
	declared int64  // Content-Length; -1: none
	written  int64
	begun    bool // the head is written
	chunked  bool
	silent   bool // no body may follow
	last     bool // the connection ends
}

// Header implements http.ResponseWriter.
func (w *loopWriter) Header() http.Header { return w.header }

// WriteHeader implements http.ResponseWriter.
func (w *loopWriter) WriteHeader(status int) {
	switch {
	case w.status != 0:
	case status >= 100 && status < 200:
		if w.q.head.Minor > 0 {
			w.q.c.conn.Write(h1.AppendInterim(w.q.c.worker.out[:0], status, w.header))
		}
	default:
		w.status = status
		w.silent = h1.Silent(w.q.r.Method, status)
		w.declared = h1.DeclaredLength(w.header)
		w.last = w.last || h1.Closes(w.header)
	}
}

// Write implements io.Writer.
func (w *loopWriter) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if !w.silent {
		w.pending = append(w.pending, p...)
		w.written += int64(len(p))
	}
	return len(p), nil
}

// abort implements aborter.
func (w *loopWriter) abort() { w.q.aborted = true }

// begin writes the head. whole says that the body is all there, in pending.
func (w *loopWriter) begin(whole bool) {
	w.begun = true
	q := w.q
	if !w.silent && w.declared < 0 {
		switch {
		case whole:
			w.declared = int64(len(w.pending))
			w.header["Content-Length"] = []string{strconv.Itoa(len(w.pending))}
		case q.head.Minor == 0:
			w.last = true
		default:
			w.chunked = true
		}
	}
	if b := &q.c.body; !b.Over() && (q.expect || !h1.WorthReading(b.Left())) {
		w.last = true
	}
	head := h1.ResponseHead{
		Status: w.status, Header: w.header, Chunked: w.chunked, Trailers: q.c.server.conf.HTTP1.Trailers, Close: w.last, Old: q.head.Minor == 0,
	}
	out := head.Append(q.c.worker.out[:0])
	out = append(out, w.pending...)
	if !whole && w.declared > 0 && !w.silent {
		w.held = append(w.held[:0], out...)
	} else {
		q.c.conn.Write(out)
	}
	q.c.worker.out = out[:0]
}

// holdHead is how long a head waits for a body whose length is known. Servers
// write the two one after the other: a client that was sent the head alone would
// be woken twice.
const holdHead = time.Millisecond

// hold has a head that nothing has come behind yet wait no longer than that.
func (w *loopWriter) hold() {
	if len(w.held) > 0 && !w.q.c.clock.isSet(dueHeld) {
		w.q.c.clock.set(dueHeld, holdHead)
	}
}

// release writes the head that was held back.
func (w *loopWriter) release() {
	if len(w.held) == 0 {
		return
	}
	w.q.c.clock.set(dueHeld, 0)
	w.q.c.conn.Write(w.held)
	w.held = w.held[:0]
}

// pass passes a piece of an endpoint's body on, which b is: a part of what its
// connection's driver is being shown.
func (w *loopWriter) pass(b []byte) {
	conn := w.q.c.conn
	w.release()
	w.written += int64(len(b))
	if w.chunked {
		var line [20]byte
		conn.Write(httpproto.AppendChunkLine(line[:0], len(b)))
	}
	if len(b) >= ownFrom {
		conn.WriteChunk(w.q.up.conn.Own(b))
	} else {
		conn.Write(b)
	}
	if w.chunked {
		conn.WriteString("\r\n")
	}
	if conn.Full() {
		w.q.up.conn.Pause()
	}
}

// ownFrom is the size in bytes from which input is passed on by ownership.
const ownFrom = 16 << 10

// end completes the response. It tells whether that was possible.
func (w *loopWriter) end() bool {
	w.release()
	if w.q.aborted {
		return false
	}
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if !w.begun {
		w.begin(true)
	}
	if w.chunked {
		var trailer http.Header
		if w.q.c.server.conf.HTTP1.Trailers {
			trailer = h1.LateTrailers(w.header)
		}
		w.q.c.conn.Write(h1.AppendEnd(w.q.c.worker.out[:0], trailer))
	}
	return w.silent || w.declared < 0 || w.written == w.declared
}
