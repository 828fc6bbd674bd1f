package translate_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/dragoman-mesh/dragoman/internal/goldentest"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
	"github.com/dragoman-mesh/dragoman/pkg/translate"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
	"github.com/dragoman-mesh/dragoman/pkg/xds/snapshot"
)

// A case is documents, named *.yaml; perhaps a node and a world, in JSON; and
// what they become: conditions and resources.json. The resources must make a
// snapshot.
func TestGolden(t *testing.T) {
	t.Parallel()
	goldentest.Run(t, "testdata/*.txtar", func(t *testing.T, c *goldentest.Case) {
		objs, node := read(t, c.Archive)
		set, conditions := translate.Translate(objs, node, readWorld(t, c.Archive))
		c.Compare(t, map[string]string{"conditions": lines(conditions), "resources.json": asJSON(t, set)})
		if _, err := snapshot.Build(set); err != nil {
			t.Errorf("no snapshot:\n%v", err)
		}
	})
}

func read(t *testing.T, archive *txtar.Archive) ([]mesh.Object, translate.Node) {
	t.Helper()
	var node translate.Node
	var opts []mesh.Option
	var objs []mesh.Object
	for _, f := range archive.Files {
		if f.Name == "node" {
			if err := json.Unmarshal(f.Data, &node); err != nil {
				t.Fatal(err)
			}
		}
	}
	if node.InCluster {
		opts = append(opts, mesh.InCluster())
	}
	for _, f := range archive.Files {
		if filepath.Ext(f.Name) == ".yaml" {
			objs = append(objs, decode(t, f.Name, f.Data, opts...)...)
		}
	}
	return objs, node
}

func decode(t *testing.T, file string, data []byte, opts ...mesh.Option) []mesh.Object {
	t.Helper()
	objs, errs := mesh.Decode(file, data, opts...)
	if errs = append(errs, mesh.Validate(objs, opts...)...); len(errs) > 0 {
		t.Fatal(errs)
	}
	return objs
}

func lines(conditions []translate.Condition) string {
	var b strings.Builder
	for _, c := range conditions {
		fmt.Fprintf(&b, "%s %s=%v %s: %s\n", c.Object, c.Type, c.Status, c.Reason, c.Message)
	}
	return b.String()
}

// asJSON prints all resources. protojson varies its spaces on purpose, so they
// are made anew.
func asJSON(t *testing.T, set resource.Set) string {
	t.Helper()
	all := map[string][]json.RawMessage{}
	add := func(kind string, m proto.Message) {
		data, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		all[kind] = append(all[kind], data)
	}
	for _, p := range set.Listeners {
		add("listeners", p)
	}
	for _, p := range set.Clusters {
		add("clusters", p)
	}
	for _, p := range set.Endpoints {
		add("endpoints", p)
	}
	for _, p := range set.Secrets {
		add("secrets", p)
	}
	for _, p := range set.Routes {
		add("routes", p)
	}
	data, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := json.Indent(&b, data, "", "  "); err != nil {
		t.Fatal(err)
	}
	return withoutMaterial(b.String()) + "\n"
}

// The same documents in another order give the same bytes.
func TestDeterminism(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../../examples/environments.yaml")
	if err != nil {
		t.Fatal(err)
	}
	sharded, err := os.ReadFile("../../examples/redis-sharded.yaml")
	if err != nil {
		t.Fatal(err)
	}
	objs := append(decode(t, "a.yaml", data), decode(t, "b.yaml", sharded)[0])
	node := translate.Node{Facts: mesh.NodeFacts{EnvVar: "prod"}}
	objs[2].(*mesh.Ambassador).Spec.Listen.Port = 6390
	want, _ := translate.Translate(objs, node, nil)
	for range 20 {
		objs[0], objs[1], objs[2] = objs[1], objs[2], objs[0]
		got, _ := translate.Translate(objs, node, nil)
		if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
			t.Fatalf("-first +then:\n%s", diff)
		}
		first, err := snapshot.Build(want)
		if err != nil {
			t.Fatal(err)
		}
		then, err := snapshot.Build(got)
		if err != nil {
			t.Fatal(err)
		}
		if first.Version != then.Version {
			t.Fatalf("version %s, then %s", first.Version, then.Version)
		}
	}
}
