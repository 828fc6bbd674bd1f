package pool

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/filters/http/h1"
	"github.com/dragoman-mesh/dragoman/pkg/netloop/rawio"
)

const (
	defaultIdle      = time.Hour
	defaultHeadBytes = 60 << 10
	responseFields   = 1000
)

// host is the connections to one endpoint.
type host struct {
	cluster  *Cluster
	endpoint *filters.Endpoint
	active   atomic.Int64 // requests
	failed   atomic.Bool  // so that the next success is reported

	mu   sync.Mutex
	idle []*h1.Client // latest last; guarded by mu
	h2   []*stream2   // guarded by mu
	tls  [3]*tls.Config
}

// Call is one request to one endpoint.
type Call struct {
	Request  *http.Request
	Endpoint *filters.Endpoint
	HTTP2    bool // the client speaks it, where the cluster follows the client
	Wire     h1.Exchange
	// Deadline of the connect and of the response's head; zero: none.
	Deadline time.Time
	// Protocol is set to what was spoken.
	Protocol string
	// Reused says that the request went over a connection that had others before.
	Reused bool
}

// Do sends a request to an endpoint. The response's body must be closed. An
// error is ErrOverflow, a ConnectError, an h1.BodyError, or says that the
// connection broke.
func (k *Cluster) Do(ctx context.Context, c *Call) (*http.Response, error) {
	h := k.host(c.Endpoint)
	h.active.Add(1)
	resp, err := h.do(ctx, c)
	if err != nil {
		h.active.Add(-1)
	}
	return resp, err
}

func (h *host) do(ctx context.Context, c *Call) (*http.Response, error) {
	o := h.cluster.options()
	if o == nil {
		o = &filters.UpstreamOptions{}
	}
	switch p := o.HTTP.Protocol; {
	case p == filters.HTTP2 || p == filters.HTTPAsDown && c.HTTP2:
		return h.do2(ctx, c, o)
	case p == filters.HTTPByALPN && h.endpoint.TLS != nil:
		return h.doByALPN(ctx, c, o)
	}
	return h.do1(ctx, c, o)
}

func (h *host) do1(ctx context.Context, c *Call, o *filters.UpstreamOptions) (*http.Response, error) {
	client, err := h.take(ctx, c, o)
	if err != nil {
		return nil, err
	}
	return h.over1(ctx, c, client)
}

// over1 sends a request over a connection, which returns to the pool after it.
func (h *host) over1(ctx context.Context, c *Call, client *h1.Client) (*http.Response, error) {
	c.Protocol, c.Reused = "HTTP/1.1", client.Uses > 0
	stop := context.AfterFunc(ctx, func() { _ = client.Conn().SetDeadline(time.Unix(1, 0)) })
	c.Wire.Done = func(reusable bool) {
		untouched := stop()
		h.active.Add(-1)
		h.give(client, reusable && untouched)
	}
	resp, err := client.RoundTrip(c.Request, &c.Wire)
	if err != nil {
		h.active.Add(1) // Do counts it out
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
	}
	return resp, err
}

// take finds an idle connection, or makes one.
func (h *host) take(ctx context.Context, c *Call, o *filters.UpstreamOptions) (*h1.Client, error) {
	for {
		if client := h.reuse(o); client != nil {
			return client, nil
		}
		reserved, err := h.cluster.reserve(ctx)
		if err != nil {
			return nil, err
		}
		if reserved {
			break
		}
	}
	conn, err := h.dial(ctx, c, o, onlyHTTP1)
	if err != nil {
		h.cluster.Release()
		return nil, err
	}
	return h.newClient(conn, o), nil
}

func (h *host) newClient(conn net.Conn, o *filters.UpstreamOptions) *h1.Client {
	client := h1.NewClient(conn, headLimits(o))
	client.Born = time.Now()
	return client
}

// reuse takes the connection that was used last, if it is good for a request.
func (h *host) reuse(o *filters.UpstreamOptions) *h1.Client {
	for {
		h.mu.Lock()
		n := len(h.idle)
		if n == 0 {
			h.mu.Unlock()
			return nil
		}
		client := h.idle[n-1]
		h.idle[n-1] = nil
		h.idle = h.idle[:n-1]
		h.mu.Unlock()
		if !expired(client, o, time.Now()) && client.Alive() {
			return client
		}
		client.Close()
		h.cluster.Release()
	}
}

