package client

import (
	"fmt"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// BenchmarkEndpointChange is the machine's part in one change of endpoints, from
// the response to its ACK, with so many clusters.
func BenchmarkEndpointChange(b *testing.B) {
	for _, n := range []int{50, 5000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			o := Options{Node: &corev3.Node{Id: "n"}, ResourceTimeout: 15 * time.Second, MaxResources: 100_000}
			m := newMachine(o)
			for k := range numKinds {
				m.parse[k] = func(data []byte) (proto.Message, string, refs, error) { return parseScripted(k, data) }
			}
			now := time.Unix(1000, 0)
			m.opened(now, "A", Delta)
			message := func(k kind, content func(i int) string, n int) message {
				out := message{typeURL: k.typeURL(), nonce: "1"}
				for i := range n {
					name := fmt.Sprintf("%c%d", "celrsx"[k], i)
					out.resources = append(out.resources, incoming{name: name, version: "1", body: &anypb.Any{
						TypeUrl: k.typeURL(), Value: []byte(name + "=" + content(i)),
					}})
				}
				return out
			}
			m.receive(now, message(clusters, func(i int) string { return fmt.Sprintf("a(e%d)", i) }, n))
			m.receive(now, message(listeners, func(i int) string { return fmt.Sprintf("a(c%d)", i) }, n))
			m.settle(now)
			m.receive(now, message(endpoints, func(int) string { return "a" }, n))
			m.settle(now)
			m.done(now, nil)
			m.settle(now)
			m.take()
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				m.receive(now, message(endpoints, func(int) string { return fmt.Sprint("v", i) }, 1))
				m.settle(now)
				if m.take().start == nil {
					b.Fatal("nothing is tried")
				}
				m.done(now, nil)
				m.settle(now)
				m.take()
			}
		})
	}
}
