package mesh_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/dragoman-mesh/dragoman/pkg/mesh"
)

func TestSelectEnvironment(t *testing.T) {
	t.Parallel()
	const spec = header + `
spec:
  protocol: redis
  listen: {port: 6380}
  environments: {dev: {address: "a:1"}, test: {address: "a:2"}, prod: {address: "a:3"}}
`
	full := ambassador(t, spec+`
  environmentRules: [{match: "*-prod", environment: prod}, {match: "ci-?", environment: test}]
  defaultEnvironment: dev
`)
	bare := ambassador(t, spec)
	all := mesh.NodeFacts{
		Flag: "dev", EnvVar: "test", PodLabel: "prod", NamespaceLabel: "dev", Namespace: "shop-prod", Hostname: "ci-1",
	}
	without := func(change func(*mesh.NodeFacts)) mesh.NodeFacts {
		f := all
		change(&f)
		return f
	}
	tests := []struct {
		name                  string
		ambassador            *mesh.Ambassador
		facts                 mesh.NodeFacts
		want, source, wantErr string
	}{
		{"flag", full, all, "dev", "--environment", ""},
		{"variable", full, without(func(f *mesh.NodeFacts) { f.Flag = "" }), "test", "DRAGOMAN_ENVIRONMENT", ""},
		{"pod", full, without(func(f *mesh.NodeFacts) { f.Flag, f.EnvVar = "", "" }), "prod", "pod label mesh.dragoman.io/environment", ""},
		{
			"namespace", full,
			mesh.NodeFacts{NamespaceLabel: "test", Namespace: "shop-prod"},
			"test", "namespace label mesh.dragoman.io/environment", "",
		},
		{
			"rule by namespace", full,
			mesh.NodeFacts{Namespace: "shop-prod", Hostname: "ci-1"},
			"prod", "environmentRules[0] (namespace shop-prod)", "",
		},
		{"rule by host", full, mesh.NodeFacts{Namespace: "shop", Hostname: "ci-1"}, "test", "environmentRules[1] (host like ci-?)", ""},
		{"default", full, mesh.NodeFacts{Namespace: "shop", Hostname: "ci-10"}, "dev", "defaultEnvironment", ""},
		{"unknown is not passed over", full, mesh.NodeFacts{PodLabel: "stage"}, "", "", `there is no environment "stage", which is what pod label`},
		{"nothing", bare, mesh.NodeFacts{Namespace: "shop-prod"}, "", "", "nothing says which of the environments dev, prod, test this is"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, source, err := mesh.SelectEnvironment(tt.ambassador, tt.facts)
			if got != tt.want || source != tt.source {
				t.Errorf("got %q from %q, want %q from %q", got, source, tt.want, tt.source)
			}
			if tt.wantErr == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			var refused *mesh.EnvironmentError
			if !errors.As(err, &refused) || !strings.Contains(refused.Reason, tt.wantErr) {
				t.Errorf("got %v, want %q", err, tt.wantErr)
			}
		})
	}
}

func TestSelector(t *testing.T) {
	t.Parallel()
	a := ambassador(t, header+`
spec:
  selector:
    matchLabels: {app: web}
    matchExpressions:
    - {key: tier, operator: In, values: [front, edge]}
    - {key: canary, operator: DoesNotExist}
    - {key: zone, operator: Exists}
    - {key: zone, operator: NotIn, values: [z]}
  protocol: tcp
  listen: {port: 1}
  environments: {dev: {address: "a:1"}}
`)
	tests := []struct {
		labels map[string]string
		want   bool
	}{
		{map[string]string{"app": "web", "tier": "edge", "zone": "a"}, true},
		{map[string]string{"app": "api", "tier": "edge", "zone": "a"}, false},
		{map[string]string{"app": "web", "tier": "back", "zone": "a"}, false},
		{map[string]string{"app": "web", "tier": "edge", "zone": "z"}, false},
		{map[string]string{"app": "web", "tier": "edge"}, false},
		{map[string]string{"app": "web", "tier": "edge", "zone": "a", "canary": ""}, false},
		{nil, false},
	}
	for _, tt := range tests {
		if got := a.Spec.Selector.Matches(tt.labels); got != tt.want {
			t.Errorf("%v: got %v", tt.labels, got)
		}
	}
	var none *mesh.Selector
	if !none.Matches(nil) {
		t.Error("no selector takes all")
	}
}

