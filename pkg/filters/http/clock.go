package http

import (
	"net/http"
	"sync"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/filters/http/route"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// clock holds the timeouts of one request. Any of them ends it.
type clock struct {
	x     *exchange
	bound time.Duration // of the response, from the end of the request on; 0: none
	still time.Duration // without anything sent or received; 0: none
	try   *time.Timer   // of the current try

	mu      sync.Mutex
	timeout *time.Timer // guarded by mu
	quiet   *time.Timer // guarded by mu
	stopped bool        // guarded by mu
}

// timeouts are what bounds a request; 0: nothing.
type timeouts struct {
	bound   time.Duration // of the response, from the end of the request on
	still   time.Duration // without anything sent or received
	request time.Duration // of receiving the request
}

// timeouts gives those of the route and the listener.
func (p *passage) timeouts() timeouts {
	l := &p.x.chain.conf.Limits
	t := timeouts{bound: boundOf(p.route, p.in.Header), still: l.StreamIdle, request: l.RequestTimeout}
	switch {
	case p.route.IdleTimeout > 0:
		t.still = p.route.IdleTimeout
	case p.route.IdleTimeout < 0:
		t.still = 0
	}
	return t
}

// maxAge is how long the whole exchange may take; 0: as long as it wants.
func (x *exchange) maxAge() time.Duration {
	if x.route != nil && x.route.Forward != nil && x.route.Forward.MaxStream != 0 {
		return x.route.Forward.MaxStream
	}
	return x.chain.conf.Limits.MaxStream
}

// ages begins to bound the whole exchange, and changes the bound where the route
// has become another.
func (x *exchange) ages() {
	d := x.maxAge()
	if d == x.most {
		return
	}
	x.stopAge()
	x.most = d
	if d > 0 {
		x.age = time.AfterFunc(d-time.Since(x.start), func() { x.end(errTimeout) })
	}
}

// stopClocks ends all timeouts.
func (x *exchange) stopClocks() {
	x.stopAge()
	if c := x.clock.Load(); c != nil {
		c.stop()
	}
}

func (x *exchange) stopAge() {
	if x.age != nil {
		x.age.Stop()
	}
}

// boundOf is a route's timeout for a request; 0: none.
func boundOf(r *resource.Forward, h http.Header) time.Duration {
	if r.MaxGRPCTimeout >= 0 && route.IsGRPC(h) {
		return grpcBound(h.Get("Grpc-Timeout"), r.MaxGRPCTimeout)
	}
	return r.Timeout
}

// startClock begins the request's timeouts.
func (p *passage) startClock() {
	t := p.timeouts()
	c := &clock{x: p.x, bound: t.bound, still: t.still}
	p.clock = c
	p.x.ages()
	if p.body == nil {
		c.sent()
		return
	}
	if t.request > 0 {
		c.timeout = time.AfterFunc(t.request-time.Since(p.x.start), func() { p.x.end(errRequestTooOld) })
	}
	c.idle()
}

// grpcBound reads a grpc-timeout, and bounds it; 0: none.
func grpcBound(s string, most time.Duration) time.Duration {
	unit := map[byte]time.Duration{'H': time.Hour, 'M': time.Minute, 'S': time.Second, 'm': time.Millisecond, 'u': time.Microsecond, 'n': 1}
	if len(s) < 2 || len(s) > 9 || unit[s[len(s)-1]] == 0 {
		return most
	}
	var n time.Duration
	for i := range len(s) - 1 {
		if s[i] < '0' || s[i] > '9' {
			return most
		}
		n = n*10 + time.Duration(s[i]-'0')
	}
	d := n * unit[s[len(s)-1]]
	if most > 0 && (d > most || d <= 0) {
		return most
	}
	return d
}

// sent says that the request is complete: the timeout of the route begins.
func (c *clock) sent() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped {
		return
	}
	if c.timeout != nil {
		c.timeout.Stop()
		c.timeout = nil
	}
	if c.bound > 0 {
		c.timeout = time.AfterFunc(c.bound, func() { c.x.end(errTimeout) })
	} else if c.still > 0 && c.quiet == nil {
		c.quiet = time.AfterFunc(c.still, func() { c.x.end(errStreamIdle) })
	}
}

// idle begins to look for streams on which nothing happens.
func (c *clock) idle() {
	if c.still == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.quiet == nil && !c.stopped {
		c.quiet = time.AfterFunc(c.still, func() { c.x.end(errStreamIdle) })
	}
}

// touch says that something has happened.
func (c *clock) touch() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.quiet != nil && !c.stopped {
		c.quiet.Reset(c.still)
	}
}

// answered says that the endpoint has sent everything: how long the client takes
// to read it is no matter of the route's timeout.
func (c *clock) answered() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timeout != nil {
		c.timeout.Stop()
		c.timeout = nil
	}
}

// stopClock ends the timeouts of what the router does. Filters before it may have
// the answer, or some of it, and write it to their client: then that is not to stand
// still either, but how long it takes is no matter of the route's timeout.
func (p *passage) stopClock() {
	x := p.x
	if x.within {
		x.stopAge()
	}
	if x.within || x.chain.router != nil {
		p.clock.stop()
		return
	}
	p.clock.answered()
	p.clock.idle()
	x.clock.Store(p.clock)
}

// upgraded lifts the bound of the response: a tunnel has no end.
func (c *clock) upgraded() {
	c.answered()
	c.idle()
}

func (c *clock) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = true
	for _, t := range []*time.Timer{c.timeout, c.quiet} {
		if t != nil {
			t.Stop()
		}
	}
}
