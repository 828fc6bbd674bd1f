package pool

import (
	"crypto/tls"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/filters/http/h1"
	"github.com/dragoman-mesh/dragoman/pkg/netloop"
)

// What follows is for event loops, which keep connections of their own: the pool
// counts them, and says how long they live.

// Begin counts a request to an endpoint in, End counts it out.
func (k *Cluster) Begin(ep *filters.Endpoint) { k.host(ep).active.Add(1) }

// End ends what Begin began.
func (k *Cluster) End(ep *filters.Endpoint) { k.host(ep).active.Add(-1) }

// OneAtATime says that an endpoint is spoken to in HTTP/1.1 by a client that
// speaks it.
func (k *Cluster) OneAtATime() bool {
	o := k.options()
	return o == nil || o.HTTP.Protocol == filters.HTTP1 || o.HTTP.Protocol == filters.HTTPAsDown
}

// Limits bound the head of a response.
func (k *Cluster) Limits() h1.Limits { return headLimits(k.options()) }

func headLimits(o *filters.UpstreamOptions) h1.Limits {
	l := h1.Limits{HeadBytes: defaultHeadBytes, Fields: responseFields}
	if o != nil && o.HTTP.HeaderBytes > 0 {
		l.HeadBytes = o.HTTP.HeaderBytes
	}
	return l
}

// ConnectTimeout bounds a connect, TLS included.
func (k *Cluster) ConnectTimeout() time.Duration { return connectTimeout(k.options()) }

func connectTimeout(o *filters.UpstreamOptions) time.Duration {
	if o == nil || o.ConnectTimeout == 0 {
		return 5 * time.Second
	}
	return o.ConnectTimeout
}

// KeepAlive finds endpoints that are gone without a word.
func (k *Cluster) KeepAlive() netloop.KeepAlive {
	if o := k.options(); o != nil {
		return o.KeepAlive
	}
	return netloop.KeepAlive{}
}

// TLS is how HTTP/1.1 is spoken to an endpoint; nil: in the clear.
func (k *Cluster) TLS(ep *filters.Endpoint) *tls.Config {
	if ep.TLS == nil {
		return nil
	}
	return k.host(ep).config(onlyHTTP1)
}

// Life is what bounds a connection's.
type Life struct {
	Idle, Age time.Duration
	Uses      int
}

// Expired says that a connection of that life gets no further request.
func (k *Cluster) Expired(l Life) bool { return outlived(k.options(), l) }

func outlived(o *filters.UpstreamOptions, l Life) bool {
	if o == nil {
		o = &filters.UpstreamOptions{}
	}
	idle := o.HTTP.IdleTimeout
	if idle == 0 {
		idle = defaultIdle
	}
	return idle > 0 && l.Idle > idle ||
		o.HTTP.MaxConnectionAge > 0 && l.Age > o.HTTP.MaxConnectionAge ||
		o.HTTP.RequestsPerConn > 0 && l.Uses >= o.HTTP.RequestsPerConn
}

// Given says that a connection became idle: who waits for one may look.
func (k *Cluster) Given() { k.wakeOne() }

// Gone says that the pool is closed: connections are not kept.
func (k *Cluster) Gone() bool { return k.gone() }

// ConnectFailed counts a failed connect, and tells the cluster.
func (k *Cluster) ConnectFailed(ep *filters.Endpoint, err error, timeout bool) *ConnectError {
	k.ConnectFailures.Add(1)
	k.Report(ep, filters.ConnectFailure)
	return &ConnectError{Endpoint: ep.Address, Err: err, Timeout: timeout}
}

// Known says which endpoints the cluster has.
func (k *Cluster) Known() map[*filters.Endpoint]bool {
	known := map[*filters.Endpoint]bool{}
	table := (*k.source.Load()).Table()
	for i := range table.Shards {
		known[table.Shards[i].Primary] = true
		for _, r := range table.Shards[i].Replicas {
			known[r] = true
		}
	}
	return known
}

// OnFull has fn called when a connection is wanted and there are as many as may
// be: one that is idle elsewhere should give way. fn is called on any goroutine
// and must not block.
func (k *Cluster) OnFull(fn func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.onFull = append(k.onFull, fn)
}

// shed asks for an idle connection to be closed, wherever it is.
func (k *Cluster) shed() {
	k.mu.Lock()
	asked := k.onFull
	hosts := make([]*host, 0, len(k.hosts))
	for _, h := range k.hosts {
		hosts = append(hosts, h)
	}
	k.mu.Unlock()
	for _, h := range hosts {
		if h.shed() {
			return
		}
	}
	for _, fn := range asked {
		fn()
	}
}

// shed closes an idle connection of HTTP/1.1; false: there is none.
func (h *host) shed() bool {
	h.mu.Lock()
	if len(h.idle) == 0 {
		h.mu.Unlock()
		return false
	}
	c := h.idle[0]
	h.idle = h.idle[1:]
	h.mu.Unlock()
	c.Close()
	h.cluster.Release()
	return true
}
