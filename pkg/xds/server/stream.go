package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"
	"google.golang.org/protobuf/proto"
)

// tap is asked before a stream begins, on its connection's goroutine: those that
// are too many per second cost nothing more.
func (s *Server) tap(ctx context.Context, info *tap.Info) (context.Context, error) {
	if !strings.HasPrefix(info.FullMethodName, "/"+discoveryv3.AggregatedDiscoveryService_ServiceDesc.ServiceName+"/") {
		return ctx, nil
	}
	now := time.Now()
	if !s.bucket.take(now) {
		return nil, s.refuse(reasonConnects, remoteOf(ctx), now)
	}
	return ctx, nil
}

func remoteOf(ctx context.Context) string {
	if p, ok := peer.FromContext(ctx); ok {
		return p.Addr.String()
	}
	return ""
}

// text is a refusal as clients see it.
func (r refusalReason) text(limits *Limits) string {
	switch r {
	case reasonConnects:
		return fmt.Sprintf("more than %g streams per second: try again later", limits.Connects)
	case reasonStreams:
		return fmt.Sprintf("%d streams are open or %d wait to be admitted: try again later", limits.Streams, limits.Pending)
	case reasonIdentity:
		return fmt.Sprintf("this identity has %d streams already", limits.StreamsPerIdentity)
	case reasonSilent:
		return fmt.Sprintf("no request within %s", limits.FirstRequest)
	default:
		return string(r)
	}
}

// refuse counts and logs a refusal, and gives what the client gets.
func (s *Server) refuse(reason refusalReason, remote string, now time.Time) error {
	s.metrics.refuse(reason)
	if hidden, ok := s.floods.may(reason, now); ok {
		s.log.Warn("xds: a stream is refused", "reason", string(reason), "remote", remote, "unlogged", hidden)
	}
	text := reason.text(&s.options.Limits)
	switch reason {
	case reasonDraining:
		return status.Error(codes.Unavailable, "this control plane is shutting down; connect again")
	case reasonSilent:
		return status.Error(codes.DeadlineExceeded, text)
	default:
		return s.later(text)
	}
}

// floods keeps a flood out of the log: one line per second and reason.
type floods struct {
	mu sync.Mutex
	// mu guards below
	reasons map[refusalReason]flood
}

type flood struct {
	next   time.Time
	hidden int
}

// may says whether to log now, and how many were not logged since the last.
func (f *floods) may(reason refusalReason, now time.Time) (hidden int, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.reasons == nil {
		f.reasons = map[refusalReason]flood{}
	}
	last := f.reasons[reason]
	if now.Before(last.next) {
		last.hidden++
		f.reasons[reason] = last
		return 0, false
	}
	f.reasons[reason] = flood{next: now.Add(time.Second)}
	return last.hidden, true
}

// statusWriter is what gRPC's own streams can do: end with a status while their
// handler waits for the client. It is not part of the documented interface, so
// there is another way where it is missing.
type statusWriter interface {
	WriteStatus(st *status.Status) error
}

// serve runs a stream from its beginning to its end.
func (s *Server) serve(stream grpc.ServerStream, protocol Protocol, converse func(ctx context.Context, n *Node) error) error {
	ctx := stream.Context()
	n := &Node{server: s, protocol: protocol, since: time.Now()}
	if w, ok := grpc.ServerTransportStreamFromContext(ctx).(statusWriter); ok {
		n.hangUp = func(reason error) { _ = w.WriteStatus(status.Convert(reason)) } // it fails if the stream has ended already
		return n.live(ctx, converse)
	}
	return n.serveBeside(ctx, converse)
}

// serveBeside ends a stream by returning from its handler: the conversation needs
// a goroutine of its own.
func (n *Node) serveBeside(ctx context.Context, converse func(ctx context.Context, n *Node) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	n.hangUp = func(error) { cancel() }
	ended := make(chan error, 1)
	n.server.run(func() { ended <- n.live(ctx, converse) })
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return n.verdict(status.FromContextError(ctx.Err()).Err())
	}
}

// live is a stream's life: enter, converse, leave.
func (n *Node) live(ctx context.Context, converse func(ctx context.Context, n *Node) error) error {
	s := n.server
	n.remote = remoteOf(ctx)
	if reason := s.registry.enter(n); reason != "" {
		return s.refuse(reason, n.remote, n.since)
	}
	n.deadline = time.AfterFunc(s.options.Limits.FirstRequest, func() { n.Close(s.refuse(reasonSilent, n.remote, time.Now())) })
	err := converse(ctx, n)
	n.deadline.Stop()
	n.close()
	admitted := n.admitted.Load()
	if admitted {
		s.options.Nodes.Disconnected(n)
	}
	s.registry.leave(n, admitted)
	return n.verdict(err)
}

// verdict is what the stream ends with.
func (n *Node) verdict(err error) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.reason != nil {
		return n.reason
	}
	return err
}

