package http

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/filters/http/pool"
	"github.com/dragoman-mesh/dragoman/pkg/filters/http/route"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// replayLimit is how much of a body is kept for another try or a mirror.
const replayLimit = 64 << 10

// copySize is how much of a body is taken at once.
const copySize = 32 << 10

// errStale ends the reading of a try that was given up.
var errStale = errors.New("another try reads the body now")

// replay is a request's body that can be read again from its beginning, as far
// as it is kept. What has not arrived yet of the client's body is read by a goroutine
// beside, so that who reads here can stop at any time, however long the client takes.
type replay struct {
	p        *passage
	source   io.ReadCloser // read by one goroutine at a time
	mirrored bool          // it is kept to the end
	trailer  http.Header   // as it was announced

	mu      sync.Mutex
	came    sync.Cond   // something has happened to what follows
	keep    bool        // guarded by mu
	kept    []byte      // the part of the body from base on, as far as it has come; guarded by mu
	base    int64       // guarded by mu
	reading bool        // source; guarded by mu
	held    bool        // nothing more is read: another try may follow; guarded by mu
	end     error       // of source; guarded by mu
	latest  *replayView // guarded by mu
	first   replayView  // memory for the view that most requests have alone; guarded by mu
	stop    func() bool // the wait for the request's end; nil: nobody has waited for the client; guarded by mu
}

// wrapBody has the body counted, and kept where it may be needed again.
func (p *passage) wrapBody() {
	if p.in.Body == nil || p.in.Body == http.NoBody || p.in.ContentLength == 0 {
		return
	}
	mirrored := p.hasMirrors() && p.in.ContentLength <= replayLimit
	b := &replay{p: p, keep: mirrored || p.keeps() || p.pool.MayRefuse(p.in.ProtoMajor == 2), mirrored: mirrored, source: p.in.Body, trailer: p.in.Trailer.Clone()}
	b.came.L = &b.mu
	p.body, p.keeper = b, b
}

// keeps says that a body is to be kept for another try, as far as its length is
// known.
func (p *passage) keeps() bool {
	return p.retry != nil && p.retry.Retries > 0 && p.in.ContentLength <= replayLimit
}

// replayable says that another try could send all of it. That stays so: whoever is
// still at the latest try gets no more than has come, until view or settled is called.
func (b *replay) replayable() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.held = b.base == 0 && (b.end == nil || b.end == io.EOF) //nolint:errorlint // as the reader gave it
	return b.held
}

// whole gives the body if all of it is kept.
func (b *replay) whole() ([]byte, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.kept, b.base == 0 && len(b.kept) <= replayLimit && b.end == io.EOF //nolint:errorlint // as the reader gave it
}

// settled says that no other try follows.
func (b *replay) settled() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.keep, b.held = b.mirrored, false
	b.came.Broadcast()
}

// close ends all views: the request has been answered.
func (b *replay) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.latest = nil
	if b.stop != nil {
		b.stop()
	}
	b.came.Broadcast()
}

// view has a request read it from the beginning, with trailers of its own. Earlier
// views end.
func (b *replay) view(out *http.Request) {
	out.Trailer = b.trailer.Clone()
	b.mu.Lock()
	defer b.mu.Unlock()
	v := &b.first
	if v.b != nil {
		v = new(replayView)
	}
	v.b, v.trailer = b, out.Trailer
	out.Body = v
	b.latest, b.held = v, false
	b.came.Broadcast()
}

// fetchLocked reads the source, or begins to, when all that has come was read. mu is
// held, but for a while.
func (b *replay) fetchLocked() {
	const least = 4 << 10
	size := len(b.kept) - len(b.kept)%least // as much as there is: more at once of what is long
	// Kept is as much as fits into the windows that most have, and what is read ahead.
	if !b.keep || b.base > 0 || len(b.kept) >= replayLimit+copySize {
		b.base += int64(len(b.kept))
		b.kept = b.kept[:0]
		size *= 2 // of the piece before
		if cap(b.kept) > copySize {
			b.kept = nil
		}
	}
	size = min(max(size, least), copySize)
	if n := b.p.in.ContentLength; n > 0 {
		left := n - b.base - int64(len(b.kept)) + 1 // one more, to find the end
		size = int(min(int64(size), max(left, 1)))
	}
	b.kept = slices.Grow(b.kept, size)
	b.reading = true
	room := b.kept[len(b.kept):cap(b.kept)]
	if ahead, ok := b.source.(pending); ok && ahead.Pending() {
		b.mu.Unlock()
		b.fetch(room)
		b.mu.Lock()
		return
	}
	if b.stop == nil {
		b.stop = context.AfterFunc(b.p.in.Context(), b.p.giveUpBody)
	}
	go b.fetch(room)
}

func (b *replay) fetch(room []byte) {
	n, err := b.source.Read(room)
	b.p.x.received.Add(int64(n))
	b.p.clock.touch()
	if err == io.EOF {
		b.p.clock.sent()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.kept, b.end, b.reading = b.kept[:len(b.kept)+n], err, false
	b.came.Broadcast()
}

type replayView struct {
	b       *replay
	trailer http.Header // filled at the end; nil: nobody asks for any
	at      int64
	closed  bool // guarded by b.mu
}

// Read implements io.Reader.
func (v *replayView) Read(p []byte) (int, error) {
	b := v.b
	b.mu.Lock()
	defer b.mu.Unlock()
	for {
		switch come := b.base + int64(len(b.kept)); {
		case b.latest != v || v.closed:
			return 0, errStale
		case v.at < come:
			n := copy(p, b.kept[v.at-b.base:])
			v.at += int64(n)
			if v.at == come && b.end != nil {
				return n, v.over() // not to be asked for it
			}
			return n, nil
		case b.end != nil:
			return 0, v.over()
		case !b.reading && !b.held:
			b.fetchLocked()
		default:
			b.came.Wait()
		}
	}
}

// over ends the body as its source has ended.
func (v *replayView) over() error {
	if v.trailer != nil {
		maps.Copy(v.trailer, v.b.p.in.Trailer)
	}
	return v.b.end
}

// Close implements io.Closer: who reads reads no more. The source is the server's to
// close.
func (v *replayView) Close() error {
	v.b.mu.Lock()
	defer v.b.mu.Unlock()
	v.closed = true
	v.b.came.Broadcast()
	return nil
}

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
