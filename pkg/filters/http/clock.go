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
	age     *time.Timer // guarded by mu
	quiet   *time.Timer // guarded by mu
	stopped bool        // guarded by mu
}

// timeouts are what bounds a request; 0: nothing.
type timeouts struct {
	bound   time.Duration // of the response, from the end of the request on
	still   time.Duration // without anything sent or received
	age     time.Duration // of the whole exchange
	request time.Duration // of receiving the request
}

// timeouts gives those of the route and the listener.
func (p *passage) timeouts() timeouts {
	l := &p.x.chain.conf.Limits
	t := timeouts{bound: boundOf(p.route, p.in.Header), still: l.StreamIdle, age: p.route.MaxStream, request: l.RequestTimeout}
	switch {
	case p.route.IdleTimeout > 0:
		t.still = p.route.IdleTimeout
	case p.route.IdleTimeout < 0:
		t.still = 0
	}
	if t.age == 0 {
		t.age = l.MaxStream
	}
	return t
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
	if t.age > 0 {
		c.age = time.AfterFunc(t.age, func() { p.x.end(errTimeout) })
	}
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

// upgraded lifts the bound of the response: a tunnel has no end.
func (c *clock) upgraded() {
	c.answered()
	c.idle()
}

func (c *clock) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = true
	for _, t := range []*time.Timer{c.timeout, c.age, c.quiet} {
		if t != nil {
			t.Stop()
		}
	}
}
