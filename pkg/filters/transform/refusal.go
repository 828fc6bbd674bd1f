package transform

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/schema"
	"github.com/dragoman-mesh/dragoman/pkg/transform/soap"
	"github.com/dragoman-mesh/dragoman/pkg/transform/value"
)

// problemType is the content type of RFC 9457.
const problemType = "application/problem+json"

// refusal is why a request, or the app's response, does not go on.
type refusal struct {
	status int
	reason string // a word for metrics and logs
	detail string // for people
	fields []field
	header [][2]string
}

// field is what is wrong with one field of a body.
type field struct {
	Pointer string `json:"pointer"`
	Detail  string `json:"detail"`
}

// Error implements error.
func (e *refusal) Error() string { return e.detail }

// problem is the body of an answer, RFC 9457 section 3.1.
type problem struct {
	Title  string  `json:"title"`
	Status int     `json:"status"`
	Detail string  `json:"detail,omitempty"`
	Errors []field `json:"errors,omitempty"`
}

// errClientGone is a request of a client that nobody can answer any more.
var errClientGone = errors.New("the client has gone")

// bodyRefusal says what reading a client's body, or changing one, has come to;
// app: it was the app's.
func bodyRefusal(err error, app bool) *refusal {
	if e, ok := errors.AsType[*refusal](err); ok {
		if app && e.reason == "too_large" {
			return &refusal{status: http.StatusBadGateway, reason: e.reason, detail: "the app's response: " + e.detail}
		}
		return e
	}
	r := &refusal{status: http.StatusBadRequest, reason: "malformed", detail: err.Error()}
	switch {
	case errors.Is(err, value.ErrTooLarge):
		r.status, r.reason = http.StatusRequestEntityTooLarge, "too_large"
	case errors.Is(err, value.ErrInexpressible):
		r.status, r.reason = http.StatusUnprocessableEntity, "inexpressible"
	case errors.Is(err, os.ErrDeadlineExceeded):
		r.status, r.reason, r.detail = http.StatusRequestTimeout, "slow", "the body did not come in time"
		r.header = [][2]string{{"Connection", "close"}}
	case errors.Is(err, io.ErrUnexpectedEOF):
		r.detail = "the body is cut short"
	case errors.Is(err, value.ErrMalformed):
	default:
		r.reason = "failed"
	}
	if e, ok := errors.AsType[*value.Error](err); ok && e.Path != "" {
		r.fields = []field{{pointerOf(e.Path), e.Reason}}
	}
	if app {
		r.status = http.StatusBadGateway
		r.detail = "the app's response: " + r.detail
	}
	return r
}

// pointerOf turns the engine's path, "order.items[3].sku", into a JSON pointer.
func pointerOf(path string) string {
	var b strings.Builder
	var name strings.Builder
	flush := func() {
		if name.Len() > 0 {
			b.WriteByte('/')
			b.WriteString(strings.NewReplacer("~", "~0", "/", "~1").Replace(name.String()))
			name.Reset()
		}
	}
	for i := 0; i < len(path); i++ {
		switch c := path[i]; c {
		case '\\':
			if i++; i < len(path) {
				name.WriteByte(path[i])
			}
		case '.', '[', ']':
			flush()
		default:
			name.WriteByte(c)
		}
	}
	flush()
	return b.String()
}

func schemaRefusal(list []schema.Problem, app bool) *refusal {
	r := &refusal{status: http.StatusUnprocessableEntity, reason: "schema", detail: "the body does not fit the schema"}
	if app {
		r.status, r.detail = http.StatusBadGateway, "the app's response does not fit the schema"
	}
	for _, p := range list {
		r.fields = append(r.fields, field{p.Pointer, p.Reason})
	}
	return r
}

// answer writes a refusal: as a problem, or as a fault to who speaks SOAP. A
// response to HEAD has its body left out beneath.
func (x *exchange) answer(e *refusal) {
	filters.ExchangeOf(x.in.Context()).Explain("", "transform_"+e.reason)
	h := x.w.Header()
	for name := range h { // of a response of the app that is not given
		delete(h, name)
	}
	for _, pair := range e.header {
		h.Set(pair[0], pair[1])
	}
	x.ownHeaders()
	x.note(Step{Response: true, What: "answer", After: strconv.Itoa(e.status) + " " + e.detail})
	for _, f := range e.fields {
		x.note(Step{Response: true, What: "field", Before: f.Pointer, After: f.Detail})
	}
	p := problem{Title: http.StatusText(e.status), Status: e.status, Detail: e.detail, Errors: e.fields}
	text, _ := json.Marshal(p) // of strings and numbers
	status, body, contentType := e.status, text, problemType
	if version := x.soapVersion(); version != "" {
		f := soap.FaultOf(version, e.status, e.detail, "")
		status, body, contentType = f.BindingStatus(), soap.AppendFault(nil, f), soap.ContentType(version, "")
	}
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	x.w.WriteHeader(status)
	_, _ = x.w.Write(body) // a client that is gone needs no answer
}

func tooLarge(limit int64) *refusal {
	return &refusal{
		status: http.StatusRequestEntityTooLarge, reason: "too_large",
		detail: "the body has more than " + strconv.FormatInt(limit, 10) + " bytes",
	}
}
