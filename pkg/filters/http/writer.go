package http

import (
	"net/http"

	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// responseWriter is what filters answer with. It does to the response's head
// what the connection manager and the route ask for.
type responseWriter struct {
	http.ResponseWriter
	x      *exchange
	status int   // 0: not written yet
	sent   int64 // bytes of the body
}

// Unwrap is for http.ResponseController.
func (w *responseWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader implements http.ResponseWriter.
func (w *responseWriter) WriteHeader(status int) {
	if status >= 200 && w.status == 0 {
		w.status = status
		w.finish()
		if w.x.loop == nil {
			w.x.begun.Store(true)
		}
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements io.Writer.
func (w *responseWriter) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	c := w.x.clock.Load()
	if c == nil {
		n, err := w.ResponseWriter.Write(p)
		w.sent += int64(n)
		return n, err
	}
	return w.writePieces(p, c)
}

// writePieces writes what a filter may have held back, all of it at once: a client
// that is slow and takes some is not one that takes nothing.
func (w *responseWriter) writePieces(p []byte, c *clock) (int, error) {
	const size = 64 << 10
	total := 0
	for {
		n, err := w.ResponseWriter.Write(p[:min(len(p), size)])
		total += n
		w.sent += int64(n)
		c.touch()
		if p = p[n:]; err != nil || len(p) == 0 {
			return total, err
		}
	}
}

// Flush implements http.Flusher.
func (w *responseWriter) Flush() {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	_ = http.NewResponseController(w.ResponseWriter).Flush() // fails with the next Write too
}

// finish changes the head as configured.
func (w *responseWriter) finish() {
	h, o := w.Header(), &w.x.chain.conf.Headers
	w.x.changeResponse(h)
	switch o.Server {
	case resource.ServerOverwrite:
		h["Server"] = w.x.chain.serverName
	case resource.ServerIfAbsent:
		if h["Server"] == nil {
			h["Server"] = w.x.chain.serverName
		}
	}
	if o.Via != "" {
		h.Add("Via", o.Via)
	}
	if o.ReturnRequestID {
		h["X-Request-Id"] = w.x.request.Header["X-Request-Id"]
	}
}
