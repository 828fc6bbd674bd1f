package http

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strconv"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/filters/http/h1"
	"github.com/dragoman-mesh/dragoman/pkg/filters/http/pool"
	"github.com/dragoman-mesh/dragoman/pkg/filters/http/route"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// Why a request was ended.
var (
	errTimeout       = errors.New("no response within the route's timeout")
	errPerTry        = errors.New("no response within the timeout of a try")
	errStreamIdle    = errors.New("nothing was sent or received for too long")
	errRequestTooOld = errors.New("the request was not received in time")
)

// outcome is how one try ended.
type outcome struct {
	resp *http.Response
	err  error
	sent bool // something of the request was written
}

// attempts tries until there is an answer to be passed on.
func (p *passage) attempts() {
	for n := 1; ; n++ {
		p.x.upstream.attempts = n
		ep := p.pick()
		if ep == nil {
			p.x.fail(p.w, http.StatusServiceUnavailable, "UH", "no_healthy_upstream", "no healthy upstream")
			return
		}
		ctx, cancel := p.tryContext()
		o := p.try(ctx, ep)
		if retrying := p.worth(&o, n); retrying && p.pool.MayRetry() {
			if o.resp != nil {
				_ = o.resp.Body.Close()
			}
			cancel(nil)
			p.tried = append(p.tried, ep)
			p.ownHeader()
			again := p.pause(n)
			p.pool.DoneRetry()
			if again {
				continue
			}
			o = outcome{err: p.cause()}
		} else if retrying {
			p.x.flag = "URX"
		}
		p.deliver(&o)
		cancel(nil)
		return
	}
}

// ownHeader gives the next try a header of its own: HTTP/2 may be sending that of a try
// that was given up still. What routes are matched by stays the client's header where a
// filter has made another one of it.
func (p *passage) ownHeader() {
	before, seen := p.in.Header, &p.x.request.Header
	p.in.Header = before.Clone()
	p.out.Header = p.in.Header
	if reflect.ValueOf(*seen).UnsafePointer() == reflect.ValueOf(before).UnsafePointer() {
		*seen = p.in.Header
	}
}

// pick chooses the endpoint of the next try.
func (p *passage) pick() *filters.Endpoint {
	b := &p.x.branch
	if b.Only != nil {
		return b.Only
	}
	ep := p.pool.Pick(p.key, p.avoid(), p.hostAttempts())
	if b.Tried != nil && ep != nil {
		b.Tried.Add(ep)
	}
	return ep
}

func (p *passage) avoid() []*filters.Endpoint {
	var tried []*filters.Endpoint
	if p.retry != nil && p.retry.AvoidHosts {
		tried = p.tried
	}
	if b := &p.x.branch; b.Tried != nil {
		tried = append(b.Tried.List(), tried...)
	}
	return tried
}

func (p *passage) hostAttempts() int {
	switch {
	case p.x.branch.Tried != nil:
		return branchPicks
	case p.retry == nil:
		return 1
	default:
		return int(p.retry.HostAttempts)
	}
}

// tryContext bounds one try. The timeout ends when the response's head is there.
func (p *passage) tryContext() (context.Context, context.CancelCauseFunc) {
	if p.retry == nil || p.retry.PerTry == 0 {
		return p.in.Context(), func(error) {}
	}
	ctx, cancel := context.WithCancelCause(p.in.Context())
	p.clock.try = time.AfterFunc(p.retry.PerTry, func() { cancel(errPerTry) })
	return ctx, func(err error) {
		p.clock.try.Stop()
		cancel(err)
	}
}

// try sends the request to one endpoint.
func (p *passage) try(ctx context.Context, ep *filters.Endpoint) outcome {
	x := p.x
	out := *p.out
	if p.body != nil {
		p.body.view(&out)
	}
	out.Host = p.aim(ep)
	if out.Host != p.out.Host || ep.TLS != nil { // a copy, for the reason of ownHeader
		u := *out.URL
		u.Host, out.URL = out.Host, &u
		if ep.TLS != nil {
			u.Scheme = "https"
		}
	}
	call := &pool.Call{Request: &out, Endpoint: ep, HTTP2: p.in.ProtoMajor == 2, Wire: h1.Exchange{Target: p.target, Inform: p.inform}}
	resp, err := p.pool.Do(ctx, call)
	for n := 0; err != nil && n < repeats && (call.Reused || pool.Refused(err)) && p.mayRepeat(call.Wire.Answered, err); n++ {
		if why := makeRoom(ctx, err, n); why != nil {
			err = why
			break
		}
		if p.body != nil {
			p.body.view(&out)
		}
		*call = pool.Call{Request: &out, Endpoint: ep, HTTP2: call.HTTP2, Wire: h1.Exchange{Target: p.target, Inform: p.inform}}
		resp, err = p.pool.Do(ctx, call)
	}
	x.upstream.protocol = call.Protocol
	p.report(ep, resp, err)
	if resp != nil {
		x.upstream.answered = x.now()
	}
	return outcome{resp: resp, err: err, sent: call.Wire.Sent}
}

