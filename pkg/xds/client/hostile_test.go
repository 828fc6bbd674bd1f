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
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

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

// TestBusyServer says when to come back, and is not asked before.
func TestBusyServer(t *testing.T) {
	t.Parallel()
	const away = 400 * time.Millisecond
	var refused atomic.Int64
	address, _ := serve(t, (&ads{delta: func(c *conversation) error {
		if at := refused.Load(); at != 0 {
			if early := away - time.Since(time.Unix(0, at)); early > 0 {
				return fmt.Errorf("back %s too early", early)
			}
			return simple(c)
		}
		refused.Store(time.Now().UnixNano())
		busy, err := status.New(codes.ResourceExhausted, "busy").WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(away)})
		return errors.Join(err, busy.Err())
	}}).register)
	proxy := newConsumer()
	c, _ := start(t, options(t, proxy, address))
	proxy.runs(t, "l1:c1:10.0.0.1")
	if s := c.Status(); !strings.Contains(s.LastError, "busy") {
		t.Errorf("the last error is %q", s.LastError)
	}
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
