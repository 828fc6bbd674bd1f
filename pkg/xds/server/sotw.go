package server

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	cachev3 "github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	resourcev3 "github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	sotwv3 "github.com/envoyproxy/go-control-plane/pkg/server/sotw/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"
)

// maxSotwTypes is how many types a state-of-the-world stream may ask for:
// go-control-plane's server has room for ten responses at a time.
const maxSotwTypes = 8

// StreamAggregatedResources serves a state-of-the-world stream through
// go-control-plane's server: one of its own per stream, because a stream is told
// apart from others by nothing that the cache gets to see.
func (s *Server) StreamAggregatedResources(stream discoveryv3.AggregatedDiscoveryService_StreamAggregatedResourcesServer) error {
	return s.serve(stream, StateOfTheWorld, func(ctx context.Context, n *Node) error {
		w := &watcher{ctx: ctx, node: n}
		inner := sotwv3.NewServer(ctx, w, w, sotwv3.WithOrderedADS())
		err := inner.StreamHandler(&sotwStream{AggregatedDiscoveryService_StreamAggregatedResourcesServer: stream, node: n}, resourcev3.AnyType)
		return streamEnd(err)
	})
}

// sotwStream hears of requests that could not be received.
type sotwStream struct {
	discoveryv3.AggregatedDiscoveryService_StreamAggregatedResourcesServer
	node *Node
}

func (s *sotwStream) Recv() (*discoveryv3.DiscoveryRequest, error) {
	r, err := s.AggregatedDiscoveryService_StreamAggregatedResourcesServer.Recv()
	if err != nil {
		s.node.broken(err)
	}
	return r, err
}

// watcher is one stream's cache, and its callbacks. Its methods are called on
// the stream's goroutine.
type watcher struct {
	ctx  context.Context
	node *Node
}

// watch is the library's way of waiting for one response.
type watch struct {
	request *cachev3.Request
	answer  chan cachev3.Response
}

func (w *watcher) OnStreamOpen(context.Context, int64, string) error { return nil }

func (w *watcher) OnStreamClosed(int64, *corev3.Node) {}

// OnStreamRequest judges a request before it is looked at.
func (w *watcher) OnStreamRequest(_ int64, r *discoveryv3.DiscoveryRequest) error {
	n, now := w.node, time.Now()
	n.touch(now)
	names := r.GetResourceNames()
	longest := 0
	for _, name := range names {
		longest = max(longest, len(name))
	}
	if err := n.check(request{typeURL: r.GetTypeUrl(), names: len(names), longest: longest}); err != nil {
		return err
	}
	if !n.admitted.Load() {
		if err := n.admit(w.ctx, r.GetNode()); err != nil {
			return err
		}
	}
	if err := n.pace.wait(w.ctx, n, now); err != nil {
		return err
	}
	n.find(w.ctx, r.GetTypeUrl(), names)
	return nil
}

// OnStreamResponse hears that a response goes out.
func (w *watcher) OnStreamResponse(_ context.Context, _ int64, r *discoveryv3.DiscoveryRequest, _ *discoveryv3.DiscoveryResponse) {
	n := w.node
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, l := range n.lanes {
		if l.typeURL == r.GetTypeUrl() && l.flight != nil {
			l.flight.delivered = true
		}
	}
}

// CreateDeltaWatch is part of the library's interface; delta streams are not its.
func (w *watcher) CreateDeltaWatch(*cachev3.DeltaRequest, cachev3.Subscription, chan cachev3.DeltaResponse) (func(), error) {
	return nil, status.Error(codes.Unimplemented, "delta streams are served elsewhere")
}

// CreateWatch takes a request: what it answers, what it asks for. The response
// comes when there is news for the client; a version that it has refused is none.
func (w *watcher) CreateWatch(r *cachev3.Request, sub cachev3.Subscription, answer chan cachev3.Response) (func(), error) {
	n := w.node
	n.mu.Lock()
	l, first, err := n.laneOf(r.GetTypeUrl(), len(r.GetResourceNames()))
	if err != nil {
		n.mu.Unlock()
		return nil, err
	}
	tell := l.hearSotw(r, time.Now())
	alien := l.applySotw(sub, n.grant.items(l.typeURL))
	l.obliged = l.obliged || first && l.wildcard
	waits := &watch{request: r, answer: answer}
	l.watch = waits
	n.mu.Unlock()

	if tell != nil {
		tell()
	}
	n.report(alien, l.typeURL)
	n.flush(true)
	return func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		if l.watch == waits {
			l.watch = nil
		}
	}, nil
}

// hearSotw takes an ACK or a NACK; the library has compared the nonce. A response
// that it has dropped because this request overtook it was never sent. A request with
// other names behind a NACK has the version that was accepted before it, an ACK that
// comes after all that of the response.
func (l *lane) hearSotw(r *cachev3.Request, now time.Time) func() {
	switch {
	case l.flight == nil && l.declined != nil && r.GetErrorDetail() == nil && r.GetVersionInfo() == l.declined.version:
		return l.reconsider(now)
	case l.flight == nil:
		return nil
	case !l.flight.delivered:
		for _, s := range l.flight.subs {
			if !s.has(gone) {
				s.sent = 0
				l.mark(s)
			}
		}
		l.cause(l.flight.since, l.flight.revision)
		l.obliged = true
		l.flight = nil
		return nil
	case r.GetErrorDetail() == nil:
		return l.resolve(nil, now)
	default:
		return l.resolve(&Refusal{Code: r.GetErrorDetail().GetCode(), Message: clip(r.GetErrorDetail().GetMessage())}, now)
	}
}