func expired(c *h1.Client, o *filters.UpstreamOptions, now time.Time) bool {
	return outlived(o, Life{Idle: now.Sub(c.Idle), Age: now.Sub(c.Born), Uses: c.Uses})
}

// give takes a connection back.
func (h *host) give(client *h1.Client, reusable bool) {
	k := h.cluster
	client.Idle = time.Now()
	if o := k.options(); reusable && (o == nil || !expired(client, o, client.Idle)) && !k.gone() {
		h.mu.Lock()
		h.idle = append(h.idle, client)
		first := len(h.idle) == 1
		h.mu.Unlock()
		if first {
			k.sweepLater()
		}
		k.wakeOne()
		return
	}
	client.Close()
	k.Release()
}

func (k *Cluster) gone() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.closed
}

// sweep closes idle connections; all of them if the endpoint is gone. It tells
// whether any is left.
func (h *host) sweep(now time.Time, known bool) bool {
	o := h.cluster.options()
	h.mu.Lock()
	var closing []*h1.Client
	kept := h.idle[:0]
	for _, c := range h.idle {
		if !known || o != nil && expired(c, o, now) {
			closing = append(closing, c)
		} else {
			kept = append(kept, c)
		}
	}
	clear(h.idle[len(kept):])
	h.idle = kept
	left := len(kept) > 0
	if h.sweep2Locked(known) {
		left = true
	}
	h.mu.Unlock()
	for _, c := range closing {
		c.Close()
		h.cluster.Release()
	}
	return left
}

// protocols that a connection may be dialled for.
const (
	onlyHTTP1 = iota
	onlyHTTP2
	eitherHTTP
)

// dial connects, TLS included.
func (h *host) dial(ctx context.Context, c *Call, o *filters.UpstreamOptions, protocol int) (net.Conn, error) {
	k, ep := h.cluster, h.endpoint
	ctx, cancel := context.WithTimeout(ctx, connectTimeout(o))
	defer cancel()
	if !c.Deadline.IsZero() {
		var stop context.CancelFunc
		ctx, stop = context.WithDeadline(ctx, c.Deadline)
		defer stop()
	}
	k.Connects.Add(1)
	var d net.Dialer
	conn, err := d.DialContext(ctx, ep.Network, ep.Address)
	if err == nil {
		conn = rawio.Wrap(conn)
	}
	if err == nil && ep.TLS != nil {
		secure := tls.Client(conn, h.config(protocol))
		if err = secure.HandshakeContext(ctx); err != nil {
			_ = conn.Close()
		}
		conn = secure
	}
	if err == nil {
		return conn, nil
	}
	if errors.Is(err, context.Canceled) {
		k.ConnectFailures.Add(1)
		return nil, cmp.Or(context.Cause(ctx), err) // the client has gone, or the try took too long
	}
	return nil, k.ConnectFailed(ep, err, errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded))
}

// config is the endpoint's TLS for a protocol.
func (h *host) config(protocol int) *tls.Config {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.tls[protocol] == nil {
		cfg := h.endpoint.TLS.Clone()
		cfg.NextProtos = [][]string{{"http/1.1"}, {"h2"}, {"h2", "http/1.1"}}[protocol]
		h.tls[protocol] = cfg
	}
	return h.tls[protocol]
}

// StatusCounts says whether a response of 5xx is a failure of its endpoint.
func (k *Cluster) StatusCounts() bool {
	o := k.options()
	return o != nil && o.HTTP.StatusCounts
}

// Report tells the cluster how an endpoint behaved: failures each time, a
// success after them once.
func (k *Cluster) Report(ep *filters.Endpoint, o filters.Outcome) {
	h := k.host(ep)
	if o == filters.Success && !h.failed.Load() {
		return
	}
	h.failed.Store(o != filters.Success)
	(*k.source.Load()).Report(ep, o)
}
