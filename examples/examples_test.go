// Package examples_test keeps the examples true.
package examples_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dragoman-mesh/dragoman/pkg/mesh"
	"github.com/dragoman-mesh/dragoman/pkg/translate"
	"github.com/dragoman-mesh/dragoman/pkg/xds/snapshot"
)

// Every example is valid, and makes a snapshot in each of its environments.
func TestExamples(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("no examples", err)
	}
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			if !strings.Contains(string(readme), "("+file+")") {
				t.Error("README.md does not name it")
			}
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			objs, errs := mesh.Decode(file, data)
			if errs = append(errs, mesh.Validate(objs)...); len(errs) > 0 {
				t.Fatal(errs)
			}
			for _, obj := range objs {
				for environment := range obj.(*mesh.Ambassador).Spec.Environments {
					check(t, obj, environment)
				}
			}
		})
	}
}

func check(t *testing.T, obj mesh.Object, environment string) {
	t.Helper()
	node := translate.Node{Facts: mesh.NodeFacts{Flag: environment}}
	set, conditions := translate.Translate([]mesh.Object{obj}, node, nil)
	for _, c := range conditions {
		if !c.Status {
			t.Errorf("%s in %s: %s", c.Object, environment, c.Message)
		}
	}
	s, err := snapshot.Build(set)
	if err != nil {
		t.Fatalf("%s in %s:\n%v", obj.Key(), environment, err)
	}
	if len(s.Listeners) != 1 {
		t.Errorf("%d listeners", len(s.Listeners))
	}
}
