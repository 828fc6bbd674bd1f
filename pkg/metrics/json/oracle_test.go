package json_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/internal/nettest"
	"github.com/dragoman-mesh/dragoman/internal/tooltest"
	jsonmetrics "github.com/dragoman-mesh/dragoman/pkg/metrics/json"
)

// exporter is a running json_exporter.
type exporter struct{ address, config string }

func startExporter(t *testing.T, config string) exporter {
	t.Helper()
	address := tooltest.FreeAddress(t)
	tooltest.Start(t, address, "json_exporter", "--config.file="+config, "--web.listen-address="+address)
	return exporter{address: address, config: config}
}

// probe asks json_exporter.
func (e exporter) probe(t *testing.T, module, target, query string) string {
	t.Helper()
	uri := fmt.Sprintf("http://%s/probe?module=%s&target=%s%s", e.address, module, url.QueryEscape(target), query)
	res, err := nettest.Client.Get(uri)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	page, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("json_exporter: status %d, %v: %s", res.StatusCode, err, page)
	}
	return string(page)
}

// ours does with the same module what json_exporter does.
func (e exporter) ours(t *testing.T, module, target, query string) string {
	t.Helper()
	file, err := jsonmetrics.LoadExporter(e.config)
	if err != nil {
		t.Fatal(err)
	}
	m := file.Module(module)
	client := m.Client(0, 0)
	defer client.Close()
	values, err := url.ParseQuery("module=" + module + "&target=" + url.QueryEscape(target) + query)
	if err != nil {
		t.Fatal(err)
	}
	families, err := m.Probe(t.Context(), client, jsonmetrics.Target{URI: target, Query: values}, jsonmetrics.Limits{})
	if families == nil {
		t.Fatal(err)
	}
	return tooltest.Text(t, families)
}

// TestJSONExportersOwnExamples gives both the configurations and documents that
// json_exporter comes with.
func TestJSONExportersOwnExamples(t *testing.T) {
	t.Parallel()
	dir := tooltest.Path(t, "examples")
	files := httptest.NewServer(http.FileServer(http.Dir(dir)))
	t.Cleanup(files.Close)
	tests := []struct{ config, module, document string }{
		{"json_exporter/config.yml", "default", "json_exporter/data.json"},
		{"json_exporter/config.yml", "animals", "json_exporter/animal-data.json"},
		{"json_exporter_test/config/good.yml", "default", "json_exporter_test/serve/good.json"},
	}
	for _, tt := range tests {
		t.Run(tt.config+" "+tt.module, func(t *testing.T) {
			t.Parallel()
			e := startExporter(t, filepath.Join(dir, tt.config))
			want := e.probe(t, tt.module, files.URL+"/"+tt.document, "")
			if got := e.ours(t, tt.module, files.URL+"/"+tt.document, ""); !cmp.Equal(sorted(want), sorted(got)) {
				t.Errorf("(-json_exporter +ours):\n%s", cmp.Diff(sorted(want), sorted(got)))
			}
		})
	}
}

// TestSameAsJSONExporter gives both a configuration with everything that can be
// in one.
func TestSameAsJSONExporter(t *testing.T) {
	t.Parallel()
	app := httptest.NewServer(http.HandlerFunc(app))
	t.Cleanup(app.Close)
	e := startExporter(t, "testdata/oracle/config.yml")
	file, err := jsonmetrics.LoadExporter(e.config)
	if err != nil {
		t.Fatal(err)
	}
	for _, module := range file.Modules() {
		t.Run(module, func(t *testing.T) {
			t.Parallel()
			const query = "&myVal=31&many=a&many=b"
			want := e.probe(t, module, app.URL+"/"+module+".json", query)
			if got := e.ours(t, module, app.URL+"/"+module+".json", query); !cmp.Equal(sorted(want), sorted(got)) {
				t.Errorf("(-json_exporter +ours):\n%s", cmp.Diff(sorted(want), sorted(got)))
			}
		})
	}
}

// app is what the modules of the test expect.
func app(w http.ResponseWriter, r *http.Request) {
	user, password, _ := r.BasicAuth()
	switch name := filepath.Base(r.URL.Path); {
	case r.Method == http.MethodPost:
		_, _ = io.Copy(w, r.Body) // the test sees what is missing
	case name == "created.json":
		w.WriteHeader(http.StatusCreated)
		fmt.Fprint(w, `{"made": 1}`)
	case name == "guarded.json" && user == "shop" && password == "pass word":
		fmt.Fprint(w, `{"ok": 1}`)
	case name == "fields.json" && (r.Header.Get("X-Team") != "shop" || r.Header.Get("Accept") != "application/json"):
		http.Error(w, "headers are missing", http.StatusBadRequest)
	default:
		data, err := os.ReadFile(filepath.Join("testdata/oracle", name))
		if err != nil {
			http.Error(w, err.Error(), http.StatusNotFound)
			return
		}
		_, _ = w.Write(data) // as above
	}
}

// sorted gives the lines of an exposition by family: json_exporter's families
// are sorted by name, their series in the order of their labels.
func sorted(page string) map[string][]string {
	out := make(map[string][]string)
	name := ""
	for line := range strings.Lines(page) {
		if rest, ok := strings.CutPrefix(line, "# HELP "); ok {
			name, _, _ = strings.Cut(rest, " ")
		}
		out[name] = append(out[name], line)
	}
	for _, lines := range out {
		slices.Sort(lines)
	}
	return out
}
