package server_test

import (
	"context"
	"strings"
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/dragoman-mesh/dragoman/pkg/xds/server"
)

// TestWarming has a cluster change whose endpoints stay: Envoy goes on with the old one
// until the endpoints have come once more, those of others not.
func TestWarming(t *testing.T) {
	t.Parallel()
	w := newWorld(t, server.Limits{})
	w.people.give(w.grant("cds/a", "cds/b", "cds/still", "eds/a", "eds/of-b"))
	cluster := func(name, service string, seconds int64) proto.Message {
		return &clusterv3.Cluster{
			Name: name, ConnectTimeout: &durationpb.Duration{Seconds: seconds}, ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_EDS},
			EdsClusterConfig: &clusterv3.Cluster_EdsClusterConfig{EdsConfig: ads(), ServiceName: service},
		}
	}
	w.put(map[string]proto.Message{"cds/a": cluster("a", "", 1), "cds/b": cluster("b", "of-b", 1), "cds/still": &clusterv3.Cluster{Name: "still"}})
	w.publish("eds/a=a1", "eds/of-b=b1")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	stream, err := w.dial().StreamAggregatedResources(ctx)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(typeURL, nonce string, names ...string) {
		t.Helper()
		if err := stream.Send(&discoveryv3.DiscoveryRequest{Node: &corev3.Node{Id: "n1"}, TypeUrl: typeURL, ResourceNames: names, ResponseNonce: nonce}); err != nil {
			t.Fatal(err)
		}
	}
	// hear takes the next response and answers it.
	hear := func(typeURL string, resources int, names ...string) (contents string) {
		t.Helper()
		r, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if r.GetTypeUrl() != typeURL || len(r.GetResources()) != resources {
			t.Fatalf("came %d of %s, want %d of %s", len(r.GetResources()), r.GetTypeUrl(), resources, typeURL)
		}
		ask(typeURL, r.GetNonce(), names...)
		var words []string
		for _, a := range r.GetResources() {
			words = append(words, content(a))
		}
		return strings.Join(words, " ")
	}
	ask(server.ClusterType, "")
	hear(server.ClusterType, 3)
	ask(server.EndpointType, "", "a", "of-b")
	hear(server.EndpointType, 2, "a", "of-b")
	for i, change := range []struct {
		name, service, want string
	}{{"a", "", "a1"}, {"b", "of-b", "b1"}, {"a", "", "a1"}} {
		w.put(map[string]proto.Message{"cds/" + change.name: cluster(change.name, change.service, int64(i+2))})
		hear(server.ClusterType, 3)
		if got := hear(server.EndpointType, 1, "a", "of-b"); got != change.want {
			t.Errorf("after a change of %s came the endpoints %q, want %q", change.name, got, change.want)
		}
	}
	// What waits for no endpoints brings none.
	w.put(map[string]proto.Message{"cds/still": &clusterv3.Cluster{Name: "still", AltStatName: "other"}})
	hear(server.ClusterType, 3)
	w.publish("eds/a=a2")
	if got := hear(server.EndpointType, 1, "a", "of-b"); got != "a2" {
		t.Errorf("then came %q, want the endpoints that changed alone", got)
	}
}

// TestAcceptedAfterAll: a client that can take what it has refused says so by an ACK. One
// that asks for other names behind its NACK has not.
func TestAcceptedAfterAll(t *testing.T) {
	t.Parallel()
	w := newWorld(t, server.Limits{})
	w.people.give(w.grant("eds/a", "eds/b", "sync/s1", "sync/s2"))
	w.publish("eds/a=a1", "sync/s1=1", "sync/s2=1")
	c := newSotwClient(w)
	say := func(what string, words ...string) {
		t.Helper()
		if err := c.say(what, words); err != nil {
			t.Fatal(err)
		}
	}
	hear := func(want string) {
		t.Helper()
		if got, err := c.hear(); err != nil || got != want {
			t.Fatalf("came %q, %v, want %q", got, err, want)
		}
	}
	is := func(acked, refused int) {
		t.Helper()
		got := w.server.Coverage(server.Key{TypeURL: server.EndpointType, ID: "a"})
		if got.Acked != acked || got.Refused != refused {
			t.Errorf("%d have it and %d refuse it, want %d and %d", got.Acked, got.Refused, acked, refused)
		}
	}
	say("eds", "a")
	hear("eds a1")
	say("eds", "a", "ack", "!port")
	next(t, "the NACK", w.people.nacks)
	is(0, 1)
	// The version that was accepted is none, as before the NACK.
	nonce := c.nonces["eds"]
	if err := c.stream.Send(&discoveryv3.DiscoveryRequest{TypeUrl: server.EndpointType, ResourceNames: []string{"a", "b"}, ResponseNonce: nonce}); err != nil {
		t.Fatal(err)
	}
	say("sync", "s1")
	hear("sync 1")
	is(0, 1)
	say("eds", "a", "b", "ack")
	say("sync", "s1", "s2", "ack")
	hear("sync 1")
	is(1, 0)
}
