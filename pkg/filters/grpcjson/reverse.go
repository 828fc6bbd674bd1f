package grpcjson

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/dragoman-mesh/dragoman/pkg/bodies"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/transform/transcode"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// reverse is one call for an app that takes JSON.
type reverse struct {
	conf     *resource.GRPCJSONFilter
	service  *service
	method   *transcode.Method
	counters *methodCounters
	w        http.ResponseWriter
	in       *http.Request
	budget   *bodies.Budget
	account  *bodies.Account
	body     *callBody // of a method that takes a stream; nil: it takes one message
	single   *heldBody // of a method that takes one message; nil: it takes a stream
}

// heldBody is a request's body that gives back what it takes of the budget when it has
// been read: the answer may take as long as it wants.
type heldBody struct {
	left  []byte
	share bodies.Share
}

// Read implements io.Reader.
func (b *heldBody) Read(p []byte) (int, error) {
	n := copy(p, b.left)
	if b.left = b.left[n:]; len(b.left) > 0 {
		return n, nil
	}
	b.left = nil
	b.share.Set(0)
	return n, io.EOF
}

// serveReverse serves a request that may be a call.
func (f *filter) serveReverse(w http.ResponseWriter, r *http.Request, conf *resource.GRPCJSONFilter, s *service, next http.Handler) {
	if !isGRPC(r.Header) {
		next.ServeHTTP(w, r)
		return
	}
	v := &reverse{conf: conf, service: s, method: s.api.Method(r.URL.Path), w: w, in: r, budget: f.budget, account: f.budget.Open()}
	defer v.account.Close()
	if v.method == nil {
		v.counters = s.none
		if !v.own() {
			v.unknown(next)
		}
		return
	}
	v.counters = s.of(v.method)
	v.counters.requests.Inc()
	if len(v.method.Bindings) == 0 {
		what := ""
		if v.method.ClientStreams {
			what = " with a body, which could hold its stream of messages"
		}
		v.end(reasonUnknown, codes.Unimplemented, "the method has no rule of google.api.http"+what)
		return
	}
	if v.method.ClientStreams {
		q, bad := v.stream()
		if bad != nil {
			v.end(bad.why, bad.code, bad.message)
			return
		}
		v.call(q, next)
		return
	}
	share := v.account.Share()
	wire, err := v.message(&share)
	if err != nil {
		v.refuse(err)
		return
	}
	q, err := v.first(wire)
	if err == nil && !share.Set(len(q.Body)) { // the message is not needed any more
		err = errBudget
	}
	if err != nil {
		bad := wrongCall(err)
		v.end(bad.why, bad.code, bad.message)
		return
	}
	v.counters.taken.Inc()
	v.single = &heldBody{left: q.Body, share: share}
	v.call(q, next)
}

// first makes a request of a call's message, or of the first of a stream.
func (v *reverse) first(wire []byte) (q *transcode.HTTPRequest, err error) {
	err = inTurn(v.in.Context(), v.budget, len(wire), func() error {
		q, err = v.method.Request(wire, v.conf.Print)
		return err
	})
	return q, err
}

// unknown answers a call of a method that is not there.
func (v *reverse) unknown(next http.Handler) {
	if !v.conf.RejectUnknown {
		next.ServeHTTP(v.w, v.in)
		return
	}
	v.end(reasonUnknown, codes.Unimplemented, "no such method: "+v.in.URL.Path)
}

// refuse answers a call whose message is wrong.
func (v *reverse) refuse(err error) {
	switch {
	case errors.Is(err, errTooLarge):
		v.end(reasonLarge, codes.ResourceExhausted, err.Error())
	case errors.Is(err, errFraming):
		v.end(reasonRequest, codes.Internal, err.Error())
	case errors.Is(err, errBudget):
		v.end(reasonBudget, codes.Unavailable, err.Error())
	case errors.Is(err, os.ErrDeadlineExceeded):
		v.end(reasonSlow, codes.DeadlineExceeded, "the message did not come in time")
	default:
		v.end(reasonRequest, codes.Unavailable, "the request cannot be read")
	}
}

// message reads the only one of a call, of which share is told.
func (v *reverse) message(share *bodies.Share) ([]byte, error) {
	late := bodies.NewDeadline(v.w, v.conf.BodyTimeout)
	defer late.Stop()
	body := late.Reader(v.in.Body)
	f := frames{max: v.conf.MaxRequest, share: v.account.Share(), encoding: v.in.Header.Get("Grpc-Encoding")}
	var message []byte
	count := 0
	buf := make([]byte, uploadChunk)
	for {
		n, err := body.Read(buf)
		bad := f.feed(buf[:n], func(m []byte) error {
			count++
			if !share.Set(len(m)) {
				return errBudget
			}
			message = bytes.Clone(m)
			return nil
		})
		switch {
		case bad != nil:
			return nil, bad
		case count > 1:
			return nil, fmt.Errorf("%w: there are several messages for a method that takes one", errFraming)
		case err == io.EOF:
			if count == 0 {
				return nil, fmt.Errorf("%w: there is no message", errFraming)
			}
			return message, f.end()
		case err != nil:
			return nil, err
		}
	}
}

