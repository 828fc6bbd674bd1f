package transform

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/bodies"
	"github.com/dragoman-mesh/dragoman/pkg/transform"
	"github.com/dragoman-mesh/dragoman/pkg/transform/soap"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// requestBody checks and changes the body.
func (x *exchange) requestBody(conf *resource.TransformRequest) error {
	if b := conf.Body; b != nil && b.None {
		return x.makeBody(b)
	}
	contentType := x.in.Header.Get("Content-Type")
	if bodiless(x.in) && contentType == "" && mayBeBodiless(x.in.Method, conf) {
		return nil // a route of any method
	}
	pass := conf.Body == nil
	if b := conf.Body; b != nil && contentType != "" && !transform.Accepts(b.From, contentType) {
		if !b.AsIs || !transform.Accepts(b.To, contentType) {
			return unsupported(contentType, b)
		}
		pass = true
	}
	if pass && conf.Schema == nil || conf.Body != nil && pass {
		return nil
	}
	if f := schemaFormat(conf); contentType != "" && !transform.Accepts(f, contentType) {
		return &refusal{
			status: http.StatusUnsupportedMediaType, reason: "content_type",
			detail: "the body must be " + transform.ContentTypes(f)[0],
		}
	}
	coding, err := codingOf(x.in.Header)
	if err != nil {
		return &refusal{
			status: http.StatusUnsupportedMediaType, reason: "content_coding", detail: err.Error(),
			header: [][2]string{{"Accept-Encoding", understood}},
		}
	}
	if conf.Schema == nil && conf.Body.Program.Streams() && len(conf.Body.Values) == 0 && !x.recording() {
		if err := x.take(mostWindow(coding)); err != nil {
			return err
		}
		x.streamBody(conf.Body, coding, contentType)
		return nil
	}
	return x.wholeBody(conf, coding, contentType)
}

func schemaFormat(conf *resource.TransformRequest) transform.Format {
	if conf.Body != nil {
		return conf.Body.From
	}
	return transform.JSON
}

func bodiless(r *http.Request) bool {
	return r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0
}

// mayBeBodiless tells of methods whose requests mostly have no body. Where a schema
// says what DELETE must have, it must.
func mayBeBodiless(method string, conf *resource.TransformRequest) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return true
	case http.MethodDelete:
		return conf.Schema == nil
	default:
		return false
	}
}

func unsupported(contentType string, b *resource.TransformBody) *refusal {
	media, _, _ := strings.Cut(contentType, ";")
	want := transform.ContentTypes(b.From)
	if b.AsIs {
		want = append(slices.Clip(want), transform.ContentTypes(b.To)...)
	}
	return &refusal{
		status: http.StatusUnsupportedMediaType, reason: "content_type",
		detail: "the body is " + strings.TrimSpace(media) + ", and must be " + strings.Join(want, " or "),
		header: [][2]string{{"Accept", strings.Join(want, ", ")}},
	}
}

// makeBody makes a body of values alone.
func (x *exchange) makeBody(b *resource.TransformBody) error {
	out, err := x.apply(request, b, b.Program, []byte("{}"), "")
	if err != nil {
		return err
	}
	x.setBody(b, out)
	return nil
}

// wholeBody checks and changes a body that is small enough to be held.
func (x *exchange) wholeBody(conf *resource.TransformRequest, coding, contentType string) error {
	body, err := x.readBody(coding)
	if err != nil {
		return err
	}
	if conf.Schema != nil {
		if err := x.check(conf.Schema, body, contentType, false); err != nil {
			return err
		}
	}
	if conf.Body == nil {
		x.replace(body)
		delete(x.out.Header, "Content-Encoding")
		return nil
	}
	out, err := x.apply(request, conf.Body, conf.Body.Program, body, contentType)
	if err != nil {
		return err
	}
	x.setBody(conf.Body, out)
	return nil
}

// readBody reads all of a client's body.
func (x *exchange) readBody(coding string) ([]byte, error) {
	limit := int64(x.filter.conf.MaxBodyBytes)
	if coding == identity && x.in.ContentLength > limit {
		return nil, tooLarge(limit)
	}
	if bodiless(x.in) {
		return nil, nil
	}
	late := bodies.NewDeadline(x.w, x.filter.conf.BodyTimeout)
	defer late.Stop()
	size := int64(bytes.MinRead)
	if coding == identity && x.in.ContentLength > 0 {
		size = min(x.in.ContentLength, limit) + 1
	}
	body, err := x.readDecoded(late.Reader(x.in.Body), coding, min(size, 64<<10), limit)
	if err != nil && late.Passed() {
		return nil, os.ErrDeadlineExceeded
	}
	if err != nil && x.in.Context().Err() != nil {
		return nil, errClientGone
	}
	return body, err
}

