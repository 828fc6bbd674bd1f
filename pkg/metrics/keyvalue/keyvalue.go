// Package keyvalue makes metrics of texts with a key and a value in each line.
package keyvalue

import (
	"errors"
	"fmt"
	"strings"

	dto "github.com/prometheus/client_model/go"

	"github.com/dragoman-mesh/dragoman/pkg/metrics"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/families"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/fetch"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/rules"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// maxLine bounds a line, in bytes.
const maxLine = 64 << 10

// New checks the rules and makes a source.
func New(cfg *resource.KeyValueSource, env metrics.Env) (*fetch.Source, error) {
	p, err := NewParser(cfg.Separator, cfg.Extract)
	if err != nil {
		return nil, err
	}
	return fetch.NewSource(&cfg.MetricsFetch, env, fetch.Config{}, p.Parse), nil
}

// Parser makes metrics of a text. It is read-only.
type Parser struct {
	separator string
	rules     *rules.Set[entry] // nil: every key with a number
}

// NewParser checks rules. The separator "" is =, : or white space, whichever
// comes first.
func NewParser(separator string, extract []resource.Extraction) (*Parser, error) {
	p := &Parser{separator: separator}
	if len(extract) == 0 {
		return p, nil
	}
	for i := range extract {
		if extract[i].Value != "" {
			return nil, fmt.Errorf("extract[%d].value: a key has but one value; remove it", i)
		}
	}
	var err error
	p.rules, err = rules.Compile(rules.AllOf(extract), rules.Language[entry](language{}))
	return p, err
}

// Parse makes the families of a text; series bounds them, 0 is the default. An
// error with families says what could not be read.
func (p *Parser) Parse(text string, series int) ([]*dto.MetricFamily, error) {
	t := &table{values: make(map[string]string)}
	odd := p.read(text, t)
	b := &families.Builder{Limit: series}
	var problems error
	if p.rules != nil {
		problems = p.rules.Run(entry{table: t}, b)
	} else {
		for _, key := range t.keys {
			if v, err := rules.Number(t.values[key], nil); err == nil {
				b.Gauge(families.Name(key), "", v)
			}
		}
	}
	out, err := b.Done()
	if len(t.keys) == 0 && odd > 0 {
		return nil, errors.New("the text has no line with a key and a value")
	}
	return out, errors.Join(problems, err)
}

// table is a text, read.
type table struct {
	keys   []string // in order
	values map[string]string
}

// read fills the table, and counts lines that have no key and value.
func (p *Parser) read(text string, t *table) (odd int) {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		key, value, ok := p.split(line)
		if !ok || len(line) > maxLine {
			odd++
			continue
		}
		if _, seen := t.values[key]; !seen {
			t.keys = append(t.keys, key)
		}
		t.values[key] = value
	}
	return odd
}

func (p *Parser) split(line string) (key, value string, ok bool) {
	if p.separator != "" {
		key, value, ok = strings.Cut(line, p.separator)
	} else if i := strings.IndexAny(line, "=: \t"); i > 0 {
		// White space around the sign belongs to it.
		rest := strings.TrimLeft(line[i:], " \t")
		if rest[0] == '=' || rest[0] == ':' {
			rest = rest[1:]
		}
		key, value, ok = line[:i], rest, true
	}
	key, value = strings.TrimSpace(key), strings.TrimSpace(value)
	if n := len(value); n >= 2 && value[0] == '"' && value[n-1] == '"' {
		value = value[1 : n-1]
	}
	return key, value, ok && key != ""
}

// entry is a key of a table, with what a star stood for.
type entry struct {
	table *table
	key   string
	star  string
}

// language finds keys by a pattern with a star, which a label may name as *.
type language struct{ rules.Names[entry] }

// Each implements rules.Language.
func (language) Each(pattern string) (func(entry, func(entry)) error, error) {
	wanted, ok := rules.ParsePattern(pattern)
	if !ok {
		return nil, errors.New("at most one * may be in a key")
	}
	return func(doc entry, yield func(entry)) error {
		if !wanted.Starred() {
			if _, ok := doc.table.values[pattern]; !ok {
				return fmt.Errorf("the key %q is %w", pattern, rules.ErrNotFound)
			}
			yield(entry{table: doc.table, key: pattern})
			return nil
		}
		for _, key := range doc.table.keys {
			if star, ok := wanted.Match(key); ok {
				yield(entry{table: doc.table, key: key, star: star})
			}
		}
		return nil
	}, nil
}

// Text implements rules.Named.
func (e entry) Text() (string, error) { return e.table.values[e.key], nil }

// Star implements rules.Named.
func (e entry) Star() string { return e.star }

// Beside implements rules.Named: it is another key's.
func (e entry) Beside(key string) (string, error) {
	v, ok := e.table.values[key]
	if !ok {
		return "", fmt.Errorf("the key %q is %w", key, rules.ErrNotFound)
	}
	return v, nil
}
