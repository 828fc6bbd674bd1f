package transform

import (
	"net/http"

	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// responseWriter changes a response's head.
type responseWriter struct {
	http.ResponseWriter
	conf   *resource.TransformResponse
	values *values
	done   bool
}

// Unwrap is for http.ResponseController.
func (w *responseWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader implements http.ResponseWriter.
func (w *responseWriter) WriteHeader(status int) {
	if status >= 200 && !w.done {
		w.done = true
		changeHeaders(w.Header(), &w.conf.Headers, w.values)
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements io.Writer.
func (w *responseWriter) Write(p []byte) (int, error) {
	if !w.done {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriter.Write(p)
}

// Flush implements http.Flusher.
func (w *responseWriter) Flush() {
	if !w.done {
		w.WriteHeader(http.StatusOK)
	}
	_ = http.NewResponseController(w.ResponseWriter).Flush() // fails with the next Write too
}
