// Package adstest is a delta ADS client for tests: it keeps what it is sent,
// answers as it is told, and waits for what a test wants to see.
package adstest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
)

// Deadline bounds every wait.
const Deadline = 2 * time.Minute

// Options of a Client. The zero value is a client in plain text without a token.
type Options struct {
	CA          []byte           // PEM; nil: plain text
	Certificate *tls.Certificate // of the client; nil: none
	ServerName  string           // that the server's certificate must have; "": 127.0.0.1
	Token       string
	Node        string // what it says that it is
	// Refuse says why a response is refused; nil or "": it is accepted.
	Refuse func(*discoveryv3.DeltaDiscoveryResponse) string
}

// Client is one stream.
type Client struct {
	t      testing.TB
	opts   Options
	stream discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesClient
	cancel context.CancelFunc
	first  sync.Once
	sendMu sync.Mutex

	mu sync.Mutex
	// mu guards below
	changed   chan struct{} // closed and replaced at every change
	resources map[string]map[string]*discoveryv3.Resource
	removed   map[string]map[string]bool
	responses int
	err       error // why the stream has ended
	ended     bool
}

// Dial opens a connection and a stream on it. Both end with the test.
func Dial(t testing.TB, address string, o Options) *Client {
	t.Helper()
	conn, err := Connect(address, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	c, err := Open(t, conn, o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Connect makes a connection, on which Open may open many streams.
func Connect(address string, o Options) (*grpc.ClientConn, error) {
	creds := insecure.NewCredentials()
	if o.CA != nil {
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(o.CA)
		config := &tls.Config{RootCAs: pool, ServerName: o.ServerName, MinVersion: tls.VersionTLS12}
		if o.Certificate != nil {
			config.Certificates = []tls.Certificate{*o.Certificate}
		}
		creds = credentials.NewTLS(config)
	}
	const most = 64 << 20
	return grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(creds),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(most)))
}

// Open opens a stream.
func Open(t testing.TB, conn grpc.ClientConnInterface, o Options) (*Client, error) {
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	if o.Token != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+o.Token)
	}
	stream, err := discoveryv3.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(ctx)
	if err != nil {
		cancel()
		return nil, err
	}
	c := &Client{
		t: t, opts: o, stream: stream, cancel: cancel, changed: make(chan struct{}),
		resources: map[string]map[string]*discoveryv3.Resource{}, removed: map[string]map[string]bool{},
	}
	go c.receive()
	return c, nil
}

// Close ends the stream.
func (c *Client) Close() { c.cancel() }

// Subscribe asks for names; none: everything.
func (c *Client) Subscribe(typeURL string, names ...string) {
	if len(names) == 0 {
		names = []string{"*"}
	}
	c.Send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: typeURL, ResourceNamesSubscribe: names})
}

// Send sends a request; the first says which node this is. That the stream has
// ended is not an error: the receiver sees why.
func (c *Client) Send(r *discoveryv3.DeltaDiscoveryRequest) {
	c.first.Do(func() { r.Node = &corev3.Node{Id: c.opts.Node} })
	c.sendMu.Lock()
	defer c.sendMu.Unlock()
	_ = c.stream.Send(r)
}

func (c *Client) receive() {
	for {
		m, err := c.stream.Recv()
		if err != nil {
			c.note(func() { c.err, c.ended = err, true })
			return
		}
		reply := &discoveryv3.DeltaDiscoveryRequest{TypeUrl: m.GetTypeUrl(), ResponseNonce: m.GetNonce()}
		reason := ""
		if c.opts.Refuse != nil {
			reason = c.opts.Refuse(m)
		}
		if reason != "" {
			reply.ErrorDetail = &statuspb.Status{Code: int32(codes.InvalidArgument), Message: reason}
		}
		c.note(func() { c.keep(m, reason == "") })
		c.Send(reply)
	}
}

func (c *Client) note(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
	close(c.changed)
	c.changed = make(chan struct{})
}

func (c *Client) keep(m *discoveryv3.DeltaDiscoveryResponse, accepted bool) {
	c.responses++
	if !accepted {
		return
	}
	typeURL := m.GetTypeUrl()
	if c.resources[typeURL] == nil {
		c.resources[typeURL], c.removed[typeURL] = map[string]*discoveryv3.Resource{}, map[string]bool{}
	}
	for _, r := range m.GetResources() {
		c.resources[typeURL][r.GetName()] = r
		delete(c.removed[typeURL], r.GetName())
	}
	for _, name := range m.GetRemovedResources() {
		delete(c.resources[typeURL], name)
		c.removed[typeURL][name] = true
	}
}

// Until waits until something holds, of what the client has.
func (c *Client) Until(what string, holds func() bool) {
	c.t.Helper()
	deadline := time.After(Deadline)
	for {
		c.mu.Lock()
		ok, changed, err, ended := holds(), c.changed, c.err, c.ended
		c.mu.Unlock()
		switch {
		case ok:
			return
		case ended:
			c.t.Fatalf("waiting until %s: the stream ended: %v", what, err)
		}
		select {
		case <-changed:
		case <-deadline:
			c.t.Fatalf("waited in vain until %s", what)
		}
	}
}

// Await waits for a resource, and gives its version and content.
func (c *Client) Await(typeURL, name string, into proto.Message) (version string) {
	c.t.Helper()
	return c.AwaitWhen(typeURL, name, into, func() bool { return true })
}

// AwaitWhen waits for a resource whose content, which is put into a message
// first, is as wanted.
func (c *Client) AwaitWhen(typeURL, name string, into proto.Message, wanted func() bool) (version string) {
	c.t.Helper()
	c.Until(name+" is as wanted", func() bool {
		r := c.resources[typeURL][name]
		if r == nil {
			return false
		}
		if err := r.GetResource().UnmarshalTo(into); err != nil {
			c.t.Errorf("%s: %v", name, err)
		}
		version = r.GetVersion()
		return wanted()
	})
	return version
}

// AwaitGone waits until the client has been told that there is no such resource.
func (c *Client) AwaitGone(typeURL, name string) {
	c.t.Helper()
	c.Until(name+" is gone", func() bool { return c.removed[typeURL][name] })
}

// Gone says whether the client has been told that there is no such resource.
func (c *Client) Gone(typeURL, name string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.removed[typeURL][name]
}

// AwaitEnd waits for the end of the stream, and gives its reason.
func (c *Client) AwaitEnd() error {
	c.t.Helper()
	deadline := time.After(Deadline)
	for {
		c.mu.Lock()
		changed, err, ended := c.changed, c.err, c.ended
		c.mu.Unlock()
		if ended {
			return err
		}
		select {
		case <-changed:
		case <-deadline:
			c.t.Fatal("the stream does not end")
		}
	}
}

// Names lists what the client has of a type, sorted.
func (c *Client) Names(typeURL string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Sorted(maps.Keys(c.resources[typeURL]))
}

// Resource gives what the client has of a name, or nil.
func (c *Client) Resource(typeURL, name string) *discoveryv3.Resource {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.resources[typeURL][name]
}

// Has is how many resources of a type the client has. It is for Until.
func (c *Client) Has(typeURL string) int { return len(c.resources[typeURL]) }

// Responses is how many there were.
func (c *Client) Responses() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.responses
}
