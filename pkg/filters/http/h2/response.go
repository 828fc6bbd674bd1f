package h2

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http2/hpack"

	"github.com/dragoman-mesh/dragoman/pkg/filters/http/h1"
	"github.com/dragoman-mesh/dragoman/pkg/httpproto"
)

// holdBack is how much of a body whose length nobody has said waits for its end.
const holdBack = 4 << 10

// response writes one response. It belongs to the handler but for what is said.
type response struct {
	s        *stream
	method   string
	header   http.Header
	declared int64 // Content-Length; -1: none
	written  int64
	pending  []byte // of the body, before the head
	silent   bool   // no body may follow

	status int  // 0: not said; written with the connection's mu held
	begun  bool // the head is in the output; written with the connection's mu held
}

// encodeLocked adds a field to the header block that is being made. The name is
// lower case.
func (c *conn) encodeLocked(name, value string) {
	_ = c.encoder.WriteField(hpack.HeaderField{Name: name, Value: value}) // a buffer has no errors
}

// fieldsLocked adds a header to the block but for what HTTP/2 has no use for.
func (c *conn) fieldsLocked(h http.Header) {
	for name, values := range h {
		wire := c.lowerLocked(name)
		if wire == "" || connectionField(name) {
			continue
		}
		for _, v := range values {
			if httpproto.ValidValue(v) {
				c.encodeLocked(wire, v)
			}
		}
	}
}

// connectionField tells of a header, by its name in net/http, whether it is one of
// HTTP/1.1's connections, RFC 9113 section 8.2.2.
func connectionField(name string) bool {
	switch name {
	case "Connection", "Proxy-Connection", "Keep-Alive", "Transfer-Encoding", "Upgrade":
		return true
	default:
		return false
	}
}

// lowerLocked is a name on the wire; "": it is none of a field.
func (c *conn) lowerLocked(name string) string {
	if wire, ok := c.lower[name]; ok {
		return wire
	}
	if strings.HasPrefix(name, http.TrailerPrefix) || !httpproto.Token(name) {
		return ""
	}
	wire := strings.ToLower(name)
	const names, size = 128, 64
	if len(c.lower) < names && len(name) < size {
		c.lower[strings.Clone(name)] = wire
	}
	return wire
}

// Header implements http.ResponseWriter.
func (w *response) Header() http.Header { return w.header }

// WriteHeader implements http.ResponseWriter.
func (w *response) WriteHeader(status int) {
	if w.status != 0 {
		return
	}
	c := w.s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if status >= 100 && status < 200 {
		if status != http.StatusSwitchingProtocols { // HTTP/2 has none
			w.interimLocked(status, w.header)
		}
		return
	}
	w.status = status
	w.silent = h1.Silent(w.method, status)
	w.declared = h1.DeclaredLength(w.header)
}

// interimLocked sends a 1xx response.
func (w *response) interimLocked(status int, h http.Header) {
	s := w.s
	if s.gone != nil {
		return
	}
	s.c.encodeLocked(":status", strconv.Itoa(status))
	for name, values := range h {
		if wire := s.c.lowerLocked(name); wire != "" && wire != "content-length" && !connectionField(name) {
			for _, v := range values {
				s.c.encodeLocked(wire, v)
			}
		}
	}
	s.c.blockLocked(s.id, false)
	s.c.flushLocked(s)
}

// proceedLocked says "100 Continue".
func (w *response) proceedLocked() {
	if w.status == 0 {
		w.interimLocked(http.StatusContinue, nil)
	}
}

// trailers lists those that the handler has set.
func (w *response) trailers() http.Header {
	t := h1.LateTrailers(w.header)
	for name := range t {
		if h1.ForbiddenTrailer(name) {
			delete(t, name)
		}
	}
	return t
}

// begin writes the head; with end the response ends with it.
func (w *response) begin(end bool) error {
	c := w.s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err := c.awaitLocked(w.s, 0)
	w.begun = true
	if err != nil {
		return err
	}
	c.encodeLocked(":status", statusText(w.status))
	c.fieldsLocked(w.header)
	if w.header["Date"] == nil {
		c.encodeLocked("date", h1.Date())
	}
	c.blockLocked(w.s.id, end)
	return nil
}

func statusText(status int) string {
	if status == http.StatusOK {
		return "200"
	}
	return strconv.Itoa(status)
}

// Write implements io.Writer.
func (w *response) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	switch {
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
		if err := w.start(); err != nil {
			return 0, err
		}
	}
	if err := w.send(p, false); err != nil {
		return 0, err
	}
	return len(p), nil
}

// start writes the head, and what was held back.
func (w *response) start() error {
	if err := w.begin(false); err != nil {
		return err
	}
	p := w.pending
	w.pending = nil
	return w.send(p, false)
}

// send adds a piece of the body to the output, and waits where the client takes no
// more.
func (w *response) send(p []byte, end bool) error {
	s, c := w.s, w.s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(p) > 0 {
		n, err := c.awaitLocked(s, len(p))
		if err != nil {
			c.passLocked()
			return err
		}
		c.dataLocked(s, p[:n], end && n == len(p))
		p = p[n:]
		c.passLocked()
	}
	if len(c.out) >= sendAt {
		c.flushLocked(s)
	}
	return s.gone
}

// Flush implements http.Flusher.
func (w *response) Flush() {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if !w.begun && w.start() != nil {
		return
	}
	c := w.s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flushLocked(w.s)
}

// end completes the response. It tells whether that was possible.
func (w *response) end() bool {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if !w.silent && w.declared >= 0 && w.written != w.declared {
		return false
	}
	trailers := w.trailers()
	last := len(trailers) == 0
	if !w.begun {
		if !w.silent && w.declared < 0 && last {
			w.header["Content-Length"] = []string{strconv.Itoa(len(w.pending))}
		}
		p := w.pending
		if err := w.begin(last && len(p) == 0); err != nil {
			return false
		}
		if last && len(p) == 0 {
			return true
		}
		if len(p) > 0 {
			if w.send(p, last) != nil {
				return false
			}
			if last {
				return true
			}
		}
	}
	return w.finish(trailers)
}

// finish ends a response that has begun.
func (w *response) finish(trailers http.Header) bool {
	s, c := w.s, w.s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(trailers) == 0 {
		if c.tail != s { // what it ends with may be in the output still
			if _, err := c.awaitLocked(s, 0); err != nil {
				return false
			}
		}
		if s.gone == nil {
			c.dataLocked(s, nil, true)
		}
		return s.gone == nil
	}
	if _, err := c.awaitLocked(s, 0); err != nil {
		return false
	}
	c.fieldsLocked(trailers)
	c.blockLocked(s.id, true)
	return true
}

// SetReadDeadline is for http.ResponseController. It may be called from any
// goroutine.
func (w *response) SetReadDeadline(t time.Time) error {
	s := w.s
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	s.readTill = t
	signal(s.in)
	return nil
}

// SetWriteDeadline is for http.ResponseController. It may be called from any
// goroutine, and who waits for the client heeds it at once: for its window, or for
// its socket to take what there is of the whole connection. The latter heeds times
// only that have passed.
func (w *response) SetWriteDeadline(t time.Time) error {
	s := w.s
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	s.writeTill = t
	if s.doneLocked() {
		s.c.cutLocked(s)
	}
	signal(s.more)
	return nil
}

// EnableFullDuplex is for http.ResponseController: it is always so.
func (*response) EnableFullDuplex() error { return nil }
