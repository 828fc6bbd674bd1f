package h1

import (
	"bufio"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/httpproto"
	"github.com/dragoman-mesh/dragoman/pkg/netloop/rawio"
)

const (
	holdBack = bufferSize // of a body whose length nobody has said
	sendAt   = 16 << 10   // output is sent at this size at the latest
)

// response writes one response. mu guards the connection's output against
// "100 Continue", which a body's reader sends.
type response struct {
	c    *serverConn
	r    *http.Request
	body *requestBody

	mu       sync.Mutex
	header   http.Header
	status   int   // 0: not said
	declared int64 // Content-Length; -1: none
	written  int64
	pending  []byte // of the body, before the head
	begun    bool   // the head is in out
	chunked  bool
	silent   bool // no body may follow
	old      bool // HTTP/1.0
	last     bool // the connection ends
	err      error

	over bool // the connection's deadlines are not its own any more; guarded by the connection's deadline
}

// Header implements http.ResponseWriter.
func (w *response) Header() http.Header { return w.header }

// WriteHeader implements http.ResponseWriter.
func (w *response) WriteHeader(status int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.status != 0 {
		return
	}
	if status >= 100 && status < 200 && status != http.StatusSwitchingProtocols {
		if !w.old {
			w.interim(status)
		}
		return
	}
	w.status = status
	w.silent = Silent(w.r.Method, status)
	w.declared = DeclaredLength(w.header)
	w.last = w.last || Closes(w.header)
}

// interim sends a 1xx response. mu is held.
func (w *response) interim(status int) {
	w.c.out = AppendInterim(w.c.out, status, w.header)
	w.send(nil)
}

// proceed says "100 Continue".
func (w *response) proceed() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.begun || w.status != 0 {
		return nil
	}
	w.c.out = append(w.c.out, Continue...)
	w.send(nil)
	return w.err
}

// begin writes the head. whole says that the body is all there, in pending. mu
// is held.
func (w *response) begin(whole bool) {
	w.begun = true
	c := w.c
	if !w.silent && w.declared < 0 {
		switch {
		case whole && len(w.trailers()) == 0:
			w.declared = int64(len(w.pending))
			w.header["Content-Length"] = []string{strconv.Itoa(len(w.pending))}
		case w.old:
			w.last = true
		default:
			w.chunked = true
		}
	}
	if w.body.large() {
		w.last = true
	}
	head := ResponseHead{
		Status: w.status, Header: w.header, Chunked: w.chunked, Trailers: c.server.o.Trailers, Close: w.last, Old: w.old,
	}
	c.out = head.Append(c.out)
	if len(w.pending) > 0 {
		w.emit(w.pending)
		w.pending = nil
	}
}

// trailers lists those that the handler has set, if they may go on.
func (w *response) trailers() http.Header {
	if !w.c.server.o.Trailers {
		return nil
	}
	return LateTrailers(w.header)
}

// Write implements io.Writer.
func (w *response) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.err != nil:
		return 0, w.err
	case w.silent:
		return len(p), nil
	case w.declared >= 0 && w.written+int64(len(p)) > w.declared:
		return 0, http.ErrContentLength
	}
	w.written += int64(len(p))
	if !w.begun {
		if w.declared < 0 && len(w.pending)+len(p) <= holdBack {
			w.pending = append(w.pending, p...)
			return len(p), nil
		}
		w.begin(false)
	}
	w.emit(p)
	return len(p), w.err
}

// emit adds a piece of the body to the output. mu is held.
func (w *response) emit(p []byte) {
	if len(p) == 0 {
		return
	}
	c := w.c
	if w.chunked {
		c.out = httpproto.AppendChunkLine(c.out, len(p))
	}
	if len(p) >= sendAt/2 {
		w.send(p)
	} else {
		c.out = append(c.out, p...)
	}
	if w.chunked {
		c.out = append(c.out, '\r', '\n')
	}
	if len(c.out) >= sendAt {
		w.send(nil)
	}
}

// send hands the output to the kernel, and p after it. mu is held.
func (w *response) send(p []byte) {
	c := w.c
	if w.err == nil && len(c.out)+len(p) > 0 {
		c.armWrite()
		raw, ok := c.conn.(*rawio.Conn)
		switch {
		case ok:
			_, w.err = raw.WriteBoth(c.out, p)
		case len(p) > 0:
			list := net.Buffers{c.out, p}
			_, w.err = list.WriteTo(c.conn)
		default:
			_, w.err = c.conn.Write(c.out)
		}
	}
	c.out = c.out[:0]
}

// Flush implements http.Flusher.
func (w *response) Flush() {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.begun {
		w.begin(false)
	}
	w.send(nil)
}

// end completes the response. It tells whether that was possible.
func (w *response) end() bool {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.begun {
		w.begin(true)
	}
	if w.chunked {
		w.c.out = AppendEnd(w.c.out, w.trailers())
	}
	w.send(nil)
	if cap(w.c.out) > 2*sendAt {
		w.c.out = make([]byte, 0, bufferSize)
	}
	w.leave()
	return w.err == nil && (w.silent || w.declared < 0 || w.written == w.declared)
}

// leave gives the deadline of writing back. mu is held.
func (w *response) leave() {
	c := w.c
	c.deadline.Lock()
	defer c.deadline.Unlock()
	w.over = true
	w.last = w.last || c.cut
}

// Hijack implements http.Hijacker.
func (w *response) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.begun || w.status != 0 {
		return nil, nil, http.ErrHijacked
	}
	c := w.c
	c.state.Store(stateHijacked)
	_ = c.conn.SetDeadline(time.Time{})
	return c.conn, bufio.NewReadWriter(bufio.NewReaderSize(&c.in, 16), bufio.NewWriter(c.conn)), nil
}

// SetReadDeadline is for http.ResponseController. It may be called from any
// goroutine with a time that has passed, so that the body is not waited for.
func (w *response) SetReadDeadline(t time.Time) error {
	if w.body != nil && !t.IsZero() && time.Until(t) <= 0 {
		w.body.late.Store(true)
	}
	return w.c.setRead(t)
}

// SetWriteDeadline is for http.ResponseController. It may be called from any
// goroutine with a time that has passed: then nothing more is written, and the
// connection ends.
func (w *response) SetWriteDeadline(t time.Time) error {
	c := w.c
	c.deadline.Lock()
	defer c.deadline.Unlock()
	if w.over {
		return net.ErrClosed
	}
	c.writeUntil, c.cut = t, c.cut || !t.IsZero() && time.Until(t) <= 0
	return c.conn.SetWriteDeadline(t)
}

// EnableFullDuplex is for http.ResponseController: it is always so.
func (w *response) EnableFullDuplex() error { return nil }

func appendStatus(b []byte, status int) []byte {
	b = strconv.AppendInt(b, int64(status), 10)
	b = append(b, ' ')
	b = append(b, http.StatusText(status)...)
	return append(b, '\r', '\n')
}

// dated is a Date header with the second that it is for.
type dated struct {
	second int64
	text   string
}

//nolint:gochecknoglobals // a cache of what the clock says
var lastDate atomic.Pointer[dated]

// Date is the time as a Date header has it, made once a second.
func Date() string {
	now := time.Now()
	if d := lastDate.Load(); d != nil && d.second == now.Unix() {
		return d.text
	}
	d := &dated{now.Unix(), now.UTC().Format(http.TimeFormat)}
	lastDate.Store(d)
	return d.text
}
