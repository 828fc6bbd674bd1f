package grpcjson

import (
	"errors"
	"maps"
	"net/http"
	"strconv"
	"strings"

	"google.golang.org/grpc/codes"

	"github.com/dragoman-mesh/dragoman/pkg/bodies"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// download is what next answers to: it makes JSON of gRPC. It implements
// http.ResponseWriter and http.Flusher.
type download struct {
	*forward
	w      http.ResponseWriter
	header http.Header // as next fills it
	style  resource.JSONStream

	share   bodies.Share
	frames  frames
	grpc    bool // the answer is gRPC's, not something else that passes as it is
	begun   bool // the client's head is written
	failed  bool // the client has got an answer already, or must not take it for whole
	count   int  // of messages
	body    []byte
	rawType string // of a body that is no JSON
	out     []byte // memory for a message of a stream
}

// Header implements http.ResponseWriter.
func (d *download) Header() http.Header { return d.header }

// WriteHeader implements http.ResponseWriter.
func (d *download) WriteHeader(status int) {
	if status < 200 || d.failed || d.begun || d.grpc {
		return // what is informational means nothing to who has asked by JSON
	}
	if p := d.broken.Load(); p != nil {
		d.fail(p)
		return
	}
	if status != http.StatusOK || !isGRPC(d.header) {
		d.pass(status)
		return
	}
	d.grpc = true
	d.frames = frames{max: d.conf.MaxResponse, share: d.account.Share(), encoding: d.header.Get("Grpc-Encoding")}
	if _, over := d.header["Grpc-Status"]; !over && d.call.Method.ServerStreams && !d.call.RawResponse {
		d.begin(d.streamType())
	}
}

// pass hands an answer on that is no gRPC: of the proxy itself, or of a server
// that is none of gRPC.
func (d *download) pass(status int) {
	d.begun = true
	d.counters.failed(reasonResponse)
	h := d.w.Header()
	maps.Copy(h, d.header)
	d.w.WriteHeader(status)
}

// begin writes the head.
func (d *download) begin(contentType string) {
	d.begun = true
	h := d.w.Header()
	d.copyHeader(h)
	h["Content-Type"] = []string{contentType}
	d.w.WriteHeader(http.StatusOK)
}

// copyHeader gives the client the call's metadata.
func (d *download) copyHeader(to http.Header) {
	for name, values := range d.header {
		switch {
		case strings.HasPrefix(name, http.TrailerPrefix):
		case name == "Content-Type", name == "Content-Length", name == "Trailer", name == "Grpc-Encoding", name == "Grpc-Accept-Encoding",
			name == "Grpc-Status", name == "Grpc-Message", name == "Grpc-Status-Details-Bin":
		default:
			to[name] = append(to[name], values...)
		}
	}
}

func (d *download) streamType() string {
	switch d.style {
	case resource.StreamEvents:
		return "text/event-stream"
	case resource.StreamLines:
		return "application/x-ndjson"
	default:
		return "application/json"
	}
}

// Write implements io.Writer.
func (d *download) Write(p []byte) (int, error) {
	d.cut()
	switch {
	case !d.grpc && !d.begun:
		d.WriteHeader(http.StatusOK)
		return d.Write(p)
	case !d.grpc:
		return d.w.Write(p)
	}
	if err := d.frames.feed(p, d.message); err != nil {
		var refused *problem
		switch {
		case errors.As(err, &refused):
			d.fail(refused)
		case errors.Is(err, errTooLarge):
			d.fail(newProblem(http.StatusInternalServerError, reasonLargeAnswer, err.Error()))
		case errors.Is(err, errBudget):
			d.fail(newProblem(http.StatusServiceUnavailable, reasonBudget, err.Error()))
		case errors.Is(err, errFraming):
			d.fail(newProblem(http.StatusBadGateway, reasonResponse, err.Error()))
		default:
			return 0, err // of the client
		}
	}
	d.cut()
	return len(p), nil
}

// cut ends the server's answer to a call that has failed: its client waits, and the
// server may go on for ever.
func (d *download) cut() {
	if d.failed {
		panic(http.ErrAbortHandler) // which answer expects
	}
}

// Flush implements http.Flusher.
func (d *download) Flush() {
	d.cut()
	if d.begun {
		_ = http.NewResponseController(d.w).Flush() // fails with the next Write, too
	}
}

// message converts one of the call's answers.
func (d *download) message(wire []byte) error {
	d.count++
	d.counters.delivered.Inc()
	if !d.call.Method.ServerStreams && d.count > 1 {
		return newProblem(http.StatusBadGateway, reasonResponse, "the server has answered twice")
	}
	if d.call.RawResponse {
		return d.raw(wire)
	}
	var err error
	if !d.call.Method.ServerStreams {
		d.body, err = d.json(nil, wire)
		return err
	}
	out := d.out[:0]
	switch d.style {
	case resource.StreamEvents:
		out = append(out, "data: "...)
	case resource.StreamArray:
		if d.count == 1 {
			out = append(out, '[')
		} else {
			out = append(out, ',')
		}
	}
	if out, err = d.json(out, wire); err != nil {
		return err
	}
	switch d.style {
	case resource.StreamEvents:
		out = append(out, "\n\n"...)
	case resource.StreamLines:
		out = append(out, '\n')
	}
	_, err = d.w.Write(out)
	d.out = emptied(out)
	d.share.Set(0)
	return err
}

// finish ends the answer, when next has said all.
func (d *download) finish() {
	switch p := d.broken.Load(); {
	case d.failed || d.begun && !d.grpc:
		return
	case p != nil:
		d.fail(p)
		return
	case !d.grpc:
		d.fail(newProblem(http.StatusBadGateway, reasonResponse, "there is no answer"))
		return
	}
	if err := d.frames.end(); err != nil {
		d.fail(newProblem(http.StatusBadGateway, reasonCut, err.Error()))
		return
	}
	o, ok := readStatus(func(name string) string {
		if v := d.header.Get(name); v != "" {
			return v
		}
		if v := d.header[http.TrailerPrefix+name]; len(v) > 0 {
			return v[0]
		}
		return ""
	})
	if (!ok || o.code == codes.Unavailable) && !d.begun && d.late() {
		o, ok = outcome{code: codes.DeadlineExceeded, message: "the call's deadline has passed"}, true
	}
	switch {
	case !ok:
		d.fail(newProblem(http.StatusServiceUnavailable, reasonCut, "the server has ended the call without a status"))
	case d.begun:
		d.endStream(&o)
	case o.code != codes.OK:
		d.refused(&o)
	case d.count == 0 && !d.call.Method.ServerStreams:
		d.fail(newProblem(http.StatusBadGateway, reasonResponse, "the server has said OK, but nothing more"))
	default:
		d.whole()
	}
}

// whole writes an answer that is one body.
func (d *download) whole() {
	contentType := "application/json"
	switch {
	case d.call.RawResponse:
		contentType = d.rawContentType()
	case d.call.Method.ServerStreams:
		contentType = d.streamType()
		if d.style == resource.StreamArray {
			d.body = []byte("[]")
		}
	}
	h := d.w.Header()
	h["Grpc-Status"] = []string{"0"}
	h["Content-Length"] = []string{strconv.Itoa(len(d.body))}
	d.begin(contentType)
	_, _ = d.w.Write(d.body) // a client that is gone needs no answer
	// HTTP/1.1 has none after a body of known length.
	if d.in.ProtoMajor >= 2 {
		d.copyTrailers(h, http.TrailerPrefix)
	}
}

// refused answers with the server's error.
func (d *download) refused(o *outcome) {
	d.failed = true
	d.counters.failed(reasonStatus)
	h := d.w.Header()
	d.copyHeader(h)
	d.copyTrailers(h, "")
	var body []byte
	if d.conf.ConvertStatus {
		body, _ = d.service.api.Status(nil, o.wire(), d.conf.Print) // of what cannot be written there is no body
		h["Content-Type"] = []string{"application/json"}
	} else {
		h["Grpc-Status"] = []string{strconv.Itoa(int(o.code))}
		if o.message != "" {
			h["Grpc-Message"] = []string{encodeMessage(o.message)}
		}
	}
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	filters.ExchangeOf(d.in.Context()).Explain("", "grpcjson_"+string(reasonStatus))
	d.w.WriteHeader(httpStatus(o.code))
	_, _ = d.w.Write(body)
}

// copyTrailers gives the client the metadata at the end of the call.
func (d *download) copyTrailers(to http.Header, prefix string) {
	for name, values := range d.header {
		plain, ok := strings.CutPrefix(name, http.TrailerPrefix)
		if !ok || plain == "Grpc-Status" || plain == "Grpc-Message" || plain == "Grpc-Status-Details-Bin" {
			continue
		}
		to[prefix+plain] = append(to[prefix+plain], values...)
	}
}

// endStream ends a stream whose head and messages are written. What has failed
// is said at its end: as an event, as a last line, or by a list that is not
// closed; and in trailers.
func (d *download) endStream(o *outcome) {
	h := d.w.Header()
	h[http.TrailerPrefix+"Grpc-Status"] = []string{strconv.Itoa(int(o.code))}
	if o.message != "" {
		h[http.TrailerPrefix+"Grpc-Message"] = []string{encodeMessage(o.message)}
	}
	d.copyTrailers(h, http.TrailerPrefix)
	if o.code != codes.OK {
		d.failed = true
		d.counters.failed(reasonStatus)
		d.endWith(o)
		return
	}
	switch {
	case d.call.RawResponse || d.style != resource.StreamArray:
	case d.count == 0:
		_, _ = d.w.Write([]byte("[]"))
	default:
		_, _ = d.w.Write([]byte("]"))
	}
}

// endWith writes an error behind messages.
func (d *download) endWith(o *outcome) {
	if d.call.RawResponse || d.style == resource.StreamArray {
		return
	}
	status, err := d.service.api.Status(nil, o.wire(), d.conf.Print)
	if err != nil {
		return
	}
	text := `{"error":` + string(status) + "}\n"
	if d.style == resource.StreamEvents {
		text = "event: error\ndata: " + string(status) + "\n\n"
	}
	_, _ = d.w.Write([]byte(text))
}

// fail answers with a problem; an answer that has begun is ended so that nobody
// takes it for whole.
func (d *download) fail(p *problem) {
	if d.failed {
		return
	}
	d.failed = true
	d.counters.failed(p.reason)
	if d.begun {
		filters.ExchangeOf(d.in.Context()).Explain("", "grpcjson_"+string(p.reason))
		panic(http.ErrAbortHandler)
	}
	p.answer(d.w, d.in)
}
