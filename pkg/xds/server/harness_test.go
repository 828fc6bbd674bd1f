package server_test

import (
	"cmp"
	"context"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dragoman-mesh/dragoman/pkg/xds/server"
)

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

// typeURLs are the types as the transcripts call them.
var typeURLs = map[string]string{
	"cds": server.ClusterType, "eds": server.EndpointType, "lds": server.ListenerType, "rds": server.RouteType,
	"sds": server.SecretType, "ecds": server.ExtensionType, "sync": "type.googleapis.com/sync",
}

// people admits everybody, with one grant, and notes who comes and goes.
type people struct {
	mu sync.Mutex
	// mu guards below
	grant *server.Grant
	deny  error
	nodes map[*server.Node]bool

	arrived chan *server.Node
	acks    chan server.Ack
	nacks   chan server.Refusal
	finder  func(n *server.Node, typeURL string, names []string)
}

func newPeople() *people {
	return &people{
		nodes: map[*server.Node]bool{}, arrived: make(chan *server.Node, 1<<15),
		acks: make(chan server.Ack, 1<<15), nacks: make(chan server.Refusal, 1<<15),
	}
}

func (p *people) Connect(ctx context.Context, n *server.Node) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.deny != nil {
		return "", p.deny
	}
	n.SetGrant(p.grant)
	p.nodes[n] = true
	p.arrived <- n
	md, _ := metadata.FromIncomingContext(ctx)
	return strings.Join(md.Get("identity"), ","), nil
}

func (p *people) Disconnected(n *server.Node) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.nodes, n)
}

func (p *people) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.nodes)
}

// find gives the node that calls itself so, nil if there is none.
func (p *people) find(id string) *server.Node {
	p.mu.Lock()
	defer p.mu.Unlock()
	for n := range p.nodes {
		if n.ID() == id {
			return n
		}
	}
	return nil
}

// give changes what those who come will get.
func (p *people) give(g *server.Grant) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.grant = g
}

func (p *people) Acked(_ *server.Node, a server.Ack) { p.acks <- a }

func (p *people) Refused(_ *server.Node, r server.Refusal) { p.nacks <- r }

func (p *people) Find(_ context.Context, n *server.Node, typeURL string, names []string) {
	if p.finder != nil {
		p.finder(n, typeURL, names)
	}
}

// world is a server on loopback and those who use it.
type world struct {
	t       testing.TB
	people  *people
	server  *server.Server
	grpc    *grpc.Server
	address string
}

func newWorld(t testing.TB, limits server.Limits, options ...grpc.ServerOption) *world {
	t.Helper()
	return newLoggedWorld(t, limits, quietLog(t), options...)
}

func newLoggedWorld(t testing.TB, limits server.Limits, log *slog.Logger, options ...grpc.ServerOption) *world {
	t.Helper()
	w := &world{t: t, people: newPeople()}
	w.server = server.New(server.Options{Nodes: w.people, Observer: w.people, Finder: w.people, Limits: limits, Logger: log})
	w.grpc = grpc.NewServer(append(w.server.GRPCOptions(), options...)...)
	w.server.Register(w.grpc)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.address = listener.Addr().String()
	done := make(chan error, 1)
	go func() { done <- w.grpc.Serve(w.server.Limit(listener)) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
		defer cancel()
		if err := w.server.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		w.grpc.Stop()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return w
}

// dial gives a client with a connection of its own.
func (w *world) dial(options ...grpc.DialOption) discoveryv3.AggregatedDiscoveryServiceClient {
	w.t.Helper()
	conn, err := grpc.NewClient(w.address, append(options, grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { conn.Close() })
	return discoveryv3.NewAggregatedDiscoveryServiceClient(conn)
}

// grant makes a grant of words such as cds/a or lds/a@dev. keep:a@a/dev says that of
// a, which is a/dev, nothing is known.
func (w *world) grant(words ...string) *server.Grant {
	names := map[string]map[string]string{}
	var kept []server.Kept
	for _, word := range words {
		if of, ok := strings.CutPrefix(word, "keep:"); ok {
			object, variant, _ := strings.Cut(of, "@")
			kept = append(kept, server.Kept{Object: object, Variant: cmp.Or(variant, object)})
			continue
		}
		short, id, _ := strings.Cut(word, "/")
		if names[typeURLs[short]] == nil {
			names[typeURLs[short]] = map[string]string{}
		}
		name, _, _ := strings.Cut(id, "@")
		names[typeURLs[short]][name] = id
	}
	return w.server.NewGrant(names, kept...)
}

// resource makes a resource whose content is a word.
func (w *world) resource(short, name, content string) *server.Resource {
	w.t.Helper()
	r, err := server.NewResource(typeURLs[short], name, wrapperspb.String(content))
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// change reads words such as cds/a=1, lds/a@dev=2 and eds/b=- (gone).
func (w *world) change(word string) server.Change {
	w.t.Helper()
	what, content, ok := strings.Cut(word, "=")
	short, id, slash := strings.Cut(what, "/")
	if !ok || !slash || typeURLs[short] == "" {
		w.t.Fatalf("a change is type/name=content, not %q", word)
	}
	c := server.Change{Key: server.Key{TypeURL: typeURLs[short], ID: id}, At: time.Now()}
	if content != "-" {
		name, _, _ := strings.Cut(id, "@")
		c.Resource = w.resource(short, name, content)
	}
	return c
}

func (w *world) publish(words ...string) uint64 {
	w.t.Helper()
	changes := make([]server.Change, 0, len(words))
	for _, word := range words {
		changes = append(changes, w.change(word))
	}
	return w.server.Publish(changes)
}

// eventually polls until a condition holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-deadline.C:
			t.Fatalf("not within %s: %s", patience, what)
		case <-tick.C:
		}
	}
}

// next takes from a channel, or fails.
func next[T any](t testing.TB, what string, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatalf("not within %s: %s", patience, what)
		panic("unreachable")
	}
}
