package client_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/dragoman-mesh/dragoman/pkg/xds/client"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// ads is a control plane that does what the test says.
type ads struct {
	discoveryv3.UnimplementedAggregatedDiscoveryServiceServer
	delta func(*conversation) error // nil: Unimplemented
	sotw  func(discoveryv3.AggregatedDiscoveryService_StreamAggregatedResourcesServer) error
}

func (a *ads) register(s *grpc.Server) { discoveryv3.RegisterAggregatedDiscoveryServiceServer(s, a) }

// DeltaAggregatedResources implements the service.
func (a *ads) DeltaAggregatedResources(s discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) error {
	if a.delta == nil {
		return status.Error(codes.Unimplemented, "no delta here")
	}
	return a.delta(&conversation{AggregatedDiscoveryService_DeltaAggregatedResourcesServer: s})
}

// StreamAggregatedResources implements the service.
func (a *ads) StreamAggregatedResources(s discoveryv3.AggregatedDiscoveryService_StreamAggregatedResourcesServer) error {
	if a.sotw == nil {
		return status.Error(codes.Unimplemented, "no state of the world here")
	}
	return a.sotw(s)
}

// conversation is a delta stream, seen from the server.
type conversation struct {
	discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer
	nonce int
}

// hear reads the next request, which must be of that type.
func (c *conversation) hear(typeURL string) (*discoveryv3.DeltaDiscoveryRequest, error) {
	r, err := c.Recv()
	if err != nil {
		return nil, err
	}
	if r.GetTypeUrl() != typeURL {
		return r, fmt.Errorf("a request for %s came, want one for %s", r.GetTypeUrl(), typeURL)
	}
	return r, nil
}

// say sends resources, of which the version is "1".
func (c *conversation) say(typeURL string, resources ...proto.Message) error {
	c.nonce++
	out := &discoveryv3.DeltaDiscoveryResponse{TypeUrl: typeURL, Nonce: fmt.Sprint(c.nonce)}
	for _, r := range resources {
		body, err := anypb.New(r)
		if err != nil {
			return err
		}
		out.Resources = append(out.Resources, &discoveryv3.Resource{Name: nameOfResource(r), Version: "1", Resource: body})
	}
	return c.Send(out)
}

func nameOfResource(m proto.Message) string {
	switch m := m.(type) {
	case interface{ GetClusterName() string }:
		return m.GetClusterName()
	case interface{ GetName() string }:
		return m.GetName()
	}
	return ""
}

// linger keeps the stream open until the client goes.
func (c *conversation) linger() error {
	for {
		if _, err := c.Recv(); err != nil {
			return err
		}
	}
}

// simple gives a listener and its cluster, and lingers.
func simple(c *conversation) error {
	return errors.Join(
		c.say(resource.ClusterType, staticCluster("c1", "10.0.0.1")),
		c.say(resource.ListenerType, listener("l1", 1001, "c1")),
		c.linger(),
	)
}

// report hands a server's finding to the test.
func report(findings chan<- error, err error) error {
	select {
	case findings <- err:
	default:
	}
	return err
}

func finding(t *testing.T, findings <-chan error) {
	t.Helper()
	select {
	case err := <-findings:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Error("the server has not come to an end")
	}
}

// TestTranscript follows one stream, and the one after it, message by message.
func TestTranscript(t *testing.T) {
	t.Parallel()
	findings := make(chan error, 1)
	var streams atomic.Int32
	server := &ads{delta: func(c *conversation) error {
		if streams.Add(1) == 1 {
			return firstStream(c)
		}
		return report(findings, secondStream(c))
	}}
	address, _ := serve(t, server.register)
	proxy := newConsumer()
	o := options(t, proxy, address)
	o.Token = func(context.Context) (string, error) { return fmt.Sprint("token-", streams.Load()), nil }
	start(t, o)
	finding(t, findings)
	proxy.runs(t, "l1:c1:10.0.0.1")
}

func firstStream(c *conversation) error {
	first, err := c.hear(resource.ClusterType)
	if err != nil || first.GetNode().GetId() != "web-0.shop" || len(first.GetResourceNamesSubscribe()) > 0 {
		return fmt.Errorf("the first request is %v, %w", first, err)
	}
	if _, err := c.hear(resource.ListenerType); err != nil {
		return err
	}
	if err := c.say(resource.ClusterType, edsCluster("c1")); err != nil {
		return err
	}
	if _, err := c.hear(resource.EndpointType); err != nil {
		return err
	}
	if r, err := c.hear(resource.ClusterType); err != nil || r.GetResponseNonce() != "1" || r.GetErrorDetail() != nil {
		return fmt.Errorf("for an ACK of 1 came %v, %w", r, err)
	}
	if err := errors.Join(c.say(resource.EndpointType, assignment("c1", "10.0.0.1")), c.say(resource.ListenerType, listener("l1", 1001, "c1"))); err != nil {
		return err
	}
	for range 2 {
		if _, err := c.Recv(); err != nil {
			return err
		}
	}
	return errors.New("the control plane stumbles")
}

