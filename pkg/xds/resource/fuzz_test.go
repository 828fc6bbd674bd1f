package resource_test

import (
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// FuzzParse looks for resources that make parsing panic, or that parse once and
// not again after a round trip over the wire.
func FuzzParse(f *testing.F) {
	seed := func(kind byte, m proto.Message, text string) {
		if err := protojson.Unmarshal([]byte(text), m); err != nil {
			f.Fatal(err)
		}
		data, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(kind, data)
	}
	seed(0, &listenerv3.Listener{}, foreign)
	seed(1, &clusterv3.Cluster{}, `{"name": "c", `+endpoints+`, `+plainTLS+`, "sni": "x"}}, "health_checks": [{"interval": "1s", "timeout": "1s", `+redisCheck+`}]}`)
	seed(1, &clusterv3.Cluster{}, `{"name": "c", `+endpoints+`, "cluster_type": {"name": "s", "typed_config": {`+sentinels+`, "masters": ["m"]}}}`)
	seed(2, &endpointv3.ClusterLoadAssignment{}, `{"cluster_name": "c", "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {"pipe": {"path": "/x"}}}}]}]}`)
	seed(3, &tlsv3.Secret{}, `{"name": "s", "generic_secret": {"secrets": {"a": {"inline_string": "x"}}}}`)
	f.Fuzz(func(t *testing.T, kind byte, data []byte) {
		switch kind % 4 {
		case 0:
			again(t, data, &listenerv3.Listener{}, resource.ParseListener)
		case 1:
			again(t, data, &clusterv3.Cluster{}, resource.ParseCluster)
		case 2:
			again(t, data, &endpointv3.ClusterLoadAssignment{}, resource.ParseAssignment)
		case 3:
			again(t, data, &tlsv3.Secret{}, resource.ParseSecret)
		}
	})
}

func again[P proto.Message, T any](t *testing.T, data []byte, p P, parse func(P) (*T, error)) {
	if proto.Unmarshal(data, p) != nil {
		return
	}
	if _, err := parse(p); err != nil {
		_ = err.Error()
		return
	}
	data, err := proto.Marshal(p)
	if err != nil {
		return
	}
	proto.Reset(p)
	if err := proto.Unmarshal(data, p); err != nil {
		t.Fatal(err)
	}
	if _, err := parse(p); err != nil {
		t.Fatalf("accepted once, then: %v", err)
	}
}
