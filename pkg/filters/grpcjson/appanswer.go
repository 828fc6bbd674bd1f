package grpcjson

import (
	"bytes"
	"encoding/base64"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"google.golang.org/grpc/codes"

	"github.com/dragoman-mesh/dragoman/pkg/bodies"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/transform/pbjson"
	"github.com/dragoman-mesh/dragoman/pkg/transform/transcode"
)

// maxError bounds what is kept of an app's error, in bytes.
const maxError = 64 << 10

// appAnswer is what next answers to: it makes gRPC of JSON. It implements
// http.ResponseWriter and http.Flusher.
type appAnswer struct {
	*reverse
	binding *transcode.Binding
	header  http.Header // as next fills it
	status  int
	begun   bool // the client's head is written
	ended   bool
	share   bodies.Share
	body    []byte
	values  values // of a stream
	out     []byte // memory for a message
}

// values takes a stream of JSON texts apart.
type values interface {
	// feed calls each for every value that is whole.
	feed(p []byte, each func([]byte) error) error
	// end is feed for what no more follows.
	end(each func([]byte) error) error
	// held is how much of the stream is in memory, in bytes.
	held() int
}

// Header implements http.ResponseWriter.
func (a *appAnswer) Header() http.Header { return a.header }

// WriteHeader implements http.ResponseWriter.
func (a *appAnswer) WriteHeader(status int) {
	if status < 200 || a.status != 0 {
		return
	}
	a.status = status
	if o, ok := readStatus(a.header.Get); ok && isGRPC(a.header) { // of the proxy itself, to which this is a call
		a.end(reasonStatus, o)
		return
	}
	if !a.streams() {
		return
	}
	switch {
	case a.header.Get("Content-Encoding") != "":
		a.end(reasonResponse, outcome{code: codes.Internal, message: "the app's stream is compressed"})
		return
	case a.binding.RawResponse:
		a.values = pieces{}
	case strings.HasPrefix(a.header.Get("Content-Type"), "text/event-stream"):
		a.values = &events{max: a.conf.MaxResponse}
	default:
		a.values = &texts{pbjson.NewSplitter(a.conf.MaxResponse)}
	}
	a.begin()
}

func (a *appAnswer) streams() bool { return a.method.ServerStreams && a.status < 300 }

// begin writes the head.
func (a *appAnswer) begin() {
	a.begun = true
	h := a.w.Header()
	for name, values := range a.header {
		switch {
		case strings.HasPrefix(name, http.TrailerPrefix), strings.HasPrefix(name, "Grpc-"):
		case name == "Content-Type", name == "Content-Length", name == "Content-Encoding", name == "Trailer":
		default:
			h[name] = append(h[name], values...)
		}
	}
	h["Content-Type"] = []string{contentType}
	a.w.WriteHeader(http.StatusOK)
}

// Write implements io.Writer.
func (a *appAnswer) Write(p []byte) (int, error) {
	if a.status == 0 {
		a.WriteHeader(http.StatusOK)
	}
	switch {
	case a.ended: // by its head
	case a.streams():
		err := a.values.feed(p, a.message)
		if err == nil && !a.share.Set(a.values.held()) {
			err = errBudget
		}
		if err != nil {
			a.broken(err)
		}
	case a.status >= 300:
		a.body = append(a.body, p[:min(len(p), maxError-len(a.body))]...)
	case len(a.body)+len(p) > a.conf.MaxResponse:
		a.end(reasonLargeAnswer, outcome{code: codes.ResourceExhausted, message: "the app's answer is larger than " + strconv.Itoa(a.conf.MaxResponse) + " bytes"})
	case !a.share.Set(len(a.body) + len(p)):
		a.broken(errBudget)
	default:
		a.body = append(a.body, p...)
	}
	a.cut()
	return len(p), nil
}

// cut ends the app's answer to a call that has ended: its client waits, and the app
// may go on for ever.
func (a *appAnswer) cut() {
	if a.ended {
		panic(http.ErrAbortHandler) // which call expects
	}
}

// Flush implements http.Flusher.
func (a *appAnswer) Flush() {
	a.cut()
	if a.begun {
		_ = http.NewResponseController(a.w).Flush() // fails with the next Write, too
	}
}

// errApp is an error that the app has put into its stream.
type errApp struct{ outcome }

// Error implements error.
func (e *errApp) Error() string { return e.message }

