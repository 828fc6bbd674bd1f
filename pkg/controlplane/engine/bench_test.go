package engine_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"

	"github.com/dragoman-mesh/dragoman/internal/adstest"
	"github.com/dragoman-mesh/dragoman/pkg/xds/server"
)

// benchRig has objects whose endpoints change, and nodes that get them all.
func benchRig(b *testing.B, objects, nodes, endpoints int) *rig {
	b.Helper()
	r := newRig(b)
	for i := range objects {
		r.put(fmt.Sprintf(`
apiVersion: mesh.dragoman.io/v1alpha1
kind: Ambassador
metadata: {name: o%d, namespace: shop}
spec: {protocol: tcp, listen: {port: %d}, environments: {dev: {service: {name: s%d, port: 6379}}}, defaultEnvironment: dev}
`, i, 7000+i, i))
		r.service("shop", fmt.Sprint("s", i), slices.Repeat([]uint32{1}, endpoints)...)
	}
	for i := range nodes {
		r.pod("shop", fmt.Sprint("web-", i), map[string]string{"app": "web", "number": fmt.Sprint(i)})
	}
	return r.start()
}

// BenchmarkConvergence is the time from an observed change of a Service to the
// last of 100 nodes' ACKs, of 50 objects.
func BenchmarkConvergence(b *testing.B) {
	const objects, nodes = 50, 100
	r := benchRig(b, objects, nodes, 10)
	type seen struct {
		port uint32
		at   time.Time
	}
	acked := make(chan seen, nodes*4)
	o := adstest.Options{Refuse: func(m *discoveryv3.DeltaDiscoveryResponse) string {
		var a endpointv3.ClusterLoadAssignment
		for _, res := range m.GetResources() {
			if res.GetName() == "shop/o7/dev" && res.GetResource().UnmarshalTo(&a) == nil {
				acked <- seen{ports(&a)[0], time.Now()}
			}
		}
		return ""
	}}
	for i := range nodes {
		o.Token, o.Node = fmt.Sprint("shop web-", i), fmt.Sprint("web-", i)
		c := adstest.Dial(b, r.address, o)
		c.Subscribe(server.ListenerType)
		c.Subscribe(server.EndpointType, "shop/o7/dev")
	}
	for range nodes {
		<-acked
	}
	var took []time.Duration
	port := uint32(10_000)
	for b.Loop() {
		port++
		began := time.Now()
		r.service("shop", "s7", port)
		for n := 0; n < nodes; {
			if s := <-acked; s.port == port {
				if n++; n == nodes {
					took = append(took, s.at.Sub(began))
				}
			}
		}
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
}

// BenchmarkConnect is the time per node until it has its listeners, of 200 that
// connect at once.
func BenchmarkConnect(b *testing.B) {
	const objects, nodes = 50, 200
	r := benchRig(b, objects, nodes, 10)
	conn, err := adstest.Connect(r.address, adstest.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { conn.Close() })
	for b.Loop() {
		var running sync.WaitGroup
		for i := range nodes {
			running.Go(func() { connectOnce(b, conn, i, objects) })
		}
		running.Wait()
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*nodes), "us/node")
}

func connectOnce(b *testing.B, conn *grpc.ClientConn, i, objects int) {
	b.Helper()
	c, err := adstest.Open(b, conn, adstest.Options{Token: fmt.Sprint("shop web-", i), Node: fmt.Sprint("web-", i)})
	if err != nil {
		b.Error(err)
		return
	}
	defer c.Close()
	c.Subscribe(server.ListenerType)
	c.Until("it has all listeners", func() bool { return c.Has(server.ListenerType) == objects })
}
