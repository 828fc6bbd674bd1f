package proxy_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dragoman-mesh/dragoman/internal/filetest"
	"github.com/dragoman-mesh/dragoman/internal/nettest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
	"github.com/dragoman-mesh/dragoman/pkg/proxy"
)

// checkedAPI is a document whose requests must fit the schema in a file.
func checkedAPI(port int, app, schema string) string {
	return fmt.Sprintf(`apiVersion: mesh.dragoman.io/v1alpha1
kind: Adapter
metadata: {name: orders}
spec:
  api:
    listen: {port: %d}
    upstream: {address: %q}
    routes:
    - match: {method: POST, path: /orders}
      request:
        schemaFile: %q
        body: {from: json, to: json}
`, port, app, schema)
}

func put(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	filetest.Put(t, file, text)
}

// TestSchemaFiles: a schema is read beside the document that names it, and what is
// wrong with it is told with its file and line.
func TestSchemaFiles(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, file, schema, want string }{
		{"JSON", "schemas/order.json", "{\n\t\"type\": \"object\"\n}", ""},
		{"YAML", "schemas/order.yaml", "type: object\nrequired: [a]\n", ""},
		{"not there", "schemas/none.json", "", "mesh.yaml:11:21: spec.api.routes[0].request.schemaFile: open "},
		{"broken JSON", "schemas/order.json", "{\n \"type\": object\n}", "schemas/order.json:2:10: "},
		{"broken YAML", "schemas/order.yaml", "type: object\n  x: [\n", "schemas/order.yaml:2:"},
		{"no schema", "schemas/order.json", `{"type": 1}`, "schemas/order.json: no JSON Schema: /type: "},
		{"a list", "schemas/order.json", `[]`, "schemas/order.json: must be an object, not a list"},
		{"of others", "schemas/order.json", `{"$ref": "other.json"}`, "schemas/order.json: it refers to \"other.json\": nothing is loaded"},
		{"too long", "schemas/order.json", `{"a": "` + strings.Repeat("x", 1<<18) + `"}`, "schemas/order.json: more than 262144 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			document := filepath.Join(dir, "mesh.yaml")
			put(t, document, checkedAPI(8080, "127.0.0.1:1", tt.file))
			if tt.schema != "" {
				put(t, filepath.Join(dir, tt.file), tt.schema)
			}
			_, err := proxy.Check(proxy.NewFiles([]string{document}), mesh.NodeFacts{})
			switch {
			case tt.want == "" && err != nil:
				t.Error(err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("%v\ninstead of %s", err, tt.want)
			}
		})
	}
}

// TestSchemaFileChanges: a schema that changes is taken over like a document, and
// one that is broken leaves all as it was.
func TestSchemaFileChanges(t *testing.T) {
	t.Parallel()
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte("{}"))
	}))
	defer app.Close()
	schema := filepath.Join(t.TempDir(), "order.json")
	put(t, schema, `{"required": ["a"]}`)
	port := redistest.Port(t)
	r := start(t, checkedAPI(port, strings.TrimPrefix(app.URL, "http://"), schema))
	answers := func(body string, want int) {
		t.Helper()
		r.eventually(body, func() error {
			resp, err := nettest.Client.Post("http://"+local(port)+"/orders", "application/json", strings.NewReader(body))
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			if resp.StatusCode != want {
				return errors.New(resp.Status)
			}
			return nil
		})
	}
	answers(`{"a":1}`, http.StatusOK)
	answers(`{"b":1}`, http.StatusUnprocessableEntity)

	put(t, schema, `{"required": ["b"]}`)
	answers(`{"b":1}`, http.StatusOK)
	answers(`{"a":1}`, http.StatusUnprocessableEntity)

	put(t, schema, "{\n\"required\": b}")
	r.shows("/metrics", "dragoman_config_last_reload_successful 0")
	r.shows("/config_dump", "order.json:2:13: ")
	answers(`{"b":1}`, http.StatusOK)

	put(t, schema, `{"required": ["c"]}`)
	answers(`{"c":1}`, http.StatusOK)
}
