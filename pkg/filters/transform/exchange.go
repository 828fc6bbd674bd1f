package transform

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/transform"
	"github.com/dragoman-mesh/dragoman/pkg/transform/soap"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// maxRoutes bounds how often the route of a request is looked for again.
const maxRoutes = 16

// exchange is one request with its response. It belongs to the goroutine that
// serves the request.
type exchange struct {
	// read-only after construction
	filter *filter
	conf   *resource.TransformRoute
	w      http.ResponseWriter
	in     *http.Request // as it came
	values *values
	depth  int // routes that the request had before

	out    *http.Request // as it goes on
	asIs   bool          // the client takes the response as the app writes it
	taken  int64         // of the budget
	upload *upload       // of a body that is changed on its way; nil: none is
}

// ownHeaders says of a response what the route says of all its own.
func (x *exchange) ownHeaders() {
	if x.depth == 0 {
		changeHeaders(x.w.Header(), &x.conf.OwnHeaders, x.values)
	}
}

// release gives back what the request has taken.
func (x *exchange) release() { x.filter.builder.budget.Give(x.taken) }

// give gives n bytes back before the exchange's end.
func (x *exchange) give(n int64) {
	x.filter.builder.budget.Give(n)
	x.taken -= n
}

// take takes n bytes of the budget.
func (x *exchange) take(n int64) error {
	if !x.filter.builder.budget.Take(n) {
		return &refusal{
			status: http.StatusServiceUnavailable, reason: "budget", detail: "too many large bodies at once",
			header: [][2]string{{"Retry-After", "1"}},
		}
	}
	x.taken += n
	return nil
}

// serve has next answer the request as the route changes it.
func (x *exchange) serve(next http.Handler) {
	x.noteRoute()
	if p := x.conf.Problem; p != nil {
		e := &refusal{status: p.Status, reason: "refused", detail: p.Detail}
		if len(p.Allow) > 0 {
			e.header = [][2]string{{"Allow", strings.Join(p.Allow, ", ")}}
		}
		if p.Status == http.StatusNotFound {
			filters.ExchangeOf(x.in.Context()).Explain("NR", "route_not_found")
		}
		x.answer(e)
		return
	}
	if !x.conf.Gone.IsZero() && time.Now().After(x.conf.Gone) {
		x.answer(&refusal{status: http.StatusGone, reason: "gone", detail: "this version of the API is gone since " + x.conf.Gone.Format(time.DateOnly)})
		return
	}
	if x.depth > maxRoutes {
		x.answer(&refusal{status: http.StatusLoopDetected, reason: "loop", detail: "a request becomes others without end"})
		return
	}
	if err := x.prepare(); err != nil {
		if !errors.Is(err, errClientGone) {
			e := bodyRefusal(err, false)
			x.failed(request, e)
			x.answer(e)
		}
		return
	}
	x.forward(next)
}

// goOn has the app answer, or the route of what the request has become.
func (x *exchange) goOn(w http.ResponseWriter, next http.Handler) {
	if !x.conf.Reroute {
		next.ServeHTTP(w, x.out)
		return
	}
	filters.ExchangeOf(x.out.Context()).Reroute(x.out)
	x.filter.serve(w, x.out, next, x.depth+1)
}

// prepare makes the request that goes on.
func (x *exchange) prepare() error {
	if err := x.negotiate(); err != nil {
		return err
	}
	out := *x.in
	x.out = &out
	conf := x.conf.Request
	if x.conf.Response == nil && conf == nil {
		return nil
	}
	out.Header = x.in.Header.Clone()
	x.adjustResponse()
	if conf == nil {
		x.noteHeaders(false, x.in.Header, out.Header)
		return nil
	}
	if conf.Method != "" {
		out.Method = conf.Method
		x.note(Step{What: "method", Before: x.in.Method, After: out.Method})
	}
	if conf.Path != nil || !conf.Query.Empty() {
		u, err := target(x.in.URL, conf, x.values)
		if err != nil {
			return &refusal{status: http.StatusBadRequest, reason: "path", detail: err.Error()}
		}
		out.URL = u
		x.note(Step{What: "target", Before: x.in.URL.RequestURI(), After: u.RequestURI()})
	}
	if conf.Body != nil || conf.Schema != nil {
		if err := x.requestBody(conf); err != nil {
			return err
		}
	}
	changeHeaders(out.Header, &conf.Headers, x.values)
	x.noteHeaders(false, x.in.Header, out.Header)
	return nil
}

// negotiate decides by Accept whether the response is changed.
func (x *exchange) negotiate() error {
	conf := x.conf.Response
	if conf == nil || conf.Body == nil {
		return nil
	}
	list := x.in.Header["Accept"]
	if len(list) == 0 {
		return nil
	}
	b := conf.Body
	to, from := wants(list, b.To), 0.0
	if b.AsIs {
		from = wants(list, b.From)
	}
	switch {
	case to > 0 && to >= from:
		return nil
	case from > 0:
		x.asIs = true
		return nil
	}
	offers := transform.ContentTypes(b.To)[:1:1]
	if b.AsIs {
		offers = append(offers, transform.ContentTypes(b.From)[0])
	}
	return &refusal{
		status: http.StatusNotAcceptable, reason: "not_acceptable",
		detail: "the response is " + strings.Join(offers, " or ") + ", and Accept has something else",
	}
}

