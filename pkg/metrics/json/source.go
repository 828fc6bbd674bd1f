// Package json makes metrics of JSON documents: by json_exporter's configuration
// file as it is, by rules with JSONPath, or by programs of jq. A document is read
// once, and rules are compiled once.
package json

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/dragoman-mesh/dragoman/pkg/metrics"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/families"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/fetch"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/json/tree"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/rules"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// maxConfig bounds a configuration file, in bytes.
const maxConfig = 4 << 20

// Source is a JSON document that is fetched.
type Source struct {
	families.Ledger

	cfg    *resource.JSONSource
	env    metrics.Env
	page   *fetch.Page
	module *Module  // of the file
	set    *RuleSet // or the rules

	// Gather's own.
	modified time.Time
	size     int64
	warnings error
}

// New checks a configuration, and reads its file.
func New(cfg *resource.JSONSource, env metrics.Env) (*Source, error) {
	s := &Source{cfg: cfg, env: env}
	if cfg.ConfigFile != "" {
		return s, s.reload()
	}
	var list []Rule
	for i := range cfg.Extract {
		r := Rule{Rule: rules.Of(&cfg.Extract[i]), JQ: cfg.Extract[i].Query}
		if r.JQ == "" && r.Value == "" {
			r.Value = "{@}"
		}
		list = append(list, r)
	}
	var err error
	if s.set, err = CompileRules(list); err != nil {
		return nil, err
	}
	s.page = fetch.Open(&cfg.MetricsFetch, env, fetch.Config{Header: http.Header{"Accept": {"application/json"}}})
	return s, nil
}

// reload reads the configuration file if it is another than before.
func (s *Source) reload() error {
	info, err := os.Stat(s.cfg.ConfigFile)
	if err != nil {
		return fmt.Errorf("configFile: %w", err)
	}
	if info.ModTime().Equal(s.modified) && info.Size() == s.size {
		return nil
	}
	file, err := LoadExporter(s.cfg.ConfigFile)
	if err != nil {
		return fmt.Errorf("configFile: %w", err)
	}
	module, err := file.Need(s.cfg.Module)
	if err != nil {
		return fmt.Errorf("module: %s: %w", s.cfg.ConfigFile, err)
	}
	if s.page != nil {
		_ = s.page.Close() // it only lets idle connections go
	}
	var warnings []error
	for _, w := range file.Warnings {
		warnings = append(warnings, errors.New(w))
	}
	s.module, s.warnings = module, errors.Join(warnings...)
	s.page = fetch.Open(&s.cfg.MetricsFetch, s.env, module.fetch)
	s.modified, s.size = info.ModTime(), info.Size()
	return nil
}

// LoadExporter reads a configuration file of json_exporter.
func LoadExporter(name string) (*Exporter, error) { return load(name, fetch.ReadFile) }

// LoadExporterOnce is LoadExporter for a file that may be a pipe.
func LoadExporterOnce(name string) (*Exporter, error) { return load(name, fetch.ReadOnce) }

func load(name string, by func(name string, limit int64) ([]byte, error)) (*Exporter, error) {
	data, err := by(name, maxConfig)
	if err != nil {
		return nil, err
	}
	e, err := ParseExporter(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return e, nil
}

// Gather implements metrics.Source. A file that changed and is wrong now leaves
// the rules that were, and is told; so is what of a file has no effect.
func (s *Source) Gather(ctx context.Context) ([]*dto.MetricFamily, error) {
	limits := Limits{Series: s.env.MaxSeries}
	if s.cfg.ConfigFile != "" {
		stale := s.reload()
		method, content, err := s.module.request(Target{})
		if err != nil {
			return nil, err
		}
		page, err := s.page.Do(ctx, method, []byte(content))
		if err != nil {
			return nil, err
		}
		out, err := s.module.Read(string(page), limits)
		return out, s.Note(errors.Join(stale, s.warnings, err))
	}
	page, err := s.page.Get(ctx)
	if err != nil {
		return nil, err
	}
	doc, err := tree.Parse(string(page), limits.Document)
	if err != nil {
		return nil, err
	}
	b := &families.Builder{Limit: limits.Series}
	problems := s.set.Run(ctx, doc.Root(), b)
	out, err := b.Done()
	return out, s.Note(errors.Join(problems, err))
}

// Close implements metrics.Source.
func (s *Source) Close() error { return s.page.Close() }

// Limits bound what a document may cost.
type Limits struct {
	Document tree.Limits
	Series   int // 0: families.DefaultLimit
}

// Target is what a module is asked to fetch.
type Target struct {
	URI   string
	Query url.Values // what templates of the body find
	Now   time.Time  // what they go by; zero: the clock's
}

// Client makes the client of a module.
func (m *Module) Client(timeout time.Duration, maxBytes int64) *fetch.Client {
	cfg := m.fetch
	cfg.Timeout, cfg.MaxBytes = timeout, maxBytes
	return fetch.New(cfg)
}

// request is the method and the body with which the module asks.
func (m *Module) request(t Target) (method, content string, err error) {
	if m.body == "" {
		return http.MethodGet, "", nil
	}
	if m.tmpl == nil {
		return http.MethodPost, m.body, nil
	}
	if t.Now.IsZero() {
		t.Now = time.Now()
	}
	if content, err = m.tmpl.Execute(t.Query, t.Now); err != nil {
		return "", "", fmt.Errorf("rendering the body: %w", err)
	}
	return http.MethodPost, content, nil
}

// Probe fetches a document with the module's client, and makes its metrics. An
// error with families says what the rules could not find.
func (m *Module) Probe(ctx context.Context, c *fetch.Client, t Target, limits Limits) ([]*dto.MetricFamily, error) {
	method, content, err := m.request(t)
	if err != nil {
		return nil, err
	}
	page, err := c.Do(ctx, method, t.URI, []byte(content))
	if err != nil {
		return nil, err
	}
	return m.Read(string(page), limits)
}

// Read makes the metrics of a document. They are not nil if the document is one.
func (m *Module) Read(page string, limits Limits) ([]*dto.MetricFamily, error) {
	doc, err := tree.Parse(page, limits.Document)
	if err != nil {
		return nil, err
	}
	b := &families.Builder{Limit: limits.Series}
	problems := m.rules.Run(doc.Root(), b)
	out, err := b.Done()
	return out, errors.Join(problems, err)
}
