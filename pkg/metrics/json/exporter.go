package json

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"

	dto "github.com/prometheus/client_model/go"
	"go.yaml.in/yaml/v3"

	"github.com/dragoman-mesh/dragoman/pkg/metrics/fetch"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/json/body"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/json/tree"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/rules"
)

// maxModules bounds a configuration file.
const maxModules = 1000

// Exporter is a configuration file of json_exporter, compiled. It is read-only.
type Exporter struct {
	modules map[string]*Module
	// Warnings say what of the file has no effect, as in json_exporter, which
	// says nothing.
	Warnings []string
}

// Module is one of the modules of the file.
type Module struct {
	rules *rules.Set[tree.Value]
	fetch fetch.Config
	body  string
	tmpl  *body.Template // nil: body is sent as it is
}

// Modules are the names of the modules, sorted.
func (e *Exporter) Modules() []string { return slices.Sorted(maps.Keys(e.modules)) }

// Module finds a module; nil if there is none of the name.
func (e *Exporter) Module(name string) *Module { return e.modules[name] }

// Need is Module for who cannot do without.
func (e *Exporter) Need(name string) (*Module, error) {
	if m := e.modules[name]; m != nil {
		return m, nil
	}
	return nil, fmt.Errorf("there is no module %q; it has %q", name, e.Modules())
}

// The file as it is written. json_exporter's keys are lower-case, and it takes
// no notice of keys that it doesn't know.
type (
	exporterFile struct {
		Modules map[string]*moduleFile `yaml:"modules"`
	}
	moduleFile struct {
		Headers          map[string]string `yaml:"headers"`
		Metrics          []metricFile      `yaml:"metrics"`
		HTTPClientConfig httpFile          `yaml:"http_client_config"`
		Body             struct {
			Content    string `yaml:"content"`
			Templatize bool   `yaml:"templatize"`
		} `yaml:"body"`
		ValidStatusCodes []int `yaml:"valid_status_codes"`
	}
	metricFile struct {
		Name           string            `yaml:"name"`
		Path           string            `yaml:"path"`
		Labels         map[string]string `yaml:"labels"`
		Type           string            `yaml:"type"`
		ValueType      string            `yaml:"valuetype"`
		EpochTimestamp string            `yaml:"epochtimestamp"`
		Help           string            `yaml:"help"`
		Values         map[string]string `yaml:"values"`
	}
	// linesFile says where the metrics are.
	linesFile struct {
		Modules map[string]struct {
			Metrics []yaml.Node `yaml:"metrics"`
		} `yaml:"modules"`
	}
)

// ParseExporter reads a configuration file. Files that it names, such as
// passwords, are read when they are used, certificates at once.
func ParseExporter(data []byte) (*Exporter, error) {
	var file exporterFile
	if err := yaml.Unmarshal(data, &file); err != nil {
		return nil, err
	}
	var where linesFile
	if err := yaml.Unmarshal(data, &where); err != nil {
		return nil, err
	}
	e := &Exporter{modules: make(map[string]*Module)}
	strict := yaml.NewDecoder(bytes.NewReader(data))
	strict.KnownFields(true)
	if err := strict.Decode(new(exporterFile)); err != nil && !errors.Is(err, io.EOF) {
		e.Warnings = append(e.Warnings, err.Error())
	}
	if len(file.Modules) > maxModules {
		return nil, fmt.Errorf("modules: more than %d", maxModules)
	}
	for _, name := range slices.Sorted(maps.Keys(file.Modules)) {
		m := file.Modules[name]
		if m == nil {
			m = &moduleFile{}
		}
		compiled, err := e.compile(name, m, where.Modules[name].Metrics)
		if err != nil {
			return nil, err
		}
		e.modules[name] = compiled
	}
	return e, nil
}

// compile compiles a module, whose metrics are at the lines of the nodes.
func (e *Exporter) compile(name string, m *moduleFile, where []yaml.Node) (*Module, error) {
	var list []rules.Rule
	for i := range m.Metrics {
		r, err := m.Metrics[i].rule()
		if err != nil {
			return nil, fmt.Errorf("line %d: modules.%s.metrics[%d] (%q): %w", where[i].Line, name, i, m.Metrics[i].Name, err)
		}
		// json_exporter finds out at each scrape that it cannot use a metric, and
		// serves the others.
		if _, err := rules.Compile([]rules.Rule{r}, rules.Language[tree.Value](exporterPath{})); err != nil {
			e.Warnings = append(e.Warnings, fmt.Sprintf("line %d: modules.%s.metrics[%d] (%q) gives nothing: %v", where[i].Line, name, i, r.Name, errors.Unwrap(err)))
			continue
		}
		list = append(list, r)
	}
	set, err := rules.Compile(list, rules.Language[tree.Value](exporterPath{}))
	if err != nil {
		return nil, fmt.Errorf("modules.%s.%w", name, err)
	}
	out := &Module{rules: set, body: m.Body.Content}
	if out.fetch, err = m.HTTPClientConfig.fetch(); err != nil {
		return nil, fmt.Errorf("modules.%s.http_client_config.%w", name, err)
	}
	if out.fetch.Header == nil {
		out.fetch.Header = make(http.Header)
	}
	for key, value := range m.Headers {
		out.fetch.Header.Add(key, value)
	}
	if out.fetch.Header.Get("Accept") == "" {
		out.fetch.Header.Set("Accept", "application/json")
	}
	out.fetch.Valid = m.ValidStatusCodes
	if m.Body.Templatize && m.Body.Content != "" {
		if out.tmpl, err = body.Parse(m.Body.Content); err != nil {
			return nil, fmt.Errorf("modules.%s.body.content: %w", name, err)
		}
	}
	return out, nil
}

// rule is the metric as a rule.
func (m *metricFile) rule() (rules.Rule, error) {
	if m.Path == "" {
		return rules.Rule{}, errors.New("path: is missing")
	}
	r := rules.Rule{Name: m.Name, Help: m.Help, Type: dto.MetricType_UNTYPED, Labels: m.Labels, Timestamp: m.EpochTimestamp}
	if r.Help == "" {
		r.Help = r.Name
	}
	switch m.ValueType {
	case "gauge":
		r.Type = dto.MetricType_GAUGE
	case "counter":
		r.Type = dto.MetricType_COUNTER
	}
	switch m.Type {
	case "", "value":
		r.Value = m.Path
	case "object":
		r.Each, r.Values = m.Path, m.Values
	default:
		return r, fmt.Errorf("type: unknown metric type %q; use value or object", m.Type)
	}
	return r, nil
}
