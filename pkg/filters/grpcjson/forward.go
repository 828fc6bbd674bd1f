package grpcjson

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	transcoderv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/grpc_json_transcoder/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/dragoman-mesh/dragoman/pkg/bodies"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/transform/transcode"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// contentType of gRPC.
const contentType = "application/grpc"

// isGRPC says that a body is gRPC's, whatever it is made of.
func isGRPC(h http.Header) bool {
	t := h.Get("Content-Type")
	rest, ok := strings.CutPrefix(t, contentType)
	return ok && (rest == "" || rest[0] == '+' || rest[0] == ';')
}

// forward is one request with JSON for a gRPC server.
type forward struct {
	conf     *resource.GRPCJSONFilter
	service  *service
	call     *transcode.Call
	counters *methodCounters
	w        http.ResponseWriter
	in       *http.Request
	budget   *bodies.Budget
	account  *bodies.Account
	deadline time.Time // the client's or the route's; zero: there is none

	broken atomic.Pointer[problem] // what was wrong with the request's body, found while it was sent; from any goroutine
}

// serveForward serves a request that may be a call.
func (f *filter) serveForward(w http.ResponseWriter, r *http.Request, conf *resource.GRPCJSONFilter, s *service, next http.Handler) {
	if isGRPC(r.Header) {
		next.ServeHTTP(w, r)
		return
	}
	call, ok := s.api.Match(r.Method, r.URL.EscapedPath())
	if !ok {
		if !conf.RejectUnknown {
			next.ServeHTTP(w, r)
			return
		}
		s.none.failed(reasonUnknown)
		newProblem(http.StatusNotFound, reasonUnknown, "no method has a rule for this method and path").answer(w, r)
		return
	}
	fw := &forward{conf: conf, service: s, call: call, counters: s.of(call.Method), w: w, in: r, budget: f.budget, account: f.budget.Open()}
	defer fw.account.Close()
	if err := call.Head(r.URL.RawQuery, &conf.Request); err != nil {
		fw.refuse(w, fieldProblem(err))
		return
	}
	if len(call.Unknown) > 0 && !conf.IgnoreQuery && (!conf.CaptureQuery || !call.RawRequest) {
		if !conf.RejectQuery {
			next.ServeHTTP(w, r)
			return
		}
		fw.refuse(w, unknownParameters(call.Unknown))
		return
	}
	fw.counters.requests.Inc()
	out, cancel, p := fw.request()
	if p != nil {
		fw.refuse(w, p)
		return
	}
	defer cancel()
	if !conf.KeepRoute {
		filters.ExchangeOf(r.Context()).Reroute(out)
	}
	fw.bound(out)
	fw.answer(w, out, next)
}

func unknownParameters(unknown url.Values) *problem {
	p := newProblem(http.StatusBadRequest, reasonRequest, "the query has parameters that mean no field of the request")
	for _, name := range slices.Sorted(maps.Keys(unknown)) {
		p.Errors = append(p.Errors, wrong{In: "query", Field: name, Detail: "is not a field of the message"})
	}
	return p
}

// refuse answers a request that goes nowhere.
func (f *forward) refuse(w http.ResponseWriter, p *problem) {
	f.counters.failed(p.reason)
	p.answer(w, f.in)
}

// request makes the call of the request.
func (f *forward) request() (*http.Request, context.CancelFunc, *problem) {
	body, p := f.body()
	if p != nil {
		return nil, nil, p
	}
	ctx, cancel := f.in.Context(), context.CancelFunc(func() {})
	if d, ok := parseTimeout(f.in.Header.Get("Grpc-Timeout")); ok {
		f.deadline = time.Now().Add(d)
		ctx, cancel = context.WithDeadline(ctx, f.deadline)
	}
	out := f.in.WithContext(ctx)
	h := f.in.Header.Clone()
	for _, name := range [...]string{"Content-Length", "Content-Encoding", "Accept-Encoding", "Accept", "Expect"} {
		delete(h, name)
	}
	h["Content-Type"] = []string{contentType}
	h["Te"] = []string{"trailers"}
	h["Grpc-Accept-Encoding"] = []string{"identity"}
	h["X-Envoy-Original-Method"] = []string{f.in.Method}
	h["X-Envoy-Original-Path"] = []string{f.in.URL.RequestURI()}
	out.Header, out.Method = h, http.MethodPost
	out.URL = &url.URL{Scheme: f.in.URL.Scheme, Host: f.in.URL.Host, Path: f.call.Method.Path}
	out.RequestURI = f.call.Method.Path
	out.Proto, out.ProtoMajor, out.ProtoMinor = "HTTP/2.0", 2, 0 // gRPC has no other
	out.TransferEncoding, out.Trailer = nil, nil
	out.Body, out.ContentLength = body, -1
	if whole, ok := body.(*wholeBody); ok {
		out.ContentLength = int64(whole.Len())
	}
	return out, cancel, nil
}

// bound tells the server how long the route lets it answer, unless the client has
// said less. A stream of requests has as long as it takes: the route's timeout
// begins at its end, the server's with the call.
func (f *forward) bound(out *http.Request) {
	most := filters.ExchangeOf(out.Context()).Timeout()
	deadline := time.Now().Add(most)
	if most <= 0 || f.call.Method.ClientStreams || !f.deadline.IsZero() && f.deadline.Before(deadline) {
		return
	}
	f.deadline = deadline
	out.Header["Grpc-Timeout"] = []string{formatTimeout(most)}
}

// late says that the call's deadline has passed. A server begins to count later
// than the proxy: what it ends because of it is late here, too.
func (f *forward) late() bool { return !f.deadline.IsZero() && time.Now().After(f.deadline) }

// wholeBody is a body that is known.
type wholeBody struct{ *bytes.Reader }