func secondStream(c *conversation) error {
	if md, _ := metadata.FromIncomingContext(c.Context()); strings.Join(md.Get("authorization"), ",") != "Bearer token-1" {
		return fmt.Errorf("the token is not read anew: %v", md.Get("authorization"))
	}
	for typeURL, name := range map[string]string{resource.ClusterType: "c1", resource.EndpointType: "c1", resource.ListenerType: "l1"} {
		_ = typeURL
		r, err := c.Recv()
		if err != nil {
			return err
		}
		if r.GetResponseNonce() != "" || len(r.GetInitialResourceVersions()) != 1 {
			return fmt.Errorf("after a break came %v, want a first request that says what is there, like %s", r, name)
		}
	}
	return nil
}

// TestFallsBackToSotW finds a control plane without delta.
func TestFallsBackToSotW(t *testing.T) {
	t.Parallel()
	f := newForeign(false)
	f.set(t, listener("l1", 1001, "c1"), staticCluster("c1", "10.0.0.1"))
	address, _ := serve(t, func(s *grpc.Server) {
		inner := grpcRegistrar{}
		f.registerWith(&inner)
		(&ads{sotw: inner.service.StreamAggregatedResources}).register(s)
	})
	proxy := newConsumer()
	c, _ := start(t, options(t, proxy, address))
	proxy.runs(t, "l1:c1:10.0.0.1")
	if s := c.Status(); s.Mode != client.SotW {
		t.Errorf("the mode is %s", s.Mode)
	}
}

// TestNackDetails looks at what a NACK carries for a program to read.
func TestNackDetails(t *testing.T) {
	t.Parallel()
	findings := make(chan error, 1)
	server := &ads{delta: func(c *conversation) error {
		if err := c.say(resource.ClusterType, badCluster("c1"), staticCluster("c2", "10.0.0.1")); err != nil {
			return report(findings, err)
		}
		for {
			r, err := c.Recv()
			if err != nil {
				return report(findings, err)
			}
			if r.GetErrorDetail() == nil {
				continue
			}
			var info errdetails.ResourceInfo
			details := r.GetErrorDetail().GetDetails()
			if len(details) != 1 || details[0].UnmarshalTo(&info) != nil || info.GetResourceType() != resource.ClusterType ||
				info.GetResourceName() != "c1" || info.GetDescription() != "http2_protocol_options: is not supported" {
				return report(findings, fmt.Errorf("the details are %v", details))
			}
			return report(findings, nil)
		}
	}}
	address, _ := serve(t, server.register)
	start(t, options(t, newConsumer(), address))
	finding(t, findings)
}

// TestMissingSecret has a control plane that never sends one.
func TestMissingSecret(t *testing.T) {
	t.Parallel()
	findings := make(chan error, 1)
	server := &ads{delta: func(c *conversation) error {
		if err := errors.Join(
			c.say(resource.ClusterType, staticCluster("c1", "10.0.0.1"), edsCluster("c2")),
			c.say(resource.ListenerType, listener("l1", 1001, "c1"), tlsListener("l2", 1002, "c1", "s1"), listener("l3", 1003, "c2")),
		); err != nil {
			return err
		}
		for {
			r, err := c.Recv()
			if err != nil {
				return err
			}
			if r.GetTypeUrl() == resource.ListenerType && r.GetResponseNonce() == "2" {
				want := `Listener "l2": needs Secret "s1", which did not come within 200ms`
				if got := r.GetErrorDetail().GetMessage(); got != want {
					return report(findings, fmt.Errorf("the listeners' NACK says %q, want %q", got, want))
				}
				return report(findings, c.linger())
			}
		}
	}}
	address, _ := serve(t, server.register)
	proxy := newConsumer()
	o := options(t, proxy, address)
	o.ResourceTimeout = 200 * time.Millisecond
	c, stop := start(t, o)
	proxy.runs(t, "l1:c1:10.0.0.1", "l3:c2:")
	eventually(t, func() bool { return len(c.Status().Nacks) == 1 && len(c.Status().Missing) == 2 },
		func() string {
			return fmt.Sprintf("missing: %+v, want the secret and the endpoints", c.Status().Missing)
		})
	stop()
	select {
	case err := <-findings:
		if status.Code(err) != codes.Canceled && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Error("the listeners were never answered")
	}
}

// TestHostileServers shows that nothing that a server does brings the client
// down, and that a good one is found behind bad ones.
func TestHostileServers(t *testing.T) {
	t.Parallel()
	tests := map[string]func(*conversation) error{
		"dies at once":  func(*conversation) error { return status.Error(codes.Internal, "no") },
		"refuses us":    func(*conversation) error { return status.Error(codes.Unauthenticated, "who are you?") },
		"ends politely": func(*conversation) error { return nil },
	}
	for name, behaviour := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bad, _ := serve(t, (&ads{delta: behaviour}).register)
			good, _ := serve(t, (&ads{delta: simple}).register)
			proxy := newConsumer()
			c, _ := start(t, options(t, proxy, nobody(t), bad, good))
			proxy.runs(t, "l1:c1:10.0.0.1")
			if s := c.Status(); s.Server != good {
				t.Errorf("connected to %s, want %s", s.Server, good)
			}
		})
	}
}

