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

	"github.com/dragoman-mesh/dragoman/pkg/metrics/families"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/fetch"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/json/tree"
)

// DefaultModule is the module of a file that is used if none is named.
const DefaultModule = "default"

// maxConfig bounds a configuration file, in bytes.
const maxConfig = 4 << 20

// Config says where a document is, and how it becomes metrics: by a module of a
// file of json_exporter, or by rules.
type Config struct {
	URI   string
	Fetch fetch.Config // of rules; a module has its own, but for the limits

	ConfigFile string
	Module     string // "": DefaultModule
	Rules      []Rule

	Limits tree.Limits
	Series int // 0: families.DefaultLimit
}

// Source is a JSON document that is fetched.
type Source struct {
	cfg    Config
	client *fetch.Client
	module *Module  // of the file
	set    *RuleSet // or the rules

	// Gather's own.
	modified time.Time
	size     int64
	warnings error
}

// New checks a configuration, and reads its file.
func New(cfg Config) (*Source, error) {
	if err := checkURI(cfg.URI); err != nil {
		return nil, err
	}
	if cfg.Module == "" {
		cfg.Module = DefaultModule
	}
	s := &Source{cfg: cfg}
	if (cfg.ConfigFile != "") == (len(cfg.Rules) > 0) {
		return nil, errors.New("configFile: exactly one of configFile and rules is needed")
	}
	if cfg.ConfigFile != "" {
		return s, s.reload()
	}
	var err error
	if s.set, err = CompileRules(cfg.Rules); err != nil {
		return nil, err
	}
	if cfg.Fetch.Header.Get("Accept") == "" {
		cfg.Fetch.Header = cfg.Fetch.Header.Clone()
		if cfg.Fetch.Header == nil {
			cfg.Fetch.Header = make(http.Header)
		}
		cfg.Fetch.Header.Set("Accept", "application/json")
	}
	s.client = fetch.New(cfg.Fetch)
	return s, nil
}

func checkURI(uri string) error {
	u, err := url.Parse(uri)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return errors.New("uri: must be a URL of http or https")
	}
	return nil
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
		return err
	}
	module := file.Module(s.cfg.Module)
	if module == nil {
		return fmt.Errorf("module: %q is not in %s, which has %q", s.cfg.Module, s.cfg.ConfigFile, file.Modules())
	}
	if s.client != nil {
		s.client.Close()
	}
	var warnings []error
	for _, w := range file.Warnings {
		warnings = append(warnings, errors.New(w))
	}
	s.module, s.warnings = module, errors.Join(warnings...)
	s.client = module.Client(s.cfg.Fetch)
	s.modified, s.size = info.ModTime(), info.Size()
	return nil
}

// LoadExporter reads a configuration file of json_exporter.
func LoadExporter(name string) (*Exporter, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxConfig {
		return nil, fmt.Errorf("%s: more than %d bytes", name, maxConfig)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	e, err := ParseExporter(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return e, nil
}

// Warnings say what of the file has no effect; nil if all of it has.
func (s *Source) Warnings() error { return s.warnings }

// Gather implements metrics.Source. A file that changed and is wrong now leaves
// the rules that were, and is told.
func (s *Source) Gather(ctx context.Context) ([]*dto.MetricFamily, error) {
	var stale error
	if s.module != nil {
		stale = s.reload()
		out, err := s.module.Probe(ctx, s.client, Target{URI: s.cfg.URI}, s.cfg.Limits, s.cfg.Series)
		return out, errors.Join(stale, err)
	}
	page, err := s.client.Get(ctx, s.cfg.URI)
	if err != nil {
		return nil, err
	}
	doc, err := tree.Parse(string(page), s.cfg.Limits)
	if err != nil {
		return nil, err
	}
	b := &families.Builder{Limit: s.cfg.Series}
	problems := s.set.Run(ctx, doc.Root(), b)
	out, err := b.Done()
	return out, errors.Join(problems, err)
}

// Close implements metrics.Source.
func (s *Source) Close() error {
	s.client.Close()
	return nil
}

// Target is what a module is asked to fetch.
type Target struct {
	URI   string
	Query url.Values // what templates of the body find
	Now   time.Time  // what they go by; zero: the clock's
}

// Client makes the client of a module; limits and a default timeout are taken
// from cfg.
func (m *Module) Client(cfg fetch.Config) *fetch.Client {
	own := m.fetch
	own.Timeout, own.MaxBytes = cfg.Timeout, cfg.MaxBytes
	return fetch.New(own)
}

// Probe fetches a document with the module's client, and makes its metrics. An
// error with families says what the rules could not find.
func (m *Module) Probe(ctx context.Context, c *fetch.Client, t Target, limits tree.Limits, series int) ([]*dto.MetricFamily, error) {
	method, content := http.MethodGet, ""
	if m.body != "" {
		method, content = http.MethodPost, m.body
	}
	if m.tmpl != nil {
		if t.Now.IsZero() {
			t.Now = time.Now()
		}
		var err error
		if content, err = m.tmpl.Execute(t.Query, t.Now); err != nil {
			return nil, fmt.Errorf("rendering the body: %w", err)
		}
	}
	page, err := c.Do(ctx, method, t.URI, []byte(content))
	if err != nil {
		return nil, err
	}
	return m.Read(string(page), limits, series)
}

// Read makes the metrics of a document.
func (m *Module) Read(page string, limits tree.Limits, series int) ([]*dto.MetricFamily, error) {
	doc, err := tree.Parse(page, limits)
	if err != nil {
		return nil, err
	}
	b := &families.Builder{Limit: series}
	problems := m.rules.Run(doc.Root(), b)
	out, err := b.Done()
	return out, errors.Join(problems, err)
}