// Close implements io.Closer.
func (wholeBody) Close() error { return nil }

// body makes the messages of the call.
func (f *forward) body() (io.ReadCloser, *problem) {
	if !f.call.HasBody() {
		f.counters.taken.Inc()
		return &wholeBody{bytes.NewReader(setLength(f.call.Bare(framed(nil)), 0))}, nil
	}
	if f.call.Method.ClientStreams {
		in, p := f.plain(f.in.Body)
		if p != nil {
			return nil, p
		}
		return f.upload(in), nil
	}
	share := f.account.Share()
	b, p := f.whole(&share)
	if p != nil {
		return nil, p
	}
	var message []byte
	err := inTurn(f.in.Context(), f.budget, len(b), func() error {
		message, p = f.message(nil, b)
		return nil
	})
	switch {
	case p != nil:
		return nil, p
	case err != nil:
		return nil, unreadable(err)
	case !share.Set(len(message)):
		return nil, unreadable(errBudget)
	}
	return &wholeBody{bytes.NewReader(message)}, nil
}

// whole reads all of the body, uncompressed.
func (f *forward) whole(share *bodies.Share) ([]byte, *problem) {
	if f.in.ContentLength > int64(f.conf.MaxRequest) {
		return nil, tooLarge(f.conf.MaxRequest)
	}
	late := bodies.NewDeadline(f.w, f.conf.BodyTimeout)
	defer late.Stop()
	in, p := f.plain(late.Reader(f.in.Body))
	if p != nil {
		return nil, p
	}
	b, err := readAll(in, f.conf.MaxRequest, share)
	switch {
	case errors.Is(err, errTooLarge):
		return nil, tooLarge(f.conf.MaxRequest)
	case err != nil:
		return nil, unreadable(err)
	}
	return b, nil
}

// unreadable says why a body has not been read.
func unreadable(err error) *problem {
	switch {
	case errors.Is(err, errBudget):
		return newProblem(http.StatusServiceUnavailable, reasonBudget, err.Error())
	case errors.Is(err, os.ErrDeadlineExceeded):
		return newProblem(http.StatusRequestTimeout, reasonSlow, "the body did not come in time")
	default:
		return newProblem(http.StatusBadRequest, reasonRequest, "the body cannot be read")
	}
}

func tooLarge(limit int) *problem {
	return newProblem(http.StatusRequestEntityTooLarge, reasonLarge, fmt.Sprintf("the body, or a message in it, has more than %d bytes", limit))
}

// plain undoes the compression of a body.
func (f *forward) plain(body io.Reader) (io.Reader, *problem) {
	switch encoding := strings.ToLower(f.in.Header.Get("Content-Encoding")); encoding {
	case "", "identity":
		return body, nil
	case "gzip", "x-gzip":
		z, err := gzip.NewReader(body)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil, unreadable(err)
		}
		if err != nil {
			return nil, newProblem(http.StatusBadRequest, reasonRequest, "the body is not gzip")
		}
		return z, nil
	default:
		return nil, newProblem(http.StatusUnsupportedMediaType, reasonRequest, "the body is compressed by something else than gzip")
	}
}

// message appends a message of the call, with its frame.
func (f *forward) message(dst, body []byte) ([]byte, *problem) {
	begin := len(dst)
	dst = framed(dst)
	switch {
	case f.call.RawRequest:
		dst = f.call.Raw(dst, f.in.Header.Get("Content-Type"), body, f.captured()...)
	case len(bytes.TrimSpace(body)) == 0:
		dst = f.call.Bare(dst) // no body: a message of what path and query say
	default:
		var err error
		if dst, err = f.call.JSON(dst, body, &f.conf.Request); err != nil {
			return dst, fieldProblem(err)
		}
	}
	f.counters.taken.Inc()
	return setLength(dst, begin), nil
}

// captured is what Envoy makes of parameters that mean no field.
func (f *forward) captured() [][]byte {
	if !f.conf.CaptureQuery || len(f.call.Unknown) == 0 {
		return nil
	}
	all := &transcoderv3.UnknownQueryParams{Key: make(map[string]*transcoderv3.UnknownQueryParams_Values, len(f.call.Unknown))}
	for name, values := range f.call.Unknown {
		all.Key[name] = &transcoderv3.UnknownQueryParams_Values{Values: values}
	}
	packed, err := anypb.New(all)
	if err != nil {
		return nil
	}
	wire, err := proto.Marshal(packed)
	if err != nil {
		return nil
	}
	return [][]byte{wire}
}

// answer has next make the call, and converts what it says.
func (f *forward) answer(w http.ResponseWriter, out *http.Request, next http.Handler) {
	d := &download{forward: f, w: w, header: make(http.Header), style: f.style(), share: f.account.Share()}
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		err, ok := p.(error)
		if !ok || !errors.Is(err, http.ErrAbortHandler) || d.begun || f.in.Context().Err() != nil {
			f.counters.failed(reasonCut)
			panic(p)
		}
		if d.failed {
			return // and has been answered
		}
		if f.late() {
			d.refused(&outcome{code: codes.DeadlineExceeded, message: "the call's deadline has passed"})
			return
		}
		d.fail(newProblem(http.StatusBadGateway, reasonCut, "the server's answer is not whole"))
	}()
	next.ServeHTTP(d, out)
	d.finish()
}

// style is how a stream of answers is written.
func (f *forward) style() resource.JSONStream {
	for _, accept := range f.in.Header["Accept"] {
		for one := range strings.SplitSeq(accept, ",") {
			switch t, _, _ := mime.ParseMediaType(one); t {
			case "text/event-stream":
				return resource.StreamEvents
			case "application/x-ndjson", "application/ndjson", "application/jsonl":
				return resource.StreamLines
			}
		}
	}
	return f.conf.Stream
}