// readAll reads up to limit bytes, within the budget.
func (x *exchange) readAll(r io.Reader, size, limit int64) ([]byte, error) {
	if err := x.take(size); err != nil {
		return nil, err
	}
	body := make([]byte, 0, size)
	for {
		n, err := r.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		switch {
		case int64(len(body)) > limit:
			return nil, tooLarge(limit)
		case err == io.EOF:
			return body, nil
		case err != nil:
			return nil, err
		case len(body) < cap(body):
			continue
		}
		more := min(int64(cap(body)), limit+1-int64(cap(body)))
		if err := x.take(more); err != nil {
			return nil, err
		}
		body = append(make([]byte, 0, int64(cap(body))+more), body...)
	}
}

// setBody has another body go on.
func (x *exchange) setBody(b *resource.TransformBody, body []byte) {
	x.replace(body)
	x.describe(b, mediaType(b, b.Program, body, x.in.Header.Get("Content-Type")))
}

// replace has these bytes go on as the body.
func (x *exchange) replace(body []byte) {
	x.out.Body, x.out.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	x.out.TransferEncoding = nil
	x.out.Trailer = x.in.Trailer.Clone()
	drop(x.out.Trailer)
	switch {
	case len(x.out.Trailer) > 0: // which need chunks
		x.out.ContentLength = -1
	case len(body) == 0:
		x.out.Body = http.NoBody
	}
}

// changed is a body that was changed on its way. With its end come the trailers of
// the one that it was.
type changed struct {
	*io.PipeReader
	from, to http.Header // trailers
}

// Read implements io.Reader.
func (c *changed) Read(p []byte) (int, error) {
	n, err := c.PipeReader.Read(p)
	if err == io.EOF && c.to != nil { //nolint:errorlint // the bare value, as of any Reader
		maps.Copy(c.to, c.from)
		drop(c.to)
	}
	return n, err
}

// describe sets the headers that say what the body is.
func (x *exchange) describe(b *resource.TransformBody, contentType string) {
	h := x.out.Header
	drop(h)
	delete(h, "Expect")
	delete(h, "Soapaction")
	h.Set("Content-Type", contentType)
	if b.To == transform.SOAP && b.SOAP == soap.V11 {
		h.Set("SOAPAction", `"`+b.Action+`"`)
	}
}

// upload is a client's body that is changed record by record while it is sent on.
type upload struct {
	out  *io.PipeReader
	done chan struct{}
	err  error // of the change; read after done
}

// streamBody has the body changed while it goes on.
func (x *exchange) streamBody(b *resource.TransformBody, coding, contentType string) {
	out, in := io.Pipe()
	u := &upload{out: out, done: make(chan struct{})}
	source := &counting{r: decoded(x.in.Body, coding)}
	x.upload = u
	x.out.ContentLength, x.out.Trailer = -1, x.in.Trailer.Clone()
	drop(x.out.Trailer)
	x.out.Body = &changed{PipeReader: out, from: x.in.Trailer, to: x.out.Trailer}
	x.describe(b, b.Program.ContentType(nil))
	x.filter.builder.uploads.Go(func() {
		begun := time.Now()
		sink := &counted{w: in}
		u.err = b.Program.Stream(x.in.Context(), sink, source, contentType)
		close(u.done)                // before the pipe ends: who is told of the error there has it here
		_ = in.CloseWithError(u.err) // nil is EOF
		if u.err == nil {
			x.converted(request, source.n, sink.n, time.Since(begun))
		}
	})
}

// end stops the change of a body, and gives what went wrong with it. Where the
// client still has to send the rest, the goroutine ends when the server gives up
// the body, which is after the response; see Builder.Drain.
func (u *upload) end() error {
	if u == nil {
		return nil
	}
	_ = u.out.CloseWithError(errAnswered)
	return u.failure()
}

// failure gives what is wrong with the body if that is known by now; nil: nothing,
// or nobody wanted all of it.
func (u *upload) failure() error {
	if u == nil {
		return nil
	}
	select {
	case <-u.done:
		if errors.Is(u.err, errAnswered) {
			return nil
		}
		return u.err
	default:
		return nil
	}
}

// errAnswered ends a body whose rest nobody reads.
var errAnswered = errors.New("the request has been answered")

type counting struct {
	r io.Reader
	n int
}

// Read implements io.Reader.
func (c *counting) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += n
	return n, err
}

type counted struct {
	w io.Writer
	n int
}

// Write implements io.Writer.
func (c *counted) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += n
	return n, err
}
