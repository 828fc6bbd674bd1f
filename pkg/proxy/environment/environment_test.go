package environment_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/pkg/proxy/environment"
)

func TestDetectOrder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	put := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	pod := put("pod", "app=\"web\"\nmesh.dragoman.io/environment=\"staging\"\n")
	bare := put("bare", "app=\"web\"\n")
	ns := put("ns", `mesh.dragoman.io/environment="test"`)
	name := put("namespace", "shop-prod\n")
	rules := []environment.Rule{{Pattern: "*-prod", Environment: "prod"}}
	none := filepath.Join(dir, "none")

	cases := map[string]struct {
		detector environment.Detector
		want     environment.Answer
	}{
		"flag": {
			environment.Detector{Name: "dev", NameSource: "--environment", LabelsFile: pod},
			environment.Answer{Name: "dev", Source: "--environment"},
		},
		"pod label": {
			environment.Detector{LabelsFile: pod, NamespaceLabelsFile: ns, NamespaceFile: name, Rules: rules},
			environment.Answer{Name: "staging", Source: "label of the pod (" + pod + ")"},
		},
		"namespace label": {
			environment.Detector{LabelsFile: bare, NamespaceLabelsFile: ns, NamespaceFile: name, Rules: rules},
			environment.Answer{Name: "test", Source: "label of the namespace (" + ns + ")"},
		},
		"rule": {
			environment.Detector{LabelsFile: none, NamespaceFile: name, Rules: rules},
			environment.Answer{Name: "prod", Source: "rule *-prod=prod on namespace shop-prod"},
		},
		"namespace given": {
			environment.Detector{Namespace: "x-prod", NamespaceFile: name, Rules: rules},
			environment.Answer{Name: "prod", Source: "rule *-prod=prod on namespace x-prod"},
		},
		"no rule fits": {environment.Detector{Namespace: "shop", Rules: rules}, environment.Answer{}},
		"nothing":      {environment.Detector{LabelsFile: none, NamespaceFile: none}, environment.Answer{}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := tc.detector.Detect()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestDetectError(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "labels")
	if err := os.WriteFile(file, []byte("app=web\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	d := environment.Detector{LabelsFile: file}
	if _, err := d.Detect(); !errors.Is(err, environment.ErrLabels) {
		t.Errorf("got %v", err)
	}
	if diff := cmp.Diff([]string{file}, d.Files()); diff != "" {
		t.Error(diff)
	}
}

func TestParseRules(t *testing.T) {
	t.Parallel()
	rules, err := environment.ParseRules([]string{"*-prod, dev-*", "shop=live", "a-*-b=c"})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"shop-prod": "prod", "-prod": "", "dev-1": "dev", "shop": "live", "shops": "", "a-x-b": "c", "a--b": "",
	}
	for namespace, env := range want {
		got := ""
		for _, r := range rules {
			if name, ok := r.Match(namespace); ok {
				got = name
				break
			}
		}
		if got != env {
			t.Errorf("%s: got %q, want %q", namespace, got, env)
		}
	}
	for _, bad := range []string{"*", "**-prod", "=x", "*-prod="} {
		if _, err := environment.ParseRules([]string{bad}); !errors.Is(err, environment.ErrRule) {
			t.Errorf("%q: %v", bad, err)
		}
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