// call has next ask the app.
func (v *reverse) call(q *transcode.HTTPRequest, next http.Handler) {
	ctx := v.in.Context()
	if d, ok := parseTimeout(v.in.Header.Get("Grpc-Timeout")); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d)
		defer cancel()
	}
	out := v.request(ctx, q)
	if !v.conf.KeepRoute {
		filters.ExchangeOf(ctx).Reroute(out)
	}
	a := &appAnswer{reverse: v, binding: q.Binding, header: make(http.Header), share: v.account.Share()}
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		err, ok := p.(error)
		if !ok || !errors.Is(err, http.ErrAbortHandler) || v.in.Context().Err() != nil {
			v.counters.failed(reasonCut)
			panic(p)
		}
		if f := v.broken(); f != nil {
			a.end(f.why, f.outcome)
			return
		}
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			a.end(reasonCut, outcome{code: codes.DeadlineExceeded, message: "the call's deadline has passed"})
			return
		}
		a.end(reasonCut, outcome{code: codes.Unavailable, message: "the app's answer is not whole"})
	}()
	next.ServeHTTP(a, out)
	if f := v.broken(); f != nil {
		a.end(f.why, f.outcome)
		return
	}
	a.finish()
}

// request is what the app is asked.
func (v *reverse) request(ctx context.Context, q *transcode.HTTPRequest) *http.Request {
	out := v.in.WithContext(ctx)
	h := v.in.Header.Clone()
	for name := range h {
		if strings.HasPrefix(name, "Grpc-") {
			delete(h, name)
		}
	}
	for _, name := range [...]string{"Te", "Content-Type", "Content-Length", "Accept-Encoding", "Trailer"} {
		delete(h, name)
	}
	h["Accept"] = []string{"application/json"}
	if q.Binding.RawResponse {
		h["Accept"] = []string{"*/*"}
	} else if v.method.ServerStreams {
		h["Accept"] = []string{"application/x-ndjson, text/event-stream, application/json"}
	}
	if q.ContentType != "" {
		h["Content-Type"] = []string{q.ContentType}
	}
	out.Header, out.Method, out.Trailer = h, q.Method, nil
	out.URL = &url.URL{Scheme: v.in.URL.Scheme, Host: v.in.URL.Host, RawPath: q.Path, RawQuery: q.Query}
	out.URL.Path, _ = url.PathUnescape(q.Path) // it was escaped here
	out.RequestURI = out.URL.RequestURI()
	out.Proto, out.ProtoMajor, out.ProtoMinor = "HTTP/1.1", 1, 1
	out.Body, out.ContentLength = http.NoBody, 0
	switch {
	case v.body != nil:
		v.body.put(out)
	case len(q.Body) > 0:
		out.Body, out.ContentLength = io.NopCloser(v.single), int64(len(q.Body))
	}
	return out
}

// parseTimeout reads a grpc-timeout.
func parseTimeout(s string) (time.Duration, bool) {
	if len(s) < 2 || len(s) > 9 {
		return 0, false
	}
	n, err := strconv.ParseUint(s[:len(s)-1], 10, 32)
	if err != nil {
		return 0, false
	}
	unit, ok := map[byte]time.Duration{
		'H': time.Hour, 'M': time.Minute, 'S': time.Second, 'm': time.Millisecond, 'u': time.Microsecond, 'n': time.Nanosecond,
	}[s[len(s)-1]]
	const longest = 365 * 24 * time.Hour
	if n > uint64(longest/max(unit, 1)) {
		return longest, ok
	}
	return time.Duration(n) * unit, ok
}

// formatTimeout writes a grpc-timeout, which has eight digits at most.
func formatTimeout(d time.Duration) string {
	if ms := (d + time.Millisecond - 1) / time.Millisecond; ms < 1e8 {
		return strconv.FormatInt(int64(ms), 10) + "m"
	}
	return strconv.FormatInt(int64(min(d/time.Second, 1e8-1)), 10) + "S"
}

// end answers a call that the app has not been asked about.
func (v *reverse) end(why reason, code codes.Code, message string) {
	v.counters.failed(why)
	filters.ExchangeOf(v.in.Context()).Explain("", "grpcjson_"+string(why))
	endCall(v.w, &outcome{code: code, message: message})
}

// endCall is a whole answer without a message.
func endCall(w http.ResponseWriter, o *outcome) {
	h := w.Header()
	h["Content-Type"] = []string{contentType}
	setStatus(h, "", o)
	w.WriteHeader(http.StatusOK)
}
