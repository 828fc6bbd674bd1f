package translate_test

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
	"google.golang.org/protobuf/proto"

	"github.com/dragoman-mesh/dragoman/pkg/inventory"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
	"github.com/dragoman-mesh/dragoman/pkg/translate"
	"github.com/dragoman-mesh/dragoman/pkg/xds/snapshot"
)

// FuzzObject: whatever the surroundings of a valid object are, it either has no
// resources and a condition that is false, or resources that make a snapshot, and
// the same bytes each time.
func FuzzObject(f *testing.F) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		f.Fatal("no cases", err)
	}
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			f.Fatal(err)
		}
		contents := map[string][]byte{"world": []byte("{}")}
		for _, part := range archive.Files {
			contents[part.Name] = part.Data
		}
		for name, data := range contents {
			if strings.HasSuffix(name, ".yaml") {
				f.Add(data, contents["world"], "a")
			}
		}
	}
	f.Fuzz(func(t *testing.T, document, surroundings []byte, zone string) {
		objs, errs := mesh.Decode("fuzz.yaml", document, mesh.InCluster())
		if errs = append(errs, mesh.Validate(objs, mesh.InCluster())...); len(errs) > 0 {
			return
		}
		world, ok := inventoryOf(surroundings)
		if !ok {
			return
		}
		for _, obj := range objs {
			listeners := 1
			if a, ok := obj.(*mesh.Ambassador); ok {
				listeners = len(a.Spec.Listeners())
			}
			for _, environment := range environmentsOf(obj) {
				checkObject(t, obj, translate.Variant{Environment: environment, Spot: translate.Spot{Zone: zone}}, world, listeners)
			}
		}
	})
}

func checkObject(t *testing.T, a mesh.Object, v translate.Variant, world translate.World, listeners int) {
	t.Helper()
	out := translate.Object(a, v, world)
	if good := out.Conditions[0].Status && out.Conditions[1].Status; good != (len(out.Set.Listeners) == listeners) || !good && len(out.Set.Listeners) > 0 {
		t.Fatalf("%d listeners, %+v", len(out.Set.Listeners), out.Conditions)
	}
	first, err := snapshot.Build(out.Set)
	if err != nil {
		t.Fatalf("no snapshot: %v", err)
	}
	again, err := snapshot.Build(translate.Object(a, v, world).Set)
	if err != nil || again.Version != first.Version {
		t.Errorf("another result: %v", err)
	}
	for _, p := range out.Set.Endpoints {
		if _, err := proto.Marshal(p); err != nil {
			t.Errorf("%s: %v", p.GetClusterName(), err)
		}
	}
}

// inventoryOf reads the file world of a case.
func inventoryOf(text []byte) (*inventory.Store, bool) {
	var w world
	decoder := json.NewDecoder(bytes.NewReader(text))
	if decoder.Decode(&w) != nil {
		return nil, false
	}
	return w.store(), true
}
