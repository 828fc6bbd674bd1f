package client

import (
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// FuzzReceive gives the machine responses of both protocols, with the real
// parsers: nothing may panic, and each response must be answered once nothing is
// awaited any more.
func FuzzReceive(f *testing.F) {
	packed, err := anypb.New(&clusterv3.Cluster{Name: "c", ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC}})
	if err != nil {
		f.Fatal(err)
	}
	wrapped, err := anypb.New(&discoveryv3.Resource{Name: "c", Resource: packed})
	if err != nil {
		f.Fatal(err)
	}
	seed := func(sotw bool, m proto.Message) {
		data, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(sotw, data)
	}
	seed(false, &discoveryv3.DeltaDiscoveryResponse{
		TypeUrl: resource.ClusterType, Nonce: "1", RemovedResources: []string{"x"},
		Resources: []*discoveryv3.Resource{{Name: "c", Version: "1", Resource: packed}},
	})
	seed(true, &discoveryv3.DiscoveryResponse{TypeUrl: resource.ClusterType, Nonce: "1", Resources: []*anypb.Any{packed, wrapped}})
	f.Fuzz(func(t *testing.T, sotw bool, data []byte) {
		now := time.Unix(1000, 0)
		m := newMachine(Options{Node: &corev3.Node{Id: "n"}, ResourceTimeout: time.Second, MaxResources: 10})
		msg, mode := fuzzed(sotw, data)
		if msg == nil {
			return
		}
		m.opened(now, "A", mode)
		m.settle(now)
		m.take()
		m.receive(now, *msg)
		answers := 0
		for range 10 {
			now = now.Add(time.Minute)
			m.tick(now)
			m.settle(now)
			todo := m.take()
			for _, r := range todo.requests {
				if a, ok := r.(interface{ GetResponseNonce() string }); ok && a.GetResponseNonce() == msg.nonce {
					answers++
				}
				if _, err := proto.Marshal(r); err != nil {
					t.Fatalf("a request that cannot be sent: %v", err)
				}
			}
			if todo.start != nil {
				m.done(now, nil)
			}
		}
		if msg.nonce != "" && answers != 1 {
			t.Fatalf("%d answers", answers)
		}
	})
}

func fuzzed(sotw bool, data []byte) (*message, Mode) {
	if sotw {
		var p discoveryv3.DiscoveryResponse
		if proto.Unmarshal(data, &p) != nil {
			return nil, SotW
		}
		msg := fromSotW(&p)
		return &msg, SotW
	}
	var p discoveryv3.DeltaDiscoveryResponse
	if proto.Unmarshal(data, &p) != nil {
		return nil, Delta
	}
	msg := fromDelta(&p)
	return &msg, Delta
}
