package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Server is an ADS server. Make it with [New], make a gRPC server with its
// [Server.GRPCOptions], register it there; at the end call [Server.Shutdown].
type Server struct {
	discoveryv3.UnimplementedAggregatedDiscoveryServiceServer

	options  Options
	log      *slog.Logger
	table    *table
	registry *registry
	bucket   *bucket
	queue    *queue
	metrics  *metrics
	floods   floods

	revision  atomic.Uint64
	resources atomic.Int64

	// tasks are the workers and those who send to slow clients.
	tasks sync.WaitGroup
}

// New makes a server and starts its workers, which Shutdown ends.
func New(options Options) *Server {
	options.Limits.fill()
	if options.Logger == nil {
		options.Logger = slog.Default()
	}
	s := &Server{
		options:  options,
		log:      options.Logger,
		table:    newTable(),
		registry: newRegistry(options.Limits),
		bucket:   newBucket(options.Limits.Connects, options.Limits.Burst, time.Now()),
		queue:    newQueue(),
		metrics:  newMetrics(),
	}
	for range runtime.GOMAXPROCS(0) {
		s.run(s.work)
	}
	return s
}

// Register adds the ADS service to a gRPC server made with GRPCOptions.
func (s *Server) Register(r grpc.ServiceRegistrar) {
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(r, s)
}

func (s *Server) run(f func()) { s.tasks.Go(f) }

func (s *Server) work() {
	for {
		n := s.queue.get()
		if n == nil {
			return
		}
		n.flush(false)
	}
}

// Publish puts versions in place, and sends them to whom they concern. It does
// not wait for that. A batch is sent in the protocol's order, whatever its own;
// a version with the content of the one before sends nothing. Changes of one
// resource must not be published from two goroutines at once. It gives the
// number of the batch, which ACKs refer to.
func (s *Server) Publish(changes []Change) uint64 {
	revision := s.revision.Add(1)
	var woken []*Node
	var subs []*sub
	for _, c := range s.order(changes) {
		var changed bool
		if subs, changed = s.place(c, subs[:0]); !changed {
			continue
		}
		for _, sub := range subs {
			if n := sub.lane.node; n.notify(sub, c.At, revision) {
				woken = append(woken, n)
			}
		}
	}
	// Only now: who is woken finds all of the batch.
	s.queue.put(woken...)
	return revision
}

// place makes a change the current version.
func (s *Server) place(c Change, subs []*sub) ([]*sub, bool) {
	e := s.table.hold(c.Key, c.Resource != nil)
	existed := e.current.Load() != nil
	subs, changed := e.swap(c.Resource, subs)
	if exists := c.Resource != nil; exists && !existed {
		s.resources.Add(1)
	} else if existed && !exists {
		s.resources.Add(-1)
	}
	return subs, changed
}

// order sorts a batch: what is new in the order of the protocol, then what is
// gone, the other way round. A stream that sends in the middle of the batch thus
// has what it needs. Of several changes of one resource only the last stays.
func (s *Server) order(changes []Change) []Change {
	if len(changes) < 2 {
		return s.valid(changes)
	}
	last := make(map[Key]int, len(changes))
	for i := range changes {
		last[changes[i].Key] = i
	}
	sorted := make([]Change, 0, len(last))
	for i, c := range changes {
		if last[c.Key] == i {
			sorted = append(sorted, c)
		}
	}
	slices.SortStableFunc(sorted, func(a, b Change) int { return place(a) - place(b) })
	return s.valid(sorted)
}

func place(c Change) int {
	r := rankOf(c.Key.TypeURL)
	if c.Resource != nil {
		return int(r)
	}
	return int(rankOther) + 1 + r.dismantling()
}

// valid drops changes whose resource is of another type than their key.
func (s *Server) valid(changes []Change) []Change {
	for i, c := range changes {
		if c.Resource == nil || c.Resource.typeURL == c.Key.TypeURL {
			continue
		}
		s.log.Error("xds: a resource of another type than its key is not published", "key", c.Key.String(), "type", c.Resource.typeURL)
		return s.valid(slices.Delete(slices.Clone(changes), i, i+1))
	}
	return changes
}

var errShutdown = errors.New("streams are still open")

// Shutdown hands the nodes over: no stream is let in any more, and those that
// are there are told to connect again (to another replica), spread over
// [Limits.Drain] or three quarters of what the context leaves. Before it, stop
// accepting connections: a gRPC server's GracefulStop, begun at the same time,
// returns when Shutdown has ended the streams.
func (s *Server) Shutdown(ctx context.Context) error {
	nodes := s.registry.drain()
	span := s.options.Limits.Drain
	if deadline, ok := ctx.Deadline(); ok {
		span = min(span, time.Until(deadline)*3/4)
	}
	farewell := status.Error(codes.Unavailable, "this control plane is shutting down; connect again")
	for _, n := range nodes {
		timer := time.AfterFunc(spread(span), func() { n.Close(farewell) })
		defer timer.Stop()
	}
	err := s.wait(ctx, nodes, farewell)
	s.queue.close()
	if err == nil {
		s.tasks.Wait()
	}
	return err
}

func (s *Server) wait(ctx context.Context, nodes []*Node, farewell error) error {
	select {
	case <-s.registry.empty:
		return nil
	case <-ctx.Done():
	}
	for _, n := range nodes {
		n.Close(farewell)
	}
	timer := time.NewTimer(5 * time.Second)
	defer timer.Stop()
	select {
	case <-s.registry.empty:
		return nil
	case <-timer.C:
		return fmt.Errorf("shutting down the xDS server: %w: %d", errShutdown, len(s.registry.list()))
	}
}

// refused tells of a NACK.
func (s *Server) refused(n *Node, r Refusal) {
	names := make([]string, 0, min(len(r.Keys), maxRefusals))
	for _, k := range r.Keys[:cap(names)] {
		names = append(names, k.ID)
	}
	s.log.Warn("xds: a node refuses a response", "node", n.ID(), "identity", n.identity, "type", r.TypeURL, "resources", names,
		"count", len(r.Keys), "error", r.Message)
	if s.options.Observer != nil {
		s.options.Observer.Refused(n, r)
	}
}