// aim notes where a try goes, and gives the host that it asks for there.
func (p *passage) aim(ep *filters.Endpoint) string {
	x := p.x
	x.upstream.address, x.upstream.begun = ep.Address, x.now()
	x.spans.tryBegins(x, p.in.Header, ep, x.upstream.attempts)
	if x.host.AttemptCount {
		p.in.Header["X-Envoy-Attempt-Count"] = []string{strconv.Itoa(x.upstream.attempts)}
	}
	if p.route.Host.Auto && ep.Hostname != "" && (x.weighted == nil || x.weighted.Host == "") {
		return ep.Hostname
	}
	return p.host
}

// repeats is how often a request is sent once more that no endpoint has looked at,
// without a policy for retries.
const repeats = 2

// refusedPause is the shortest pause before a stream that was refused begins again.
const refusedPause = 25 * time.Millisecond

// makeRoom gives an endpoint that has refused a stream, having too many, some time
// before it gets it again: more each time. The error is why the try has ended.
func makeRoom(ctx context.Context, refusal error, n int) error {
	if !pool.Refused(refusal) || pool.WentAway(refusal) {
		return nil
	}
	t := time.NewTimer(refusedPause<<n + rand.N(refusedPause)) // jitter, not a secret
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// mayRepeat says that a request without body on a connection that was used
// before has met its end, and does no harm twice (RFC 9110 section 9.2.2); or that the
// endpoint has not looked at it (RFC 9113 section 8.7), and its body is all there.
func (p *passage) mayRepeat(answered bool, err error) bool {
	if answered || p.cause() != nil || errors.Is(err, errPerTry) {
		return false
	}
	if pool.Refused(err) {
		return p.keeper == nil || p.keeper.replayable()
	}
	if p.keeper != nil {
		return false
	}
	switch p.in.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodPut, http.MethodDelete:
		return true
	default:
		return false
	}
}

// report tells the cluster how the endpoint behaved. As in Envoy, an app's own
// 5xx speaks against its endpoint only where the cluster has outlier detection.
func (p *passage) report(ep *filters.Endpoint, resp *http.Response, err error) {
	p.x.spans.tryEnds(p.x, resp, err)
	var connect *pool.ConnectError
	var body *h1.BodyError
	switch {
	case err == nil && resp.StatusCode >= 500 && p.pool.StatusCounts():
		p.pool.Report(ep, filters.ServerError)
	case err == nil:
		p.pool.Report(ep, filters.Success)
	case errors.As(err, &connect), errors.As(err, &body), errors.Is(err, pool.ErrOverflow), pool.WentAway(err):
	case errors.Is(err, errTimeout), errors.Is(err, errPerTry):
		p.pool.Timeouts.Add(1)
		p.pool.Report(ep, filters.RequestTimeout)
	case p.cause() != nil: // the client has gone
	default:
		p.pool.Resets.Add(1)
		p.pool.Report(ep, filters.Disconnect)
	}
}

// worth says whether another try may give a better answer.
func (p *passage) worth(o *outcome, n int) bool {
	rp := p.retry
	if rp == nil || n > int(rp.Retries) || p.cause() != nil || p.x.writer.status != 0 {
		return false
	}
	if p.keeper != nil && !p.keeper.replayable() {
		return false
	}
	if len(rp.Requests) > 0 && !slices.ContainsFunc(rp.Requests, func(m resource.HeaderMatch) bool {
		return route.MatchHeader(&m, &p.x.request)
	}) {
		return false
	}
	if o.err != nil {
		return p.worthError(o)
	}
	return p.worthStatus(o.resp)
}

func (p *passage) worthError(o *outcome) bool {
	on := p.retry.On
	var connect *pool.ConnectError
	var body *h1.BodyError
	switch {
	case errors.As(o.err, &body), errors.Is(o.err, pool.ErrOverflow):
		return false
	case errors.As(o.err, &connect):
		return on&(resource.RetryConnectFailure|resource.Retry5xx|resource.RetryGateway|resource.RetryReset|resource.RetryResetBeforeRequest) != 0
	case errors.Is(o.err, errPerTry):
		return on&(resource.Retry5xx|resource.RetryGateway|resource.RetryReset) != 0
	case pool.Refused(o.err):
		return on&(resource.RetryRefusedStream|resource.Retry5xx|resource.RetryGateway|resource.RetryReset) != 0
	case !o.sent:
		return on&(resource.RetryResetBeforeRequest|resource.RetryReset|resource.Retry5xx|resource.RetryGateway) != 0
	}
	return on&(resource.RetryReset|resource.Retry5xx|resource.RetryGateway) != 0
}

