package transform

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/transform"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// way is what becomes of the body of a response.
type way uint8

const (
	undecided way = iota
	passing       // goes on as it is
	dropped       // nobody is to see it: a refusal takes its place, or there is none
	held          // is changed when all of it is there
	streamed      // is changed record by record
)

// responseWriter is what the app's response is written to.
type responseWriter struct {
	x *exchange

	way     way
	status  int  // of the app
	sent    bool // the head has gone to the client, or is the download's to send
	refusal *refusal
	refused bool                      // the refusal is of the body, which is read no further
	body    *resource.TransformBody   // what becomes of it; nil: as it is
	schema  *resource.TransformSchema // nil: none
	coding  string                    // of the app's body
	held    []byte
	stream  *download
	before  http.Header // of the app, where somebody listens
}

// forward has next answer, and changes what it answers.
func (x *exchange) forward(next http.Handler) {
	w := &responseWriter{x: x}
	defer func() {
		p := recover()
		x.settle(w, p)
	}()
	x.goOn(w, next)
}

// settle ends an exchange after the app's response, or a panic in its place.
func (x *exchange) settle(w *responseWriter, p any) {
	failure := x.upload.end()
	if p != nil && (p != any(http.ErrAbortHandler) || w.committed() || x.in.Context().Err() != nil) {
		w.abort()
		if e := w.broken(); w.stream != nil && e.reason != "broken" && e.reason != "failed" {
			w.late(e)
		}
		panic(p)
	}
	switch {
	case failure != nil && !w.committed() && x.in.Context().Err() == nil:
		w.abort()
		w.refuse(request, bodyRefusal(failure, false))
	case p != nil && w.refusal == nil:
		w.abort()
		w.refuse(response, w.broken())
	default:
		w.finish()
	}
}

// broken says why a response ends early: the app has ended it, or the change of it has.
func (w *responseWriter) broken() *refusal {
	if d := w.stream; d != nil && d.err != nil && !errors.Is(d.err, http.ErrAbortHandler) {
		return bodyRefusal(d.err, true)
	}
	return w.bad("broken", "the app's response broke off")
}

// late is a refusal that comes when the client has the beginning of a response.
func (w *responseWriter) late(e *refusal) {
	w.x.failed(response, e)
	filters.ExchangeOf(w.x.in.Context()).Explain("", "transform_"+e.reason)
}

// Unwrap is for http.ResponseController.
func (w *responseWriter) Unwrap() http.ResponseWriter { return w.x.w }

// Header implements http.ResponseWriter.
func (w *responseWriter) Header() http.Header {
	if w.stream != nil {
		return w.stream.late
	}
	return w.x.w.Header()
}

// WriteHeader implements http.ResponseWriter.
func (w *responseWriter) WriteHeader(status int) {
	switch {
	case status < 200 && status != http.StatusSwitchingProtocols:
		w.x.w.WriteHeader(status)
	case w.way == undecided:
		w.status = status
		w.decide()
	}
}

// decide says what becomes of the body.
func (w *responseWriter) decide() {
	if w.x.recording() {
		w.before = w.x.w.Header().Clone()
	}
	if err := w.x.upload.failure(); err != nil {
		w.way, w.refusal, w.refused = dropped, bodyRefusal(err, false), true // settle counts it
		return
	}
	conf := w.x.conf.Response
	if conf != nil && conf.Body != nil && conf.Body.AsIs && w.status != http.StatusSwitchingProtocols {
		w.x.w.Header().Add("Vary", "Accept")
	}
	if w.status == http.StatusNotModified && conf != nil && conf.Body != nil && !w.x.asIs {
		weaken(w.x.w.Header()) // as that of the 200 that the client has, RFC 9110 section 15.4.5
	}
	if conf == nil || w.status == http.StatusSwitchingProtocols || w.status == http.StatusNoContent || w.status == http.StatusNotModified {
		w.pass()
		return
	}
	if w.status < 400 {
		w.body, w.schema = conf.Body, conf.Schema
	} else if w.body = conf.Error; w.body == nil && conf.Body != nil {
		w.body = &resource.TransformBody{From: conf.Body.From, To: conf.Body.To} // there is no program
	}
	if w.x.asIs {
		w.body = nil
	}
	if w.body == nil && w.schema == nil || w.empty() {
		w.pass()
		return
	}
	w.change()
}

// empty tells of a response whose body is known to be none.
func (w *responseWriter) empty() bool {
	h := w.x.w.Header()
	switch h.Get("Content-Length") {
	case "0":
		return !w.emptyList()
	case "":
		return h.Get("Content-Type") == "" && w.x.in.Method == http.MethodHead
	default:
		return false
	}
}

// emptyList tells whether a body without a byte says something: that there are no
// records.
func (w *responseWriter) emptyList() bool {
	if w.body == nil || w.body.From != transform.NDJSON && w.body.From != transform.CSV {
		return false
	}
	contentType := w.x.w.Header().Get("Content-Type")
	return contentType != "" && transform.Accepts(w.body.From, contentType)
}

// change begins to change a body.
func (w *responseWriter) change() {
	h := w.x.w.Header()
	contentType := h.Get("Content-Type")
	var from transform.Format
	if w.body != nil {
		from = w.body.From
	} else {
		from = w.schema.Format
	}
	if contentType != "" && !transform.Accepts(from, contentType) {
		w.other(contentType, from)
		return
	}
	if w.status == http.StatusPartialContent {
		w.drop(w.bad("content_type", "the app's response is a part, which cannot be changed"))
		return
	}
	if w.body != nil && w.body.Program == nil {
		w.opaque()
		return
	}
	var err error
	if w.coding, err = codingOf(h); err != nil {
		w.drop(w.bad("content_coding", "the app's response: "+err.Error()))
		return
	}
	switch {
	case w.x.in.Method == http.MethodHead:
		w.headOnly()
	case w.schema == nil && w.body.Program.Streams() && len(w.body.Values) == 0 && !w.x.recording():
		w.way = streamed
		if w.emptyList() {
			w.startStream()
		} // else only with its first byte: of no body nothing is made
	default:
		w.way = held
	}
}

