// Package xml makes metrics of XML documents, by rules with a part of XPath.
package xml

import (
	"errors"

	dto "github.com/prometheus/client_model/go"

	"github.com/dragoman-mesh/dragoman/pkg/metrics"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/families"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/fetch"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/rules"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// New checks the rules and makes a source.
func New(cfg *resource.XMLSource, env metrics.Env) (*fetch.Source, error) {
	p, err := NewParser(cfg.Extract)
	if err != nil {
		return nil, err
	}
	return fetch.NewSource(&cfg.MetricsFetch, env, fetch.Config{}, p.Parse), nil
}

// Parser makes metrics of a document. It is read-only.
type Parser struct{ rules *rules.Set[node] }

// NewParser checks rules.
func NewParser(extract []resource.Extraction) (*Parser, error) {
	set, err := rules.Compile(rules.AllOf(extract), rules.Language[node](language{}))
	return &Parser{rules: set}, err
}

// Parse makes the families of a document; series bounds them, 0 is the default.
// An error with families says what could not be found.
func (p *Parser) Parse(page string, series int) ([]*dto.MetricFamily, error) {
	top, err := parse(page)
	if err != nil {
		return nil, err
	}
	b := &families.Builder{Limit: series}
	problems := p.rules.Run(node{element: top}, b)
	out, err := b.Done()
	return out, errors.Join(problems, err)
}

// language finds nodes by a path.
type language struct{}

// Each implements rules.Language.
func (language) Each(text string) (func(node, func(node)) error, error) {
	p, err := parsePath(text)
	if err != nil {
		return nil, err
	}
	return func(doc node, yield func(node)) error {
		found, err := p.find(doc)
		for _, n := range found {
			yield(n)
		}
		return err
	}, nil
}

// Value implements rules.Language.
func (l language) Value(text string) (rules.Template[node], error) {
	if text == "" {
		text = "."
	}
	return l.Label(text)
}

// Label implements rules.Language. The path begins at the element of the series,
// or at the element whose attribute the series is.
func (language) Label(text string) (rules.Template[node], error) {
	if text == "." {
		return own{}, nil
	}
	p, err := parsePath(text)
	return first{p}, err
}

// own is the text of the node itself.
type own struct{}

func (own) Constant() bool { return false }

func (own) Append(dst []byte, n node) ([]byte, error) { return append(dst, n.text()...), nil }

// first is the text of the first node that a path finds.
type first struct{ path *path }

func (first) Constant() bool { return false }

func (f first) Append(dst []byte, n node) ([]byte, error) {
	found, err := f.path.find(node{element: n.element})
	if err != nil {
		return dst, err
	}
	return append(dst, found[0].text()...), nil
}
