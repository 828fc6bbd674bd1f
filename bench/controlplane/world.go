package main

import (
	"fmt"
	"math/rand/v2"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// size is how big a mesh is.
type size struct {
	Proxies   int
	Services  int
	Endpoints int // per service
	Names     int // per proxy
}

func (s size) String() string {
	return fmt.Sprintf("%d proxies x %d names, %d services x %d endpoints", s.Proxies, s.Names, s.Services, s.Endpoints)
}

// serviceName is what a service's load assignment is called.
func serviceName(i int) string { return fmt.Sprintf("namespace-%03d/service-%05d/prod", i%100, i) }

func nodeID(i int) string { return fmt.Sprintf("proxy-%05d.namespace-%03d", i, i%100) }

// names are the services that a proxy follows: service 0, which everybody does,
// and others at random, the same in every process.
func (s size) names(proxy int) []int {
	random := rand.New(rand.NewPCG(7, uint64(proxy)))
	taken := map[int]bool{0: true}
	list := []int{0}
	for len(list) < min(s.Names, s.Services) {
		if i := random.IntN(s.Services); !taken[i] {
			taken[i] = true
			list = append(list, i)
		}
	}
	return list
}

// assignment is a service's endpoints. The generation moves the port of one.
func (s size) assignment(service, generation int) *endpointv3.ClusterLoadAssignment {
	group := &endpointv3.LocalityLbEndpoints{
		Locality:            &corev3.Locality{Region: "region-1", Zone: "zone-a"},
		LoadBalancingWeight: wrapperspb.UInt32(uint32(s.Endpoints)),
	}
	for e := range s.Endpoints {
		port := uint32(6379)
		if e == 0 {
			port += uint32(generation)
		}
		group.LbEndpoints = append(group.LbEndpoints, &endpointv3.LbEndpoint{
			HealthStatus: corev3.HealthStatus_HEALTHY,
			HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{Address: &corev3.Address{
				Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
					Address:       fmt.Sprintf("10.%d.%d.%d", service>>8, service&255, e+1),
					PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: port},
				}},
			}}},
		})
	}
	return &endpointv3.ClusterLoadAssignment{ClusterName: serviceName(service), Endpoints: []*endpointv3.LocalityLbEndpoints{group}}
}
