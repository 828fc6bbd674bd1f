package json_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"

	"github.com/dragoman-mesh/dragoman/internal/tooltest"
	"github.com/dragoman-mesh/dragoman/pkg/metrics"
	jsonmetrics "github.com/dragoman-mesh/dragoman/pkg/metrics/json"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

const stats = `{"version": "1.2", "up": "yes", "big": 12345678901234567890, "queues": [{"name": "a", "depth": 3, "tags": ["x", "y"]}, {"name": "b", "depth": "4.5"}, {"name": "c"}]}`

func open(t *testing.T, cfg resource.JSONSource, env metrics.Env) *jsonmetrics.Source {
	t.Helper()
	cfg.Timeout = time.Minute
	s, err := jsonmetrics.New(&cfg, env)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func gather(t *testing.T, s *jsonmetrics.Source) (text string, err error) {
	t.Helper()
	list, err := s.Gather(t.Context())
	var out strings.Builder
	for line := range strings.Lines(tooltest.Text(t, list)) {
		if !strings.HasPrefix(line, "#") {
			out.WriteString(line)
		}
	}
	return out.String(), err
}

func document(t *testing.T, text string) resource.MetricsFetch {
	t.Helper()
	path := filepath.Join(t.TempDir(), "stats.json")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return resource.MetricsFetch{URI: "file://" + path}
}

// TestExtract: rules of a document, with JSONPath and with jq. Labels keep the
// digits of numbers, unlike json_exporter's.
func TestExtract(t *testing.T) {
	t.Parallel()
	gauge, counter := dto.MetricType_GAUGE, dto.MetricType_COUNTER
	s := open(t, resource.JSONSource{MetricsFetch: document(t, stats), Extract: []resource.Extraction{
		{Name: "up", Path: "{.up}", Type: gauge, ValueMap: map[string]float64{"yes": 1, "*": 0}},
		{Name: "depth", Path: ".queues[*]", Value: ".depth", Type: counter, Labels: map[string]string{"name": ".name", "big": "{$.name}{.depth}", "site": `"north"`}, Scale: 2},
		{Name: "big", Path: "{$}", Value: "{.big}", Type: gauge, Labels: map[string]string{"big": "{.big}", "tags": "{range .queues[0].tags[*]}{@};{end}"}},
		{Name: "jq_depth", Query: `.queues[] | select(.depth) | {value: .depth, labels: {name, first: (.tags[0]? // "none")}}`, Type: gauge, Labels: map[string]string{"site": `"north"`}},
		{Name: "jq_sum", Query: `[.queues[].depth | numbers] | add`, Type: gauge},
		{Name: "jq_list", Query: `[1, true, "5"]`, Type: gauge},
	}}, metrics.Env{})
	got, err := gather(t, s)
	want := `big{big="12345678901234567890",tags="x;y;"} 1.2345678901234567e+19
depth{big="a3",name="a",site="north"} 6
depth{big="b4.5",name="b",site="north"} 9
jq_depth{first="x",name="a",site="north"} 3
jq_depth{first="none",name="b",site="north"} 4.5
jq_list 1
jq_list 1
jq_list 5
jq_sum 3
up 1
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if err == nil || err.Error() != `metric depth: "depth" is not found` {
		t.Errorf("error %v", err)
	}
	if diff := cmp.Diff(map[string]uint64{"unreadable": 1}, s.Losses()); diff != "" {
		t.Errorf("losses (-want +got):\n%s", diff)
	}
}

func TestBadRulesAreRefused(t *testing.T) {
	t.Parallel()
	gauge := dto.MetricType_GAUGE
	for want, x := range map[string]resource.Extraction{
		"not the name of a metric":    {Name: "a-b", Path: "{.a}", Type: gauge},
		"without text around it":      {Name: "a", Path: "x{.a}", Type: gauge},
		"the path has no end":         {Name: "a", Path: "{.a", Type: gauge},
		"put it in double quotes":     {Name: "a", Path: "{.a}", Type: gauge, Labels: map[string]string{"l": "name"}},
		"cannot be made of single":    {Name: "a", Path: "{.a}", Type: dto.MetricType_SUMMARY},
		"not a program of jq":         {Name: "a", Query: ".[", Type: gauge},
		"range is not allowed":        {Name: "a", Query: "[range(1e9)] | length", Type: gauge},
		"f calls itself":              {Name: "a", Query: "def f: f; f", Type: gauge},
		".. is not allowed":           {Name: "a", Query: "[..] | length", Type: gauge},
		"env is not allowed":          {Name: "a", Query: "env.HOME", Type: gauge},
		"$ENV is not allowed":         {Name: "a", Query: "$ENV.HOME", Type: gauge},
		"input is not allowed":        {Name: "a", Query: "{a: [1 | input]}", Type: gauge},
		"halt is not allowed":         {Name: "a", Query: ".a as $x | if $x then halt else 1 end", Type: gauge},
		"importing modules":           {Name: "a", Query: `include "x"; 1`, Type: gauge},
		"recurse is not allowed":      {Name: "a", Query: "def g: recurse(.[]); 1", Type: gauge},
		"in its output":               {Name: "a", Query: ".a", Type: gauge, Labels: map[string]string{"l": ".b"}},
		"takes the place of each":     {Name: "a", Query: ".a", Value: ".b", Type: gauge},
		"program of more than 4096":   {Name: "a", Query: strings.Repeat("1|", 3000) + "1", Type: gauge},
		"is not the name of a label;": {Name: "a", Path: "{.a}", Type: gauge, Labels: map[string]string{"__l": ".b"}},
	} {
		_, err := jsonmetrics.New(&resource.JSONSource{MetricsFetch: resource.MetricsFetch{URI: "http://localhost/"}, Extract: []resource.Extraction{x}}, metrics.Env{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: error %v, want %q", x, err, want)
		}
	}
}

// TestJQIsBounded: a program that would take for ever is ended, and costs no
// other metric.
func TestJQIsBounded(t *testing.T) {
	t.Parallel()
	numbers := "[" + strings.TrimSuffix(strings.Repeat("1,", 500), ",") + "]"
	s := open(t, resource.JSONSource{MetricsFetch: document(t, numbers), Extract: []resource.Extraction{
		{Name: "slow", Query: "[.[] as $a | .[] as $b | .[] as $c | .[] as $d | select($a > $b)] | length", Type: dto.MetricType_GAUGE},
		{Name: "fast", Path: "{[0]}", Type: dto.MetricType_GAUGE},
	}}, metrics.Env{})
	got, err := gather(t, s)
	if got != "fast 1\n" || err == nil || !strings.Contains(err.Error(), "does too much") && !strings.Contains(err.Error(), "deadline") {
		t.Errorf("got %s, %v", got, err)
	}
}

// TestFaults: an app that is down, slow or wrong gives an error and nothing else.
func TestFaults(t *testing.T) {
	t.Parallel()
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/slow":
			<-r.Context().Done()
		case "/huge":
			_, _ = io.WriteString(w, strings.Repeat(" ", 200_000)) // until the other end has had enough
		case "/deep":
			_, _ = io.WriteString(w, strings.Repeat("[", 90_000))
		case "/html":
			_, _ = io.WriteString(w, "<html>")
		default:
			http.Error(w, "no", http.StatusTeapot)
		}
	}))
	t.Cleanup(app.Close)
	for path, want := range map[string]string{
		"/slow": "no whole answer in time", "/huge": "too large: more than 100000 bytes", "/deep": "nested too deeply", "/html": "not JSON at byte 0", "/x": "status 418",
	} {
		timeout := time.Minute
		if path == "/slow" {
			timeout = 100 * time.Millisecond
		}
		s, err := jsonmetrics.New(&resource.JSONSource{
			MetricsFetch: resource.MetricsFetch{URI: app.URL + path + "?token=s3cret", Timeout: timeout},
			Extract:      []resource.Extraction{{Name: "a", Path: "{.a}", Type: dto.MetricType_GAUGE}},
		}, metrics.Env{MaxBytes: 100_000})
		if err != nil {
			t.Fatal(err)
		}
		got, err := gather(t, s)
		if got != "" || err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: got %q, %v", path, got, err)
		}
		_ = s.Close()
	}
}

// TestConfigFileIsReadAgain when it changes; one that is wrong leaves what was.
func TestConfigFileIsReadAgain(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "config.yml")
	version := 0
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		version++
		when := time.Unix(1700000000+int64(version), 0)
		if err := os.Chtimes(name, when, when); err != nil {
			t.Fatal(err)
		}
	}
	write("modules: {default: {metrics: [{name: a, path: '{.queues[0].depth}'}]}}")
	s := open(t, resource.JSONSource{MetricsFetch: document(t, stats), ConfigFile: name, Module: "default"}, metrics.Env{})
	if got, err := gather(t, s); got != "a 3\n" || err != nil {
		t.Errorf("got %s, %v", got, err)
	}
	write("modules: {default: {metrics: [{name: b, path: '{.queues[1].depth}'}]}}")
	if got, err := gather(t, s); got != "b 4.5\n" || err != nil {
		t.Errorf("after a change: %s, %v", got, err)
	}
	write("modules: [")
	if got, err := gather(t, s); got != "b 4.5\n" || err == nil || !strings.Contains(err.Error(), name) {
		t.Errorf("after a bad change: %s, %v", got, err)
	}
	if _, err := jsonmetrics.New(&resource.JSONSource{ConfigFile: name}, metrics.Env{}); err == nil {
		t.Error("a bad file is taken at the start")
	}
}

// FuzzExporter: a file that is taken can be used, and says the same when it is
// read again.
func FuzzExporter(f *testing.F) {
	for _, name := range []string{"testdata/oracle/config.yml"} {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(data))
	}
	f.Add("modules: {a: {metrics: [{name: x, path: '{.a}', type: object, values: {b: '{.c}'}}], body: {content: '{{ .x | first }}', templatize: true}}}")
	f.Fuzz(func(t *testing.T, text string) {
		e, err := jsonmetrics.ParseExporter([]byte(text))
		if err != nil {
			return
		}
		again, err := jsonmetrics.ParseExporter([]byte(text))
		if err != nil || fmt.Sprint(e.Modules(), e.Warnings) != fmt.Sprint(again.Modules(), again.Warnings) {
			t.Errorf("%v, %v and then %v, %v, %v", e.Modules(), e.Warnings, again.Modules(), again.Warnings, err)
		}
		for _, name := range e.Modules() {
			list, _ := e.Module(name).Read(stats, jsonmetrics.Limits{Series: 50}) // an error says what is missing
			tooltest.Text(t, list)
		}
	})
}