func (p *passage) worthStatus(resp *http.Response) bool {
	rp, status := p.retry, resp.StatusCode
	switch {
	case rp.On&resource.Retry5xx != 0 && status >= 500,
		rp.On&resource.RetryGateway != 0 && status >= 502 && status <= 504,
		rp.On&resource.RetryRetriable4xx != 0 && status == http.StatusConflict,
		rp.On&resource.RetryStatusCodes != 0 && slices.Contains(rp.Codes, status):
		return true
	}
	if rp.On&resource.RetryHeaders != 0 {
		found := route.Request{Header: resp.Header}
		if slices.ContainsFunc(rp.Headers, func(m resource.HeaderMatch) bool { return route.MatchHeader(&m, &found) }) {
			return true
		}
	}
	grpc := map[string]resource.RetryOn{
		"1": resource.RetryGRPCCancelled, "4": resource.RetryGRPCDeadline, "8": resource.RetryGRPCExhausted,
		"13": resource.RetryGRPCInternal, "14": resource.RetryGRPCUnavailable,
	}[resp.Header.Get("Grpc-Status")]
	return rp.On&grpc != 0
}

// backoff is the pause before a further try: a random time below a bound that
// doubles.
func (p *passage) backoff(n int) time.Duration {
	bound := min(p.retry.Base<<min(n-1, 20), p.retry.Max)
	if bound <= 0 {
		bound = p.retry.Max
	}
	return rand.N(bound) // jitter, not a secret
}

// pause waits before a further try. False: there is no more time.
func (p *passage) pause(n int) bool {
	t := time.NewTimer(p.backoff(n))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-p.in.Context().Done():
		return false
	}
}

// failed answers where there is no response to pass on.
func (p *passage) failed(err error) {
	x := p.x
	x.upstream.failure = err.Error()
	var connect *pool.ConnectError
	var body *h1.BodyError
	flag := func(f string) string {
		if x.flag != "" {
			return x.flag + "," + f
		}
		return f
	}
	const before = "upstream connect error or disconnect/reset before headers. reset reason: "
	switch {
	case errors.Is(err, pool.ErrOverflow):
		x.fail(p.w, http.StatusServiceUnavailable, flag("UO"), "overflow", before+"overflow")
	case errors.As(err, &connect):
		x.fail(p.w, http.StatusServiceUnavailable, flag("UF"), "upstream_reset_before_response_started{connection_failure}", before+"connection failure")
	case pool.Refused(err):
		why := "remote refused stream reset"
		if p.keeper != nil && !p.keeper.replayable() {
			why += ": the request was not processed, and too much of its body had been sent to send it once more"
		}
		x.fail(p.w, http.StatusServiceUnavailable, flag("UR"), "upstream_reset_before_response_started{remote_refused_stream_reset}", before+why)
	case errors.Is(err, errTimeout):
		x.fail(p.w, http.StatusGatewayTimeout, flag("UT"), "upstream_response_timeout", "upstream request timeout")
	case errors.Is(err, errPerTry):
		x.fail(p.w, http.StatusGatewayTimeout, flag("UT"), "upstream_per_try_timeout", "upstream request timeout")
	case errors.Is(err, errStreamIdle), errors.Is(err, os.ErrDeadlineExceeded):
		x.fail(p.w, http.StatusRequestTimeout, flag("SI"), "stream_idle_timeout", "stream timeout")
	case errors.Is(err, errRequestTooOld):
		x.fail(p.w, http.StatusRequestTimeout, flag("RT"), "request_overall_timeout", "request timeout")
	case errors.As(err, &body):
		p.w.Header().Set("Connection", "close")
		x.fail(p.w, http.StatusBadRequest, flag("DPE"), "request_body_unreadable", "")
	case errors.Is(err, errRetired):
		x.fail(p.w, http.StatusServiceUnavailable, flag("LR"), "configuration_replaced", "")
	case p.cause() != nil:
		x.Explain("DC", "downstream_remote_disconnect")
		x.abort()
	default:
		x.fail(p.w, http.StatusServiceUnavailable, flag("UC"), "upstream_reset_before_response_started{connection_termination}", before+"connection termination")
	}
}