// applySotw makes the subscription what the request lists.
func (l *lane) applySotw(sub cachev3.Subscription, items []granted) foreign {
	var alien foreign
	names := sub.SubscribedResources()
	l.wildcard = sub.IsWildcard() && l.rank.wildcard()
	for name, s := range l.subs {
		if _, ok := names[name]; ok {
			continue
		}
		s.marks &^= explicit
		switch {
		case !l.wildcard: // who no longer asks for it forgets it
			l.remove(s)
		case s.entry != nil:
		case s.has(held): // who asks for everything is still to hear that it is gone
			l.mark(s)
		default:
			l.remove(s)
		}
	}
	for name := range names {
		s := l.subs[name]
		if s != nil {
			s.marks |= explicit
			continue
		}
		if g := find(items, name); g != nil {
			s = l.subscribe(g.name, g.entry)
		} else {
			alien.add(l, name)
			s = l.subscribe(name, nil)
		}
		s.marks |= explicit
		l.mark(s)
	}
	if l.wildcard {
		l.subscribeAll(items, nil)
	}
	return alien
}

// deliver answers an open watch if there is news that may go out.
func (l *lane) deliver(g gates) {
	if l.watch == nil {
		return
	}
	f := &flight{}
	var content []*Resource
	var news bool
	if l.rank.wildcard() {
		content, news = l.world(f, g)
	} else {
		content, news = l.news(f, g)
	}
	if !news {
		return
	}
	l.obliged = false
	l.launch(f, len(f.subs))
	slices.SortFunc(content, func(a, b *Resource) int { return cmp.Compare(a.name, b.name) })
	f.version = l.version()
	answer := &discoveryv3.DiscoveryResponse{VersionInfo: f.version, TypeUrl: l.typeURL}
	m := response{count: len(content)}
	for _, r := range content {
		answer.Resources = append(answer.Resources, &anypb.Any{TypeUrl: r.typeURL, Value: r.value})
		m.bytes += len(r.value)
	}
	waits := l.watch
	l.watch = nil
	// The channel has room: the library has one watch per type at a time.
	waits.answer <- &cachev3.PassthroughResponse{Request: waits.request, DiscoveryResponse: answer}
	l.meter.sent(&m)
}

// news is what has changed, for types of which a part can be sent. That something
// is gone can't be said for them.
func (l *lane) news(f *flight, g gates) (content []*Resource, news bool) {
	kept := l.dirty[:0]
	for _, s := range l.dirty {
		r, due := s.due()
		if !due {
			s.marks &^= dirty
			continue
		}
		if !g.pass(s, r) {
			kept = append(kept, s)
			continue
		}
		if s.take(r); r != nil {
			content = append(content, r)
			f.subs = append(f.subs, s)
		}
	}
	clear(l.dirty[len(kept):])
	l.dirty = kept
	return content, len(content) > 0
}

// world is everything that the client is to have: for listeners and clusters what
// is missing from a response is gone. So it goes out as a whole, or waits.
func (l *lane) world(f *flight, g gates) (content []*Resource, news bool) {
	news = l.obliged
	wait := false
	for _, s := range l.dirty {
		r, due := s.due()
		if !due {
			continue
		}
		news = news || r != nil || s.has(held)
		wait = wait || !g.pass(s, r) && (r != nil || l.ups == 0)
	}
	if !news || wait {
		return nil, false
	}
	for _, s := range l.subs {
		r := s.want()
		if r != nil {
			content = append(content, r)
		}
		switch {
		case r != nil && r.hash != s.sent || r == nil:
			if r != nil || s.has(held) {
				f.subs = append(f.subs, s)
			}
			if r != nil && r.warms != "" {
				l.node.warmLocked(r.warms)
			}
			s.take(r)
		case s.has(refused):
			f.subs = append(f.subs, s) // it goes along again, and will be refused again
			fallthrough
		default:
			s.marks &^= dirty | owed
		}
	}
	l.dirty = nil
	return content, true
}

// warmLocked has endpoints sent once more behind a cluster that is new or has changed:
// Envoy uses it only once a response has them, though they are the same, and asks for
// them with the names that it has asked for before, which looks like an ACK
// (https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol#resource-warming).
// With delta it subscribes once more.
func (n *Node) warmLocked(name string) {
	for _, l := range n.lanes {
		if s := l.subs[name]; l.rank == rankEndpoint && s != nil && s.has(held) {
			s.marks |= owed
			l.mark(s)
		}
	}
}

// version is that of everything that the client has been sent.
func (l *lane) version() string {
	names := make([]string, 0, len(l.subs))
	for name, s := range l.subs {
		if s.sent != 0 {
			names = append(names, name+"\x00"+strconv.FormatUint(s.sent, 16)+"\x00")
		}
	}
	slices.Sort(names)
	h := sha256.New()
	for _, name := range names {
		h.Write([]byte(name))
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}