func TestSplitAddress(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in, host string
		port     uint32
		path     string
		ok       bool
	}{
		{"redis:6379", "redis", 6379, "", true},
		{"redis_1.shop.svc.:6379", "redis_1.shop.svc.", 6379, "", true},
		{"10.0.0.1:1", "10.0.0.1", 1, "", true},
		{"[::1]:65535", "::1", 65535, "", true},
		{"/run/x.sock", "", 0, "/run/x.sock", true},
		{"@abstract", "", 0, "@abstract", true},
		{"", "", 0, "", false},
		{"/", "", 0, "", false},
		{"redis", "", 0, "", false},
		{":6379", "", 0, "", false},
		{"redis:0", "", 0, "", false},
		{"redis:65536", "", 0, "", false},
		{"redis:+1", "", 0, "", false},
		{"10.0.0.256:1", "", 0, "", false},
		{"::1:6379", "", 0, "", false},
		{"[10.0.0.1]:1", "", 0, "", false},
		{"a..b:1", "", 0, "", false},
		{"-a:1", "", 0, "", false},
		{"a b:1", "", 0, "", false},
		{"/" + strings.Repeat("x", 107), "", 0, "", false},
	}
	for _, tt := range tests {
		host, port, path, err := mesh.SplitAddress(tt.in)
		if (err == nil) != tt.ok || tt.ok && (host != tt.host || port != tt.port || path != tt.path) {
			t.Errorf("%q: got %q %d %q %v", tt.in, host, port, path, err)
		}
	}
}

func TestHashName(t *testing.T) {
	t.Parallel()
	server := func(address string) mesh.Server { return mesh.Server{Address: address} }
	tests := []struct {
		shard mesh.Shard
		want  string
	}{
		{mesh.Shard{Name: "s1", Primary: server("a:1")}, "s1"},
		{mesh.Shard{Primary: server("a:6379")}, "a:6379"},
		{mesh.Shard{Primary: server("a:11211")}, "a"},
		{mesh.Shard{Primary: mesh.Server{Service: &mesh.ServiceRef{Name: "a", Port: 1}}}, "a:1"},
	}
	for _, tt := range tests {
		if got := tt.shard.HashName(); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}

func TestOverlaps(t *testing.T) {
	t.Parallel()
	tests := []struct {
		a, b mesh.Listen
		want bool
	}{
		{mesh.Listen{Port: 1}, mesh.Listen{Port: 1}, true},
		{mesh.Listen{Port: 1}, mesh.Listen{Port: 2}, false},
		{mesh.Listen{Port: 1}, mesh.Listen{Port: 1, Address: "0.0.0.0"}, true},
		{mesh.Listen{Port: 1}, mesh.Listen{Port: 1, Address: "::"}, true},
		{mesh.Listen{Port: 1}, mesh.Listen{Port: 1, Address: "::1"}, false},
		{mesh.Listen{Port: 1, Address: "127.0.0.2"}, mesh.Listen{Port: 1}, false},
		{mesh.Listen{Path: "/a"}, mesh.Listen{Path: "/a"}, true},
		{mesh.Listen{Path: "/a"}, mesh.Listen{Path: "/b"}, false},
		{mesh.Listen{Path: "/a"}, mesh.Listen{Port: 1}, false},
	}
	for _, tt := range tests {
		if got, back := tt.a.Overlaps(&tt.b), tt.b.Overlaps(&tt.a); got != tt.want || back != tt.want {
			t.Errorf("%+v and %+v: got %v and %v, want %v", tt.a, tt.b, got, back, tt.want)
		}
	}
}

// Objects that no document holds are checked as well, once.
func TestValidateMade(t *testing.T) {
	t.Parallel()
	good := mesh.NewAmbassador("a", mesh.AmbassadorSpec{
		Protocol:     mesh.ProtocolRedis,
		Listen:       mesh.Listen{Port: 6380},
		Environments: map[string]mesh.Environment{"x": {Upstream: mesh.Upstream{Address: "a:1"}}},
	})
	bad := mesh.NewAmbassador("b", mesh.AmbassadorSpec{Protocol: mesh.ProtocolRedis, Listen: mesh.Listen{Port: 6380}})
	errs := mesh.Validate([]mesh.Object{good, bad})
	want := `default/b: spec.environments: at least one is needed (as in environments: {dev: {address: "127.0.0.1:6379"}})
default/b: spec.listen: binds to the same place as default/a (which is default/a)`
	if errs.Error() != want {
		t.Errorf("got:\n%v", errs)
	}
	if mesh.Validate([]mesh.Object{good}).Err() != nil {
		t.Error("the good one was refused")
	}
}
