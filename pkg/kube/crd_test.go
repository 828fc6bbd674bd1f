package kube_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"

	"github.com/dragoman-mesh/dragoman/internal/goldentest"
	"github.com/dragoman-mesh/dragoman/internal/kubetest"
	"github.com/dragoman-mesh/dragoman/pkg/kube"
	"github.com/dragoman-mesh/dragoman/pkg/kube/v1alpha1"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
)

// create sends a document as kubectl does, which has the server refuse unknown
// and doubled fields, without keeping it.
func create(ctx context.Context, api *kubetest.Server, ns string, document []byte) (*unstructured.Unstructured, error) {
	obj := &unstructured.Unstructured{}
	if err := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(document), 1<<16).Decode(obj); err != nil {
		return nil, err
	}
	obj.SetNamespace(ns)
	resource := v1alpha1.Ambassadors()
	if obj.GetKind() == mesh.KindAdapter {
		resource = v1alpha1.Adapters()
	}
	return api.Dynamic().Resource(resource).Namespace(ns).Create(ctx, obj, metav1.CreateOptions{
		FieldValidation: metav1.FieldValidationStrict, DryRun: []string{metav1.DryRunAll},
	})
}

// TestSchemaTakesExamples: what the examples show can be applied, and is read
// back as what it was.
func TestSchemaTakesExamples(t *testing.T) {
	t.Parallel()
	api := suite.Server(t)
	install(t, api)
	ns := api.Namespace(t)
	files := exampleFiles(t)
	seen := 0
	for _, file := range files {
		for _, document := range documents(t, file) {
			if !bytes.Contains(append([]byte("\n"), document...), []byte("\nkind: Ambassador\n")) {
				continue
			}
			seen++
			made, err := create(t.Context(), api, ns, document)
			if err != nil {
				t.Errorf("%s: %v", file, err)
				continue
			}
			if err := kube.ObjectOf(made).Err; err != nil {
				t.Errorf("%s, as the API server gives it: %v", file, err)
			}
		}
	}
	if seen < len(files)/2 {
		t.Errorf("%d documents in %d files", seen, len(files))
	}
}

// exampleFiles lists the examples, those of folders included.
func exampleFiles(t *testing.T) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir("../../examples", func(path string, _ fs.DirEntry, err error) error {
		if filepath.Ext(path) == ".yaml" {
			files = append(files, path)
		}
		return err
	})
	if err != nil || len(files) == 0 {
		t.Fatal("no examples", err)
	}
	return files
}

func documents(t *testing.T, file string) [][]byte {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var out [][]byte
	for r := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data))); ; {
		document, err := r.Read()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, document)
	}
}

// TestSchemaRefuses: each case changes one thing in a document that is taken.
// The API server refuses it and names the field, and so does Decode. What CEL
// cannot say within its budget, Decode alone refuses, for the status to tell.
func TestSchemaRefuses(t *testing.T) {
	t.Parallel()
	api := suite.Server(t)
	install(t, api)
	ns := api.Namespace(t)
	goldentest.Run(t, "testdata/schema*.txtar", func(t *testing.T, c *goldentest.Case) { schemaHolds(t, api, ns, c.Archive) })
}

func schemaHolds(t *testing.T, api *kubetest.Server, ns string, archive *txtar.Archive) {
	t.Helper()
	base := string(archive.Files[0].Data)
	if _, err := create(t.Context(), api, ns, []byte(base)); err != nil {
		t.Fatalf("the document that is right: %v", err)
	}
	if _, errs := mesh.Decode("", []byte(base), mesh.InCluster()); len(errs) > 0 {
		t.Fatalf("the document that is right: %v", errs)
	}
	for _, c := range schemaCases(t, base, archive.Files[1].Data) {
		t.Run(c.instead, func(t *testing.T) {
			t.Parallel()
			_, err := create(t.Context(), api, ns, c.document)
			// CEL writes a key of a map in brackets, and OpenAPI does not.
			text := strings.NewReplacer("[prod]", ".prod", "[sessions]", ".sessions").Replace(fmt.Sprint(err))
			if !apierrors.IsInvalid(err) && !apierrors.IsBadRequest(err) || !strings.Contains(text, c.path) || !strings.Contains(text, c.words) {
				t.Errorf("the API server: want %s and %q, got %s", c.path, c.words, text)
			}
			if _, errs := mesh.Decode("", c.document, mesh.InCluster()); len(errs) == 0 {
				t.Error("Decode takes it")
			}
		})
	}
	for _, c := range schemaCases(t, base, archive.Files[3].Data) {
		t.Run(c.instead, func(t *testing.T) {
			t.Parallel()
			made, err := create(t.Context(), api, ns, c.document)
			if err != nil {
				t.Fatal(err)
			}
			if err := kube.ObjectOf(made).Err; err != nil {
				t.Error(err)
			}
		})
	}
	for _, c := range schemaCases(t, base, archive.Files[2].Data) {
		t.Run(c.instead, func(t *testing.T) {
			t.Parallel()
			made, err := create(t.Context(), api, ns, c.document)
			if err != nil {
				t.Fatalf("the API server refuses it, too: move the case up: %v", err)
			}
			text := fmt.Sprint(kube.ObjectOf(made).Err)
			if !strings.Contains(text, c.path) || !strings.Contains(text, c.words) {
				t.Errorf("want %s and %q, got %s", c.path, c.words, text)
			}
		})
	}
}

// schemaCase is a document with one thing changed, and what is said of it.
type schemaCase struct {
	instead, path, words string
	document             []byte
}

func schemaCases(t *testing.T, base string, lines []byte) []schemaCase {
	t.Helper()
	line := regexp.MustCompile(`^(.*) => (.*) # (?:unknown field )?(\S+) ?(.*)$`)
	var out []schemaCase
	for c := range strings.SplitSeq(strings.TrimSpace(string(lines)), "\n") {
		m := line.FindStringSubmatch(c)
		if m == nil || !strings.Contains(base, m[1]) {
			t.Fatalf("want \"there => instead # path words\" with what is there, not %q", c)
		}
		out = append(out, schemaCase{m[2], m[3], m[4], []byte(strings.Replace(base, m[1], m[2], 1))})
	}
	return out
}

// TestKubectlShows: kubectl knows the short name, and its table has what one
// looks for first.
func TestKubectlShows(t *testing.T) {
	t.Parallel()
	api := suite.Server(t)
	install(t, api)
	ns := api.Namespace(t)
	api.Apply(t, ns, cacheObject)
	table := api.Kubectl(t, nil, "-n", ns, "get", "amb", "--no-headers=false")
	for _, want := range []string{"PROTOCOL", "PORT", "ACCEPTED", "PROGRAMMED", "PROXIES", "RUNNING", "REFUSED", "redis", "6380"} {
		if !strings.Contains(table, want) {
			t.Errorf("no %s in\n%s", want, table)
		}
	}
}