// wants tells how much a client wants a format; 0: not at all.
func wants(list []string, f transform.Format) float64 {
	types := transform.ContentTypes(f)
	return accepts(list, func(name string) int {
		for _, t := range types {
			switch group, _, _ := strings.Cut(t, "/"); name {
			case t:
				return 3
			case group + "/*":
				return 2
			case "*/*", "*":
				return 1
			}
		}
		if name != "" && !strings.HasSuffix(name, "*") && transform.Accepts(f, name) && name != "application/octet-stream" {
			return 3
		}
		return 0
	})
}

// adjustResponse asks the app for a response that can be changed.
func (x *exchange) adjustResponse() {
	conf := x.conf.Response
	if conf == nil || x.asIs || conf.Body == nil && conf.Schema == nil {
		return
	}
	h := x.out.Header
	if conf.Body != nil {
		h.Set("Accept", strings.Join(transform.ContentTypes(conf.Body.From), ", "))
	}
	delete(h, "Range")
	delete(h, "If-Range")
	h.Set("Accept-Encoding", offered(x.in.Header))
}

// soapVersion is that of a client who speaks SOAP, "" of others.
func (x *exchange) soapVersion() soap.Version {
	if r := x.conf.Response; r != nil && r.Body != nil && r.Body.To != transform.SOAP {
		return ""
	}
	if v := spoken(x.in.Header); v != "" {
		return v
	}
	if r := x.conf.Response; r != nil && r.Body != nil {
		return r.Body.SOAP
	}
	return ""
}

// spoken is the version of SOAP that a client's request is in; "": none.
func spoken(h http.Header) soap.Version {
	media, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	switch strings.ToLower(strings.TrimSpace(media)) {
	case "application/soap+xml":
		return soap.V12
	case "text/xml":
		if _, ok := h["Soapaction"]; ok {
			return soap.V11
		}
	}
	return ""
}

// program is what writes a body for the client.
func (x *exchange) program(b *resource.TransformBody) *transform.Program {
	if b.Program12 != nil && spoken(x.in.Header) == soap.V12 {
		return b.Program12
	}
	return b.Program
}

// given are the values that a body is given.
func (x *exchange) given(b *resource.TransformBody) []transform.Given {
	var list []transform.Given
	for i, text := range b.Values {
		if v, ok := text.Expand(x.values.text); ok {
			list = append(list, transform.Given{Path: i, Text: v})
		}
	}
	return list
}

// apply changes a body that is all there.
func (x *exchange) apply(d direction, b *resource.TransformBody, p *transform.Program, body []byte, contentType string) ([]byte, error) {
	done, ok := x.filter.builder.budget.Turn(x.in.Context(), len(body))
	if !ok {
		return nil, errClientGone
	}
	defer done()
	begun := time.Now()
	out, err := p.ApplyWith(x.in.Context(), nil, body, contentType, x.given(b))
	if err != nil {
		return nil, err
	}
	x.converted(d, len(body), len(out), time.Since(begun))
	x.note(Step{Response: d == response, What: "body", Before: string(body), After: string(out), Format: b.From, To: b.To})
	return out, x.take(int64(len(out)))
}

// check holds a body against a schema.
func (x *exchange) check(s *resource.TransformSchema, body []byte, contentType string, app bool) error {
	done, ok := x.filter.builder.budget.Turn(x.in.Context(), len(body))
	if !ok {
		return errClientGone
	}
	defer done()
	text, err := s.Reader.Apply(x.in.Context(), nil, body, contentType)
	if err != nil {
		return err
	}
	list, err := s.Schema.Check(text)
	if err != nil {
		return err
	}
	if len(list) > 0 {
		return schemaRefusal(list, app)
	}
	x.note(Step{Response: app, What: "schema", After: "fits"})
	return nil
}

// drop removes what said something of a body that is another now.
func drop(h http.Header) {
	for _, name := range [...]string{
		"Content-Length", "Content-Encoding", "Content-Md5", "Content-Range", "Digest", "Content-Digest", "Repr-Digest", "Accept-Ranges",
	} {
		delete(h, name)
		delete(h, http.TrailerPrefix+name)
	}
}

// mediaType is the Content-Type of a body that was made. Where the format stays,
// a type of somebody's own does too, as in application/problem+json.
func mediaType(b *resource.TransformBody, p *transform.Program, body []byte, old string) string {
	made := p.ContentType(body)
	media, _, _ := strings.Cut(old, ";")
	if media = strings.TrimSpace(media); b.None || b.From != b.To || b.To == transform.SOAP || !strings.Contains(media, "+") {
		return made
	}
	if _, params, ok := strings.Cut(made, ";"); ok {
		media += ";" + params
	}
	return media
}
