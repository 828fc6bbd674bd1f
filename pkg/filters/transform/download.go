package transform

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"time"
)

// download is a response that is changed record by record on its way.
type download struct {
	in   *io.PipeWriter
	late http.Header // what the app says after its head: trailers
	done chan struct{}
	err  error // read after done
	sink
}

// startStream has the body changed while it goes on.
func (w *responseWriter) startStream() {
	if err := w.x.take(mostWindow(w.coding)); err != nil {
		w.drop(bodyRefusal(err, false))
		return
	}
	h := w.x.w.Header()
	contentType := h.Get("Content-Type")
	out, in := io.Pipe()
	d := &download{in: in, late: h.Clone(), done: make(chan struct{})}
	p := w.x.program(w.body)
	drop(h)
	weaken(h)
	h.Set("Content-Type", p.ContentType(nil))
	status := w.mapped(w.status)
	d.sink = sink{w: w.x.w, head: func() { w.send(status) }}
	w.stream = d
	source := &counting{r: decoded(out, w.coding)}
	go func() {
		defer close(d.done)
		begun := time.Now()
		d.err = p.Stream(w.x.in.Context(), &d.sink, source, contentType)
		_ = out.CloseWithError(errors.Join(d.err, errAnswered))
		if d.err == nil {
			w.x.converted(response, source.n, d.n, time.Since(begun))
		}
	}()
}

// stop ends the stream.
func (d *download) stop(err error) {
	_ = d.in.CloseWithError(err)
	<-d.done
}

// endStream ends a stream whose source is whole.
func (w *responseWriter) endStream() {
	d := w.stream
	if d == nil { // no body has come
		w.send(w.mapped(w.status))
		return
	}
	d.stop(io.EOF)
	if d.err != nil {
		e := bodyRefusal(d.err, true)
		if !d.begun.Load() {
			w.refuse(response, e)
			return
		}
		w.late(e)
		panic(http.ErrAbortHandler) // too late for an answer: the client must not take it for whole
	}
	d.begin()
	h := w.x.w.Header()
	drop(d.late)
	for name, values := range d.late {
		if strings.HasPrefix(name, http.TrailerPrefix) {
			h[name] = values
		}
	}
}
