package snapshot_test

import (
	"errors"
	"strings"
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/dragoman-mesh/dragoman/pkg/mesh"
	"github.com/dragoman-mesh/dragoman/pkg/translate"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
	"github.com/dragoman-mesh/dragoman/pkg/xds/snapshot"
)

func fromJSON[M proto.Message](t *testing.T, m M, text string) M {
	t.Helper()
	if err := protojson.Unmarshal([]byte(text), m); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return m
}

func build(t *testing.T, set resource.Set) *snapshot.Snapshot {
	t.Helper()
	s, err := snapshot.Build(set)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const (
	secretJSON     = `{"name": "s", "generic_secret": {"secrets": {"password": {"inline_string": "x"}}}}`
	assignmentJSON = `{"cluster_name": "eds", "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {"socket_address": {"address": "10.0.0.1", "port_value": 1}}}}]}]}`
	clusterJSON    = `{"name": "c", "type": "EDS", "eds_cluster_config": {"service_name": "eds", "eds_config": {"ads": {}}},
	  "typed_extension_protocol_options": {"mesh.dragoman.io/redis": {"@type": "type.googleapis.com/dragoman.upstreams.redis.v1.RedisUpstream",
	    "username": {"name": "s", "key": "username"}, "password": {"name": "s", "key": "password"}}}}`
	listenerJSON = `{"name": "l", "address": {"socket_address": {"address": "127.0.0.1", "port_value": 6380}}, "filter_chains": [{"filters": [{"name": "f", "typed_config": {
	  "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy", "cluster": "c"}}]}]}`
)

func full(t *testing.T) resource.Set {
	t.Helper()
	return resource.Set{
		Listeners: []*listenerv3.Listener{fromJSON(t, &listenerv3.Listener{}, listenerJSON)},
		Clusters:  []*clusterv3.Cluster{fromJSON(t, &clusterv3.Cluster{}, clusterJSON)},
		Endpoints: []*endpointv3.ClusterLoadAssignment{fromJSON(t, &endpointv3.ClusterLoadAssignment{}, assignmentJSON)},
		Secrets:   []*tlsv3.Secret{fromJSON(t, &tlsv3.Secret{}, secretJSON)},
	}
}

func TestBuild(t *testing.T) {
	t.Parallel()
	s := build(t, full(t))
	if got := s.Clusters["c"].Endpoints; len(got) != 1 || got[0].Host != "10.0.0.1" {
		t.Errorf("the cluster lacks its EDS endpoints: %+v", got)
	}
	if s.Version == "" || s.Version != build(t, full(t)).Version {
		t.Error("the version is not a function of the content")
	}
	if empty := build(t, resource.Set{}); empty.Version == s.Version {
		t.Error("different content, equal version")
	}
}

// TestPasswordIsLate: a set is whole without what a server is logged in at with, which
// may come later.
func TestPasswordIsLate(t *testing.T) {
	t.Parallel()
	set := full(t)
	set.Secrets = nil
	if s := build(t, set); len(s.Clusters) != 1 || len(s.Listeners) != 1 {
		t.Errorf("got %+v", s)
	}
}

func TestBuildErrors(t *testing.T) {
	t.Parallel()
	withTLS := func(s *resource.Set) {
		s.Clusters[0].TransportSocket = fromJSON(t, &clusterv3.Cluster{}, `{"transport_socket": {"name": "t", "typed_config": {
		  "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext", "common_tls_context": {
		  "tls_certificate_sds_secret_configs": [{"name": "s"}], "validation_context_sds_secret_config": {"name": "s"}}}}}`).GetTransportSocket()
	}
	tests := []struct {
		name   string
		change func(*resource.Set)
		want   []string
	}{
		{"no cluster", func(s *resource.Set) { s.Clusters = nil }, []string{`Listener "l": filter_chains[0]: there is no cluster "c"`}},
		{"no endpoints", func(s *resource.Set) { s.Endpoints = nil }, []string{`Cluster "c": eds_cluster_config.service_name: there are no endpoints "eds"`}},
		{"no secret", func(s *resource.Set) {
			withTLS(s)
			s.Secrets = nil
		}, []string{`Cluster "c": there is no secret "s"`}},
		{"no password in the secret", func(s *resource.Set) {
			s.Secrets[0].GetGenericSecret().Secrets["x"] = s.Secrets[0].GetGenericSecret().GetSecrets()["password"]
			delete(s.Secrets[0].GetGenericSecret().GetSecrets(), "password")
		}, []string{`Cluster "c": secret "s" has no value "password"`}},
		{"all of it twice", func(s *resource.Set) {
			s.Listeners = append(s.Listeners, s.Listeners[0])
			s.Clusters = append(s.Clusters, s.Clusters[0])
			s.Endpoints = append(s.Endpoints, s.Endpoints[0])
			s.Secrets = append(s.Secrets, s.Secrets[0])
		}, []string{
			`Secret "s": name: there are two of this name`,
			`ClusterLoadAssignment "eds": name: there are two of this name`,
			`Cluster "c": name: there are two of this name`,
			`Listener "l": name: there are two of this name`,
		}},
		{"the same port", func(s *resource.Set) {
			other := proto.CloneOf(s.Listeners[0])
			other.Name = "m"
			s.Listeners = append(s.Listeners, other)
		}, []string{`Listener "m": address: 127.0.0.1:6380 is the address of listener "l" too`}},
		{"what does not parse is not looked at again", func(s *resource.Set) {
			s.Clusters[0].LbPolicy = 77
			s.Endpoints = nil
			s.Listeners[0].Address = nil
		}, []string{
			`Cluster "c": lb_policy: 77 is not supported`,
			`Listener "l": address: must be a socket_address or a pipe`,
		}},
		{"wrong kinds of secret", withTLS, []string{
			`Cluster "c": transport_socket: secret "s" is not a tls_certificate`,
			`Cluster "c": transport_socket: secret "s" is not a validation_context`,
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			set := full(t)
			tt.change(&set)
			_, err := snapshot.Build(set)
			var errs resource.Errors
			if !errors.As(err, &errs) {
				t.Fatalf("got %v", err)
			}
			var got []string
			for _, e := range errs {
				got = append(got, e.Error())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestCompare(t *testing.T) {
	t.Parallel()
	from := build(t, full(t))
	tests := []struct {
		name   string
		change func(*resource.Set)
		want   snapshot.Diff
	}{
		{"nothing", func(*resource.Set) {}, snapshot.Diff{}},
		{"a secret", func(s *resource.Set) {
			s.Secrets[0] = fromJSON(t, &tlsv3.Secret{}, `{"name": "s", "generic_secret": {"secrets": {"password": {"inline_string": "y"}}}}`)
		}, snapshot.Diff{Secrets: snapshot.Names{Changed: []string{"s"}}}},
		{"endpoints", func(s *resource.Set) {
			s.Endpoints[0].Endpoints = append(s.Endpoints[0].Endpoints, &endpointv3.LocalityLbEndpoints{})
			s.Endpoints[0].Endpoints[0].LbEndpoints[0].GetEndpoint().GetAddress().GetSocketAddress().Address = "10.0.0.2"
		}, snapshot.Diff{Endpoints: snapshot.Names{Changed: []string{"c"}}}},
		{"endpoints that parse to the same", func(s *resource.Set) {
			s.Endpoints[0].Endpoints = append(s.Endpoints[0].Endpoints, &endpointv3.LocalityLbEndpoints{})
		}, snapshot.Diff{}},
		{"a cluster", func(s *resource.Set) { s.Clusters[0].LbPolicy = clusterv3.Cluster_RANDOM }, snapshot.Diff{
			Clusters: snapshot.Names{Changed: []string{"c"}},
		}},
		{"all names", func(s *resource.Set) { *s = renamed(t) }, snapshot.Diff{
			Listeners: snapshot.Names{Added: []string{"l2"}, Removed: []string{"l"}},
			Clusters:  snapshot.Names{Added: []string{"c2"}, Removed: []string{"c"}},
			Secrets:   snapshot.Names{Added: []string{"s2"}, Removed: []string{"s"}},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			set := full(t)
			tt.change(&set)
			got := snapshot.Compare(from, build(t, set))
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			want := snapshot.Diff{}
			if got.Empty() != cmp.Equal(tt.want, want) {
				t.Errorf("Empty says %v", got.Empty())
			}
		})
	}
	if d := snapshot.Compare(nil, from); len(d.Listeners.Added) != 1 || len(d.Clusters.Added) != 1 {
		t.Errorf("from nothing: %+v", d)
	}
}

func renamed(t *testing.T) resource.Set {
	t.Helper()
	set := full(t)
	set.Secrets[0].Name = "s2"
	set.Clusters[0] = fromJSON(t, &clusterv3.Cluster{}, `{"name": "c2", "type": "EDS", "eds_cluster_config": {"service_name": "eds", "eds_config": {"ads": {}}}}`)
	set.Listeners[0] = fromJSON(t, &listenerv3.Listener{}, `{"name": "l2", "address": {"pipe": {"path": "/x"}}, "filter_chains": [{"filters": [{"name": "f", "typed_config": {
	  "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy", "cluster": "c2"}}]}]}`)
	return set
}

// That another source gives the same environment must drain nobody; that the
// environment is another must.
func TestCompareEnvironments(t *testing.T) {
	t.Parallel()
	objs, errs := mesh.Decode("a.yaml", []byte(`
apiVersion: mesh.dragoman.io/v1alpha1
kind: Ambassador
metadata: {name: a}
spec:
  protocol: redis
  listen: {port: 7000}
  environments: {dev: {address: "127.0.0.1:1"}, prod: {address: "127.0.0.1:2", credentials: {passwordEnv: P}}}
  defaultEnvironment: dev
`))
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	in := func(facts mesh.NodeFacts) *snapshot.Snapshot {
		set, _ := translate.Translate(objs, translate.Node{Facts: facts}, nil)
		return build(t, set)
	}
	dev, same, prod := in(mesh.NodeFacts{}), in(mesh.NodeFacts{Flag: "dev"}), in(mesh.NodeFacts{Flag: "prod"})
	if d := snapshot.Compare(dev, same); !d.Empty() || dev.Version == same.Version {
		t.Errorf("%+v", d)
	}
	const password = `default/a/prod#typed_extension_protocol_options["envoy.filters.network.redis_proxy"].auth_password`
	want := snapshot.Diff{
		Listeners: snapshot.Names{Changed: []string{"default/a"}},
		Clusters:  snapshot.Names{Added: []string{"default/a/prod"}, Removed: []string{"default/a/dev"}},
		Secrets:   snapshot.Names{Added: []string{password}},
	}
	if diff := cmp.Diff(want, snapshot.Compare(dev, prod)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestNext: what follows from an earlier snapshot is what follows from nothing,
// and what did not change is shared.
func TestNext(t *testing.T) {
	t.Parallel()
	set := full(t)
	first := build(t, set)
	set.Endpoints = []*endpointv3.ClusterLoadAssignment{
		fromJSON(t, &endpointv3.ClusterLoadAssignment{}, strings.Replace(assignmentJSON, "10.0.0.1", "10.0.0.2", 1)),
	}
	next, err := snapshot.Next(first, set)
	if err != nil {
		t.Fatal(err)
	}
	anew := build(t, set)
	if next.Version != anew.Version || next.Version == first.Version {
		t.Errorf("version %s after %s, want %s", next.Version, first.Version, anew.Version)
	}
	if diff := cmp.Diff(snapshot.Diff{}, snapshot.Compare(next, anew)); diff != "" {
		t.Errorf("differs from one that was built anew: %s", diff)
	}
	if got := next.Clusters["c"].Endpoints[0].Host; got != "10.0.0.2" {
		t.Errorf("endpoint %s", got)
	}
	if got := first.Clusters["c"].Endpoints[0].Host; got != "10.0.0.1" {
		t.Errorf("the earlier snapshot has changed: %s", got)
	}
	if next.Listeners["l"] != first.Listeners["l"] || next.Secrets["s"] != first.Secrets["s"] {
		t.Error("what did not change was parsed again")
	}
	set.Endpoints = nil
	if _, err := snapshot.Next(next, set); err == nil || !strings.Contains(err.Error(), "there are no endpoints") {
		t.Errorf("without the endpoints: %v", err)
	}
	set.Clusters = nil
	if _, err := snapshot.Next(next, set); err == nil || !strings.Contains(err.Error(), `there is no cluster "c"`) {
		t.Errorf("without the cluster: %v", err)
	}
}
