package client_test

import (
	"context"
	"errors"
	"fmt"
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
