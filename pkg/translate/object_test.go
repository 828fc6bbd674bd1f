package translate_test

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/dragoman-mesh/dragoman/pkg/inventory"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
	"github.com/dragoman-mesh/dragoman/pkg/translate"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// recorder is a world that remembers what it was asked for.
type recorder struct {
	translate.World
	asked map[inventory.Ref]bool
}

func (r *recorder) Service(k inventory.Key) *inventory.Service {
	r.asked[inventory.Ref{Kind: inventory.KindService, Key: k}] = true
	return r.World.Service(k)
}

func (r *recorder) Lease(k inventory.Key) *inventory.Lease {
	r.asked[inventory.Ref{Kind: inventory.KindLease, Key: k}] = true
	return r.World.Lease(k)
}

func (r *recorder) Secret(k inventory.Key) *inventory.Secret {
	r.asked[inventory.Ref{Kind: inventory.KindSecret, Key: k}] = true
	return r.World.Secret(k)
}

func (r *recorder) ConfigMap(k inventory.Key) *inventory.Secret {
	r.asked[inventory.Ref{Kind: inventory.KindConfigMap, Key: k}] = true
	return r.World.ConfigMap(k)
}

func (r *recorder) Ambassador(k inventory.Key) *inventory.Object {
	r.asked[inventory.Ref{Kind: inventory.KindAmbassador, Key: k}] = true
	return r.World.Ambassador(k)
}

// eachObject calls visit for each environment of each object of the cases.
func eachObject(t *testing.T, visit func(t *testing.T, a mesh.Object, environment string, world translate.World)) {
	t.Helper()
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no cases", err)
	}
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		objs, _ := read(t, archive)
		world := readWorld(t, archive)
		for _, obj := range objs {
			inventory.Put(world, inventory.RefOf(obj), &inventory.Object{Object: obj}, testTime)
		}
		for _, obj := range objs {
			for _, environment := range environmentsOf(obj) {
				t.Run(fmt.Sprintf("%s/%s/%s", filepath.Base(file), translate.ListenerOf(obj), environment), func(t *testing.T) {
					t.Parallel()
					visit(t, obj, environment, world)
				})
			}
		}
	}
}

// environmentsOf are those of an object; an Adapter is the same in all.
func environmentsOf(obj mesh.Object) []string {
	if a, ok := obj.(*mesh.Ambassador); ok {
		return slices.Sorted(maps.Keys(a.Spec.Environments))
	}
	return []string{""}
}

// TestReferencesAreWhatIsLookedUp: a control plane translates an object anew when
// one of its references changes, and only then.
func TestReferencesAreWhatIsLookedUp(t *testing.T) {
	t.Parallel()
	eachObject(t, func(t *testing.T, a mesh.Object, environment string, world translate.World) {
		t.Helper()
		r := &recorder{world, make(map[inventory.Ref]bool)}
		translate.Object(a, translate.Variant{Environment: environment}, r)
		var asked []inventory.Ref
		for ref := range r.asked {
			asked = append(asked, ref)
		}
		slices.SortFunc(asked, inventory.Ref.Compare)
		if diff := cmp.Diff(asked, translate.ReferencesIn(a, environment)); diff != "" {
			t.Errorf("asked for, and listed:\n%s", diff)
		}
		all := translate.References(a)
		for _, ref := range asked {
			if !slices.Contains(all, ref) {
				t.Errorf("%v is not listed for the object", ref)
			}
		}
	})
}

