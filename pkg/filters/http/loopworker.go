package http

import (
	"sync"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/filters/http/pool"
	"github.com/dragoman-mesh/dragoman/pkg/netloop"
)

// loopWorkers are what routers have on event loops, one for each loop.
type loopWorkers struct {
	mu   sync.Mutex
	list map[*netloop.Loop]*loopWorker // guarded by mu
}

// of returns the worker of a loop.
func (s *loopWorkers) of(l *netloop.Loop) *loopWorker {
	s.mu.Lock()
	defer s.mu.Unlock()
	w, ok := s.list[l]
	if !ok {
		w = &loopWorker{loop: l, hosts: map[*filters.Endpoint]*loopHost{}, full: map[*pool.Cluster]struct{}{}}
		if s.list == nil {
			s.list = map[*netloop.Loop]*loopWorker{}
		}
		s.list[l] = w
	}
	return w
}

// close closes idle connections.
func (s *loopWorkers) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for l, w := range s.list {
		l.Post(func() { w.shed(nil, true) })
	}
}

// loopWorker is the connections of one loop to endpoints. Everything in it is the
// loop's.
type loopWorker struct {
	loop    *netloop.Loop
	hosts   map[*filters.Endpoint]*loopHost
	full    map[*pool.Cluster]struct{} // that tell when there are too many connections
	free    []*loopRequest
	out     []byte // what is being written
	sweeper *netloop.Timer
}

// loopHost is those to one endpoint.
type loopHost struct {
	pool *pool.Cluster
	idle []*loopUpstream // latest last
	open int
}

// freeRequests is how many are kept for further use.
const freeRequests = 256

// request gives a client's next request its memory.
func (w *loopWorker) request(c *loopClient) *loopRequest {
	var q *loopRequest
	if n := len(w.free); n > 0 {
		q = w.free[n-1]
		w.free[n-1] = nil
		w.free = w.free[:n-1]
	} else {
		q = newLoopRequest(w.loop)
	}
	q.reset(c)
	return q
}

// newLoopRequest has a request's memory ended by whoever ends its configuration.
func newLoopRequest(l *netloop.Loop) *loopRequest {
	q := &loopRequest{header: map[string][]string{}, fields: map[string][]string{}}
	q.w.header = map[string][]string{}
	q.x.cancel = func(why error) {
		serial := q.serial // as long as the chain knows the exchange it is the same
		l.Post(func() {
			if q.serial == serial && q.c != nil {
				q.cancel(why)
			}
		})
	}
	return q
}

func (w *loopWorker) recycle(q *loopRequest) {
	q.serial++
	q.forget()
	if len(w.free) < freeRequests {
		w.free = append(w.free, q)
	}
}

func (w *loopWorker) host(q *loopRequest) *loopHost {
	h, ok := w.hosts[q.endpoint]
	if !ok {
		h = &loopHost{pool: q.p.pool}
		w.hosts[q.endpoint] = h
	}
	if _, ok := w.full[q.p.pool]; !ok {
		k := q.p.pool
		w.full[k] = struct{}{}
		k.OnFull(func() { w.loop.Post(func() { w.shed(k, false) }) })
	}
	return h
}

// take finds a connection for a request's try: one that is idle, a new one, or a
// place in the queue.
func (w *loopWorker) take(q *loopRequest) (*loopUpstream, *pool.Wait, error) {
	h := w.host(q)
	for len(h.idle) > 0 {
		up := h.idle[len(h.idle)-1]
		h.idle[len(h.idle)-1] = nil
		h.idle = h.idle[:len(h.idle)-1]
		if !h.pool.Expired(up.life(w.loop.Now())) {
			up.uses++
			return up, nil, nil
		}
		up.conn.Close()
	}
	serial := q.serial
	wait, err := h.pool.Reserve(func() {
		w.loop.Post(func() {
			if q.serial == serial {
				q.woken()
			}
		})
	})
	if wait != nil || err != nil {
		return nil, wait, err
	}
	h.pool.Connects.Add(1)
	h.open++
	up := &loopUpstream{worker: w, host: h, endpoint: q.endpoint, born: w.loop.Now(), uses: 1}
	o := netloop.DialOptions{Timeout: h.pool.ConnectTimeout(), TLS: h.pool.TLS(q.endpoint), KeepAlive: h.pool.KeepAlive()}
	up.conn = w.loop.Dial(q.endpoint.Network, q.endpoint.Address, o, up)
	return up, nil, nil
}

// give takes a connection back.
func (w *loopWorker) give(up *loopUpstream) {
	h, now := up.host, w.loop.Now()
	up.idle = now
	if h.pool.Expired(up.life(now)) || h.pool.Gone() {
		up.conn.Close()
		return
	}
	up.conn.Resume()
	h.idle = append(h.idle, up)
	h.pool.Given()
	if w.sweeper == nil {
		w.sweeper = w.loop.After(sweepEvery, w.sweep)
	}
}

// sweepEvery is how long an idle connection may outlive its time, or that of its
// endpoint.
const sweepEvery = 5 * time.Second

// sweep closes idle connections that are too old, or whose endpoint is gone.
func (w *loopWorker) sweep() {
	w.sweeper = nil
	now := w.loop.Now()
	known := map[*pool.Cluster]map[*filters.Endpoint]bool{}
	again := false
	for ep, h := range w.hosts {
		if known[h.pool] == nil {
			known[h.pool] = h.pool.Known()
		}
		there := known[h.pool][ep]
		for _, up := range h.idle {
			if !there || h.pool.Expired(up.life(now)) {
				up.conn.Close() // and is taken out when that is done
			}
		}
		if h.open == 0 && !there {
			delete(w.hosts, ep)
		}
		again = again || h.open > 0
	}
	if again {
		w.sweeper = w.loop.After(sweepEvery, w.sweep)
	}
}

// shed closes idle connections: all, or one of a cluster.
func (w *loopWorker) shed(of *pool.Cluster, all bool) {
	for _, h := range w.hosts {
		if !all && h.pool != of {
			continue
		}
		for _, up := range h.idle {
			up.conn.Close()
			if !all {
				return
			}
		}
	}
}