// broken ends a stream that is wrong.
func (a *appAnswer) broken(err error) {
	var app *errApp
	switch {
	case errors.As(err, &app):
		a.end(reasonStatus, a.read([]byte(app.message), http.StatusInternalServerError, "application/json"))
	case errors.Is(err, errBudget):
		a.end(reasonBudget, outcome{code: codes.ResourceExhausted, message: "the app's answer: " + err.Error()})
	case errors.Is(err, pbjson.ErrLarge), errors.Is(err, errTooLarge):
		a.end(reasonLargeAnswer, outcome{code: codes.ResourceExhausted, message: "the app's answer: " + err.Error()})
	default:
		a.end(reasonResponse, outcome{code: codes.Internal, message: "the app's answer: " + err.Error()})
	}
}

// message converts one answer of a stream, and writes it.
func (a *appAnswer) message(body []byte) error {
	if err := a.convert(body); err != nil {
		return err
	}
	if !a.share.Set(a.values.held() + len(a.out)) {
		return errBudget
	}
	_, _ = a.w.Write(a.out) // a client that is gone needs no answer
	a.out = emptied(a.out)
	return nil
}

// convert makes a message, with its frame, of one answer.
func (a *appAnswer) convert(body []byte) error {
	out := framed(a.out[:0])
	switch {
	case a.binding.RawResponse:
		out = a.binding.RawAnswer(out, a.header.Get("Content-Type"), body)
	case len(bytes.TrimSpace(body)) == 0: // a message without fields
	default:
		if err := inTurn(a.in.Context(), a.budget, len(body), func() (err error) {
			out, err = a.binding.Answer(out, body, a.conf.Request.Read)
			return err
		}); err != nil {
			return err
		}
	}
	a.out = setLength(out, 0)
	a.counters.delivered.Inc()
	return nil
}

// finish ends the answer, when next has said all.
func (a *appAnswer) finish() {
	switch {
	case a.ended:
	case a.status == 0:
		a.end(reasonResponse, outcome{code: codes.Unavailable, message: "there is no answer"})
	case a.status >= 300:
		a.end(reasonStatus, a.read(a.body, a.status, a.header.Get("Content-Type")))
	case a.streams():
		if err := a.values.end(a.message); err != nil {
			a.broken(err)
			return
		}
		a.end("", outcome{})
	default:
		a.whole()
	}
}

// whole is the answer to a call that is not a stream. Its head is written with
// the message, which may be wrong.
func (a *appAnswer) whole() {
	if encoding := a.header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		plain, err := gunzip(a.body, a.conf.MaxResponse, &a.share)
		if errors.Is(err, errBudget) || errors.Is(err, errTooLarge) {
			a.broken(err)
			return
		}
		if encoding != "gzip" || err != nil {
			a.end(reasonResponse, outcome{code: codes.Internal, message: "the app's answer is compressed and cannot be read"})
			return
		}
		a.body = plain
	}
	if err := a.convert(a.body); err != nil {
		a.end(reasonResponse, outcome{code: codes.Internal, message: "the app's answer: " + err.Error()})
		return
	}
	if !a.share.Set(len(a.body) + len(a.out)) {
		a.broken(errBudget)
		return
	}
	a.begin()
	_, _ = a.w.Write(a.out) // a client that is gone needs no answer
	a.end("", outcome{})
}

// end says how the call has ended. why is empty for one that went well.
func (a *appAnswer) end(why reason, o outcome) {
	if a.ended {
		return
	}
	a.ended = true
	if why != "" {
		a.counters.failed(why)
		filters.ExchangeOf(a.in.Context()).Explain("", "grpcjson_"+string(why))
	}
	if !a.begun {
		endCall(a.w, &o)
		return
	}
	setStatus(a.w.Header(), http.TrailerPrefix, &o)
}

// setStatus writes an outcome into headers or trailers.
func setStatus(h http.Header, prefix string, o *outcome) {
	h[prefix+"Grpc-Status"] = []string{strconv.Itoa(int(o.code))}
	if o.message != "" {
		h[prefix+"Grpc-Message"] = []string{encodeMessage(o.message)}
	}
	if len(o.details) > 0 && len(o.details) <= maxDetails {
		h[prefix+"Grpc-Status-Details-Bin"] = []string{base64.RawStdEncoding.EncodeToString(o.details)}
	}
}

// maxDetails bounds a header, in bytes before base64: clients take 8 KiB of them
// and more, not all take much more.
const maxDetails = 4 << 10