// TestVariantsShareWhatTheyCan: the source of an environment is in listeners
// alone, and the spot counts for endpoints alone, where Counts says so.
func TestVariantsShareWhatTheyCan(t *testing.T) {
	t.Parallel()
	eachObject(t, func(t *testing.T, a mesh.Object, environment string, world translate.World) {
		t.Helper()
		first := translate.Object(a, translate.Variant{Environment: environment, Source: "x", Spot: translate.Spot{Zone: "a", NodeName: "n"}}, world)
		other := translate.Object(a, translate.Variant{Environment: environment, Source: "y", Spot: translate.Spot{Zone: "b", NodeName: "m"}}, world)
		if first.Counts != other.Counts {
			t.Error("Counts depends on the spot")
		}
		if first.Counts != (translate.Counts{}) {
			first.Set.Endpoints, other.Set.Endpoints = nil, nil
		}
		if mesh.KindOf(a) == mesh.KindAmbassador && len(first.Set.Listeners) > 0 && cmp.Equal(first.Set.Listeners, other.Set.Listeners, protocmp.Transform()) {
			t.Error("listeners do not say what chose the environment")
		}
		first.Set.Listeners, other.Set.Listeners = nil, nil
		if diff := cmp.Diff(first.Set, other.Set, protocmp.Transform()); diff != "" {
			t.Errorf("-x, a +y, b:\n%s", diff)
		}
	})
}

// TestSpotsOnlyWhereNeeded: a zone that nobody has hints for makes no difference, nor
// does a node where no Service is Local.
func TestSpotsOnlyWhereNeeded(t *testing.T) {
	t.Parallel()
	eachObject(t, func(t *testing.T, a mesh.Object, environment string, world translate.World) {
		t.Helper()
		var want translate.Counts
		for _, ref := range translate.ReferencesIn(a, environment) {
			service := ref.Kind == inventory.KindService
			want.Zone = want.Zone || service && ref.Name == "hinted"
			want.NodeName = want.NodeName || service && ref.Name == "local"
		}
		if out := translate.Object(a, translate.Variant{Environment: environment}, world); out.Counts != want {
			t.Errorf("counts: %v, want %v", out.Counts, want)
		}
	})
}

// TestUnknownEnvironment: an object has no resources for an environment that it
// does not know.
func TestUnknownEnvironment(t *testing.T) {
	t.Parallel()
	a := mesh.NewAmbassador("a", mesh.AmbassadorSpec{Protocol: mesh.ProtocolTCP})
	out := translate.Object(a, translate.Variant{Environment: "none"}, nil)
	if diff := cmp.Diff(resource.Set{}, out.Set, protocmp.Transform()); diff != "" || len(out.Conditions) != 2 {
		t.Errorf("%v\n%s", out.Conditions, diff)
	}
	for _, c := range out.Conditions {
		if c.Status || c.Reason != translate.ReasonNoEnvironment {
			t.Errorf("%+v", c)
		}
	}
}

// BenchmarkObject translates an object with one Service of so many endpoints.
func BenchmarkObject(b *testing.B) {
	for _, n := range []int{10, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			svc := &inventory.Service{
				Key:   inventory.Key{Namespace: "default", Name: "web"},
				Ports: []inventory.ServicePort{{Port: 80}},
			}
			for i := range n {
				svc.Endpoints = append(svc.Endpoints, inventory.Endpoint{
					Address: fmt.Sprintf("10.0.%d.%d", i/250, i%250), Ports: map[string]uint32{"": 8080}, Ready: true,
					Pod: fmt.Sprintf("web-%d", i), Zone: string(rune('a' + i%3)),
				})
			}
			world := inventory.NewStore()
			inventory.Put(world, inventory.Ref{Kind: inventory.KindService, Key: svc.Key}, svc, testTime)
			a := mesh.NewAmbassador("a", mesh.AmbassadorSpec{
				Protocol: mesh.ProtocolTCP, Listen: mesh.Listen{Port: 80},
				Environments: map[string]mesh.Environment{"prod": {Upstream: mesh.Upstream{Service: &mesh.ServiceRef{Name: "web", Port: 80}}}},
			})
			b.ReportAllocs()
			for b.Loop() {
				translate.Object(a, translate.Variant{Environment: "prod"}, world)
			}
		})
	}
}