// admit has a node's first request judged.
func (n *Node) admit(ctx context.Context, claimed *corev3.Node) error {
	s := n.server
	n.deadline.Stop()
	if size := proto.Size(claimed); size > s.options.Limits.NodeBytes {
		s.metrics.refuse(reasonBytes)
		return status.Errorf(codes.InvalidArgument, "node has %d bytes; %d are allowed", size, s.options.Limits.NodeBytes)
	}
	n.claimed = claimed
	identity, err := s.options.Nodes.Connect(ctx, n)
	if err != nil {
		return n.denied(err)
	}
	n.identity = identity
	if reason := s.registry.admit(n); reason != "" {
		s.options.Nodes.Disconnected(n)
		return s.refuse(reason, n.remote, time.Now())
	}
	n.admitted.Store(true)
	return nil
}

// denied logs and counts that a node was not let in.
func (n *Node) denied(err error) error {
	s := n.server
	st, ok := status.FromError(err)
	s.metrics.refuse(reasonDenied)
	if hidden, may := s.floods.may(reasonDenied, time.Now()); may {
		s.log.Warn("xds: a node is not admitted", "node", n.ID(), "remote", n.remote, "error", err, "unlogged", hidden)
	}
	if !ok || st.Code() == codes.Unknown {
		return status.Error(codes.Unavailable, "the node could not be admitted now")
	}
	return st.Err()
}

// request is what the two protocols' requests have in common.
type request struct {
	typeURL string
	names   int
	longest int
}

// check holds a request against the limits.
func (n *Node) check(r request) error {
	l := &n.server.options.Limits
	var reason refusalReason
	var err error
	switch {
	case r.typeURL == "" || len(r.typeURL) > maxTypeBytes:
		reason, err = reasonMalformed, status.Errorf(codes.InvalidArgument, "type_url has %d bytes; 1 to %d are possible", len(r.typeURL), maxTypeBytes)
	case r.names > l.Names:
		reason, err = reasonNames, status.Errorf(codes.ResourceExhausted, "the request has %d names; %d are allowed", r.names, l.Names)
	case r.longest > l.NameBytes:
		reason, err = reasonNames, status.Errorf(codes.InvalidArgument, "a name has %d bytes; %d are allowed", r.longest, l.NameBytes)
	default:
		return nil
	}
	n.violation(reason, err)
	return err
}

// violation counts and logs what ends a stream.
func (n *Node) violation(reason refusalReason, err error) {
	n.server.metrics.refuse(reason)
	if hidden, ok := n.server.floods.may(reason, time.Now()); ok {
		n.server.log.Warn("xds: a request is refused", "reason", string(reason), "node", n.ID(), "identity", n.identity,
			"remote", n.remote, "error", err, "unlogged", hidden)
	}
}

// streamEnd is what a stream ends with when it can't be read any more: a client
// that has hung up has done nothing wrong.
func streamEnd(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// broken counts a receive error that is the client's doing.
func (n *Node) broken(err error) {
	switch status.Code(err) {
	case codes.ResourceExhausted:
		n.violation(reasonBytes, err)
	case codes.Internal:
		n.violation(reasonMalformed, err)
	}
}

// find has names made that the grant lacks.
func (n *Node) find(ctx context.Context, typeURL string, names []string) {
	finder := n.server.options.Finder
	if finder == nil || len(names) == 0 {
		return
	}
	if missing := n.missing(typeURL, names); len(missing) > 0 {
		finder.Find(ctx, n, typeURL, missing)
	}
}

// missing are the names that are neither granted nor subscribed to already.
func (n *Node) missing(typeURL string, names []string) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var known map[string]*sub
	if i := slices.IndexFunc(n.lanes, func(l *lane) bool { return l.typeURL == typeURL }); i >= 0 {
		known = n.lanes[i].subs
	}
	items := n.grant.items(typeURL)
	var missing []string
	for _, name := range names {
		if name != "*" && known[name] == nil && find(items, name) == nil {
			missing = append(missing, strings.Clone(name))
		}
	}
	return missing
}

// foreign is how many names of a request are not granted, and one of them.
type foreign struct {
	count int
	name  string
	warn  bool
}

func (f *foreign) add(l *lane, name string) {
	f.count++
	if !l.warned {
		l.warned, f.warn, f.name = true, true, strings.Clone(name)
	}
}

// report counts names that are not granted, and logs them once per stream and
// type.
func (n *Node) report(f foreign, typeURL string) {
	if f.count == 0 {
		return
	}
	n.server.metrics.refusals.WithLabelValues(string(reasonForeign)).Add(float64(f.count))
	if f.warn {
		n.server.log.Warn("xds: a node asks for what it is not granted", "node", n.ID(), "identity", n.identity, "remote", n.remote,
			"type", typeURL, "name", f.name, "count", f.count)
	}
}
