package http

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/filters/http/pool"
	"github.com/dragoman-mesh/dragoman/pkg/filters/http/route"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// replayLimit is how much of a body is kept for another try or a mirror.
const replayLimit = 64 << 10

// errStale ends the reading of a try that was given up.
var errStale = errors.New("another try reads the body now")

// replay is a request's body that can be read again from its beginning, as far
// as it is kept.
type replay struct {
	p    *passage
	keep bool

	mu     sync.Mutex
	source io.ReadCloser // guarded by mu
	kept   []byte        // guarded by mu
	lost   bool          // more was read than is kept; guarded by mu
	end    error         // of source; guarded by mu
	latest *replayView   // guarded by mu
}

// wrapBody has the body counted, and kept where it may be needed again.
func (p *passage) wrapBody() {
	if p.in.Body == nil || p.in.Body == http.NoBody || p.in.ContentLength == 0 {
		return
	}
	keep := p.keeps() || p.hasMirrors() && p.in.ContentLength <= replayLimit
	p.body = &replay{p: p, keep: keep, source: p.in.Body}
	p.keeper = p.body
}

// keeps says that a body is to be kept for another try, as far as its length is
// known.
func (p *passage) keeps() bool {
	return p.retry != nil && p.retry.Retries > 0 && p.in.ContentLength <= replayLimit
}

// replayable says that another try could send all of it.
func (b *replay) replayable() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.keep && !b.lost && (b.end == nil || b.end == io.EOF) //nolint:errorlint // as the reader gave it
}

// whole gives the body if all of it is kept.
func (b *replay) whole() ([]byte, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.kept, b.keep && !b.lost && b.end == io.EOF //nolint:errorlint // as the reader gave it
}

// view begins to read from the beginning. Earlier views end.
func (b *replay) view() io.ReadCloser {
	v := &replayView{b: b}
	b.mu.Lock()
	b.latest = v
	b.mu.Unlock()
	return v
}

type replayView struct {
	b  *replay
	at int
}

// Read implements io.Reader.
func (v *replayView) Read(p []byte) (int, error) {
	b := v.b
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.latest != v {
		return 0, errStale
	}
	if v.at < len(b.kept) {
		n := copy(p, b.kept[v.at:])
		v.at += n
		return n, nil
	}
	if b.end != nil {
		return 0, b.end
	}
	n, err := b.source.Read(p)
	b.p.x.received.Add(int64(n))
	b.p.clock.touch()
	switch {
	case !b.keep || b.lost:
	case len(b.kept)+n > replayLimit:
		b.kept, b.lost = nil, true
	default:
		b.kept = append(b.kept, p[:n]...)
		v.at += n
	}
	if err != nil {
		b.end = err
		if err == io.EOF {
			b.p.clock.sent()
		}
	}
	return n, err
}

// Close implements io.Closer. The body is the server's to close.
func (*replayView) Close() error { return nil }

// shadow is a copy of a request for another cluster.
type shadow struct {
	p    *passage
	pool *pool.Cluster
	out  *http.Request
}

func (x *exchange) mirrorPolicies() []resource.RouteMirror {
	switch {
	case len(x.route.Forward.Mirrors) > 0:
		return x.route.Forward.Mirrors
	case len(x.host.Mirrors) > 0:
		return x.host.Mirrors
	default:
		return x.routes.table.Config().Mirrors
	}
}

func (p *passage) hasMirrors() bool { return len(p.x.mirrorPolicies()) > 0 }

// mirrors makes the copies that are to be sent: without a body at once, with
// one when it is known.
func (p *passage) mirrors() []*shadow {
	if p.upgrade != "" {
		return nil
	}
	var list []*shadow
	policies := p.x.mirrorPolicies()
	for i := range policies {
		m := &policies[i]
		cluster, ok := p.x.routes.clusters.Cluster(m.Cluster)
		if !ok || !route.Drawn(m.Fraction) {
			continue
		}
		out := *p.out
		out.Header = p.out.Header.Clone()
		if !m.KeepHost {
			out.Host += "-shadow"
		}
		u := *p.out.URL
		u.Host, out.URL = out.Host, &u
		s := &shadow{p: p, pool: p.rt.pools.Cluster(cluster), out: &out}
		if p.body == nil {
			s.start(nil)
		} else {
			list = append(list, s)
		}
	}
	return list
}

// send sends the copy of a request whose body has been read by now.
func (s *shadow) send() {
	if body, ok := s.p.body.whole(); ok {
		s.start(body)
	}
}

// mirrorTimeout bounds copies, which nobody waits for.
const mirrorTimeout = 15 * time.Second

// start sends the copy beside the request, within the cluster's limits.
func (s *shadow) start(body []byte) {
	if s.pool.Enter() != nil {
		return
	}
	target := s.p.target
	go func() {
		defer s.pool.Leave()
		ctx, cancel := context.WithTimeout(context.Background(), mirrorTimeout)
		defer cancel()
		ep := s.pool.Pick(nil, nil, 1)
		if ep == nil {
			return
		}
		s.out.ContentLength = int64(len(body))
		if body != nil {
			s.out.Body = newBytesBody(body)
		}
		call := &pool.Call{Request: s.out, Endpoint: ep}
		call.Wire.Target = target
		s.out.URL.Scheme = "http"
		if ep.TLS != nil {
			s.out.URL.Scheme = "https"
		}
		resp, err := s.pool.Do(ctx, call)
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, resp.Body) // nobody looks at it
		_ = resp.Body.Close()
	}()
}