func (*responseWriter) bad(reason, detail string) *refusal {
	return &refusal{status: http.StatusBadGateway, reason: reason, detail: detail}
}

// other is of a response in another format than the route says.
func (w *responseWriter) other(contentType string, from transform.Format) {
	switch {
	case w.status >= 400 && w.x.soapVersion() != "":
		w.opaque()
	case w.status >= 300:
		w.pass() // an error page, or that of a redirect
	default:
		media, _, _ := strings.Cut(contentType, ";")
		w.drop(w.bad("content_type", fmt.Sprintf("the app's response is %s, and not %s", media, from)))
	}
}

// opaque answers with the status of an error whose body says nothing that can be
// changed.
func (w *responseWriter) opaque() {
	e := &refusal{status: w.mapped(w.status), reason: "app_error", detail: "the app answers " + strconv.Itoa(w.status) + " " + http.StatusText(w.status)}
	w.way, w.refusal = dropped, e
}

// headOnly answers HEAD, whose body nobody has made.
func (w *responseWriter) headOnly() {
	if w.body != nil {
		h := w.x.w.Header()
		drop(h)
		weaken(h)
		h.Set("Content-Type", w.x.program(w.body).ContentType(nil))
	}
	w.way = dropped
	w.send(w.mapped(w.status))
}

// pass lets the body go on as it is.
func (w *responseWriter) pass() {
	w.way = passing
	status := w.status
	if conf := w.x.conf.Response; conf != nil {
		if bodyAllowed(status) {
			status = w.mapped(status)
		}
	}
	w.send(status)
}

func bodyAllowed(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified
}

// mapped is the status that the client gets.
func (w *responseWriter) mapped(status int) int {
	conf := w.x.conf.Response
	if to, ok := conf.Status[status]; ok {
		return to
	}
	if to, ok := conf.Status[status/100]; ok {
		return to
	}
	return status
}

// send sends the head.
func (w *responseWriter) send(status int) {
	if conf := w.x.conf.Response; conf != nil {
		changeHeaders(w.x.w.Header(), &conf.Headers, w.x.values)
	}
	w.x.ownHeaders()
	w.sent = true
	if w.x.recording() {
		if status != w.status {
			w.x.note(Step{Response: true, What: "status", Before: strconv.Itoa(w.status), After: strconv.Itoa(status)})
		}
		w.x.noteHeaders(true, w.before, w.x.w.Header())
	}
	w.x.w.WriteHeader(status)
}

// drop has a refusal take the place of the response.
func (w *responseWriter) drop(e *refusal) {
	w.x.failed(response, e)
	w.way, w.refusal, w.refused, w.held = dropped, e, true, nil
}

// refuse answers with a refusal.
func (w *responseWriter) refuse(d direction, e *refusal) {
	w.x.failed(d, e)
	w.sent = true
	w.x.answer(e)
}

// committed tells whether the client has seen anything of a response.
func (w *responseWriter) committed() bool { return w.sent || w.stream != nil && w.stream.begun.Load() }

// Write implements io.Writer.
func (w *responseWriter) Write(p []byte) (int, error) {
	if w.way == undecided {
		w.WriteHeader(http.StatusOK)
	}
	w.cut()
	switch w.way {
	case passing:
		return w.x.w.Write(p)
	case streamed:
		return w.feed(p)
	case held:
		w.hold(p)
	}
	return len(p), nil
}

// feed gives a part of the body to the stream.
func (w *responseWriter) feed(p []byte) (int, error) {
	if w.stream == nil && len(p) > 0 {
		w.startStream()
		w.cut()
	}
	if w.stream == nil {
		return 0, nil
	}
	n, err := w.stream.in.Write(p)
	if err != nil && bodyRefusal(err, true).reason != "failed" {
		panic(http.ErrAbortHandler) // it is not the client who takes no more: settle says what it is
	}
	return n, err
}

// cut ends a response that is not used, so that the client need not wait until the
// app has said all of it: it may never end.
func (w *responseWriter) cut() {
	if w.refused {
		panic(http.ErrAbortHandler) // settle answers
	}
}

// hold keeps a part of the body.
func (w *responseWriter) hold(p []byte) {
	limit := w.x.filter.conf.MaxBodyBytes
	if len(w.held)+len(p) > limit {
		w.drop(w.bad("too_large", fmt.Sprintf("the app's response has more than %d bytes", limit)))
		return
	}
	if err := w.x.take(int64(len(p))); err != nil {
		w.drop(bodyRefusal(err, false))
		return
	}
	w.held = append(w.held, p...)
}

// Flush implements http.Flusher.
func (w *responseWriter) Flush() {
	if w.way == undecided {
		w.WriteHeader(http.StatusOK)
	}
	w.cut()
	if w.way == passing {
		_ = http.NewResponseController(w.x.w).Flush() // fails with the next Write too
	}
}

// abort stops what is under way.
func (w *responseWriter) abort() {
	if w.stream != nil {
		w.stream.stop(http.ErrAbortHandler)
	}
}

// finish ends a response that is whole.
func (w *responseWriter) finish() {
	if w.way == undecided {
		w.WriteHeader(http.StatusOK)
	}
	switch {
	case w.way == streamed:
		w.endStream()
	case w.way == held:
		w.deliver()
	case w.refusal != nil && !w.sent:
		w.sent = true
		w.x.answer(w.refusal)
	}
}
