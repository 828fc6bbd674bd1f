package environment_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/pkg/mesh"
	"github.com/dragoman-mesh/dragoman/pkg/proxy/environment"
)

func put(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFacts(t *testing.T) {
	t.Parallel()
	pod := put(t, "app=\"web\"\nmesh.dragoman.io/environment=\"staging\"\n")
	bare := put(t, "app=\"web\"\n")
	ns := put(t, `mesh.dragoman.io/environment="test"`)
	name := put(t, "shop-prod\n")
	none := filepath.Join(t.TempDir(), "none")

	cases := map[string]struct {
		detector environment.Detector
		want     mesh.NodeFacts
	}{
		"all": {
			environment.Detector{
				Flag: "a", EnvVar: "b", LabelsFile: pod, NamespaceLabelsFile: ns, NamespaceFile: name, Hostname: "h",
			},
			mesh.NodeFacts{
				Flag: "a", EnvVar: "b", PodLabel: "staging", NamespaceLabel: "test", Namespace: "shop-prod", Hostname: "h",
			},
		},
		"no such label": {environment.Detector{LabelsFile: bare}, mesh.NodeFacts{}},
		"namespace given": {
			environment.Detector{Namespace: "x-prod", NamespaceFile: name}, mesh.NodeFacts{Namespace: "x-prod"},
		},
		"no files": {
			environment.Detector{LabelsFile: none, NamespaceLabelsFile: none, NamespaceFile: none}, mesh.NodeFacts{},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := tc.detector.Facts()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestFactsError(t *testing.T) {
	t.Parallel()
	file := put(t, "app=web\n")
	d := environment.Detector{LabelsFile: file, Namespace: "n"}
	facts, err := d.Facts()
	if !errors.Is(err, environment.ErrLabels) {
		t.Errorf("got %v", err)
	}
	if facts.Namespace != "n" {
		t.Errorf("the other facts are lost: %+v", facts)
	}
	if diff := cmp.Diff([]string{file}, d.Files()); diff != "" {
		t.Error(diff)
	}
}

func FuzzParseLabels(f *testing.F) {
	f.Add("a=\"b\"\nc=\"d\\n\"\n")
	f.Fuzz(func(t *testing.T, s string) {
		labels, err := environment.ParseLabels([]byte(s))
		if err != nil && !errors.Is(err, environment.ErrLabels) {
			t.Fatalf("untyped error %v", err)
		}
		for key := range labels {
			if key == "" || strings.ContainsAny(key, "\n") {
				t.Fatalf("key %q", key)
			}
		}
	})
}