// TestGarbage sends what is no configuration; what is, is taken.
func TestGarbage(t *testing.T) {
	t.Parallel()
	server := &ads{delta: func(c *conversation) error {
		send := func(typeURL string, name string, body *anypb.Any) error {
			c.nonce++
			return c.Send(&discoveryv3.DeltaDiscoveryResponse{TypeUrl: typeURL, Nonce: fmt.Sprint(c.nonce), Resources: []*discoveryv3.Resource{
				{Name: name, Resource: body}, {Name: name, Resource: body}, nil, {},
			}, RemovedResources: []string{"never heard of", ""}})
		}
		return errors.Join(
			send(resource.ClusterType, "c0", &anypb.Any{TypeUrl: resource.ClusterType, Value: []byte("\xff\xff\xff\xff")}),
			send(resource.ClusterType, "", &anypb.Any{TypeUrl: resource.ClusterType}),
			send(resource.ListenerType, "", &anypb.Any{TypeUrl: resource.SecretType}),
			send("", "", nil),
			send("type.googleapis.com/unheard.of", "x", &anypb.Any{TypeUrl: "nonsense"}),
			simple(c),
		)
	}}
	address, _ := serve(t, server.register)
	proxy := newConsumer()
	c, _ := start(t, options(t, proxy, address))
	proxy.runs(t, "l1:c1:10.0.0.1")
	if s := c.Status(); len(s.Nacks) != 5 {
		t.Errorf("NACKs: %+v, want 5", s.Nacks)
	}
}

// TestLargeMessage sends one that is larger than allowed: the stream ends, and
// what runs goes on.
func TestLargeMessage(t *testing.T) {
	t.Parallel()
	var streams atomic.Int32
	server := &ads{delta: func(c *conversation) error {
		if streams.Add(1) > 1 {
			return c.say(resource.ListenerType, listener(strings.Repeat("x", 200_000), 1002, "c1"))
		}
		return errors.Join(
			c.say(resource.ClusterType, staticCluster("c1", "10.0.0.1")),
			c.say(resource.ListenerType, listener("l1", 1001, "c1")),
			awaitAck(c, resource.ListenerType), errors.New("stumbles"),
		)
	}}
	address, _ := serve(t, server.register)
	proxy := newConsumer()
	o := options(t, proxy, address)
	o.MaxMessageBytes = 100_000
	c, _ := start(t, o)
	eventually(t, func() bool { return strings.Contains(c.Status().LastError, "larger than max") },
		func() string { return "the status says " + c.Status().LastError })
	proxy.runs(t, "l1:c1:10.0.0.1")
}

// awaitAck reads until a response of a type is answered.
func awaitAck(c *conversation, typeURL string) error {
	for {
		r, err := c.Recv()
		if err != nil {
			return err
		}
		if r.GetTypeUrl() == typeURL && r.GetResponseNonce() != "" {
			return nil
		}
	}
}

// TestSticky comes back to the server that was good, although others come first
// in the list.
func TestSticky(t *testing.T) {
	t.Parallel()
	var visits [2]atomic.Int32
	serving := func(i int) func(*conversation) error {
		return func(c *conversation) error {
			if visits[i].Add(1) < 3 {
				return errors.Join(c.say(resource.ClusterType), awaitAck(c, resource.ClusterType), errors.New("stumbles"))
			}
			return simple(c)
		}
	}
	first, _ := serve(t, (&ads{delta: serving(0)}).register)
	second, _ := serve(t, (&ads{delta: serving(1)}).register)
	proxy := newConsumer()
	start(t, options(t, proxy, nobody(t), first, second))
	proxy.runs(t, "l1:c1:10.0.0.1")
	if visits[0].Load() != 3 || visits[1].Load() != 0 {
		t.Errorf("visits: %d and %d, want 3 and 0", visits[0].Load(), visits[1].Load())
	}
}

// TestSilentServer accepts connections and says nothing, not even HTTP/2.
func TestSilentServer(t *testing.T) {
	t.Parallel()
	var config net.ListenConfig
	l, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	good, _ := serve(t, (&ads{delta: simple}).register)
	proxy := newConsumer()
	o := options(t, proxy, l.Addr().String(), good)
	o.ConnectTimeout = 200 * time.Millisecond
	start(t, o)
	proxy.runs(t, "l1:c1:10.0.0.1")
}

// TestTokenTrouble has no token at first.
func TestTokenTrouble(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	address, _ := serve(t, (&ads{delta: simple}).register)
	proxy := newConsumer()
	o := options(t, proxy, address)
	o.Token = func(context.Context) (string, error) {
		if calls.Add(1) < 3 {
			return "", errors.New("no such file")
		}
		return secretValue, nil
	}
	start(t, o)
	proxy.runs(t, "l1:c1:10.0.0.1")
}
