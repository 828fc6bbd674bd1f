// Package jolokia makes metrics of the MBeans of a JVM, which Jolokia's agent
// shows as JSON. All that is wanted is asked for with one bulk request.
package jolokia

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	dto "github.com/prometheus/client_model/go"

	"github.com/dragoman-mesh/dragoman/pkg/metrics"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/families"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/fetch"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/json/tree"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// New makes a source.
func New(cfg *resource.JolokiaSource, env metrics.Env) (*fetch.Source, error) {
	p, err := NewParser(!cfg.ExcludeJVM, cfg.Beans)
	if err != nil {
		return nil, err
	}
	header := http.Header{"Content-Type": {"application/json"}, "Accept": {"application/json"}}
	return fetch.NewSource(&cfg.MetricsFetch, env, fetch.Config{Header: header}, p.Parse).Posting(p.request), nil
}

// Parser knows what is asked for, and makes metrics of the answer. It is
// read-only.
type Parser struct {
	request []byte
	readers []reader // one per request of the bulk, in its order
}

// reader takes what one request of the bulk got.
type reader struct {
	name     objectName
	optional bool // not every JVM has it
	read     func(b *families.Builder, found objectName, attributes tree.Value)
}

// request is one of the bulk, as Jolokia's protocol has it.
type request struct {
	Type      string          `json:"type"`
	MBean     string          `json:"mbean"`
	Attribute []string        `json:"attribute,omitempty"`
	Config    map[string]bool `json:"config"`
}

// NewParser checks what beans are wanted besides those that every JVM has.
func NewParser(jvm bool, beans []resource.JolokiaBean) (*Parser, error) {
	p := &Parser{}
	var bulk []request
	add := func(mbean string, attributes []string, optional bool, read func(*families.Builder, objectName, tree.Value)) error {
		name, err := parseName(mbean)
		if err != nil {
			return err
		}
		// An attribute that cannot be read must not cost the others of its bean.
		bulk = append(bulk, request{Type: "read", MBean: mbean, Attribute: attributes, Config: map[string]bool{"ignoreErrors": true}})
		p.readers = append(p.readers, reader{name: name, optional: optional, read: read})
		return nil
	}
	if jvm {
		for _, t := range table() {
			if err := add(t.mbean, t.attributes, t.optional, t.read); err != nil {
				return nil, err
			}
		}
	}
	for i := range beans {
		bean, err := compile(&beans[i])
		if err == nil {
			err = add(beans[i].MBean, beans[i].Attributes, false, bean.read)
		}
		if err != nil {
			return nil, fmt.Errorf("beans[%d]: %w", i, err)
		}
	}
	var err error
	p.request, err = json.Marshal(bulk)
	return p, err
}

// BeanError is a bean that the agent could not read.
type BeanError struct {
	MBean  string
	Status int // as in HTTP
	Text   string
}

func (e *BeanError) Error() string {
	return fmt.Sprintf("the agent cannot read %s: status %d %s", e.MBean, e.Status, e.Text)
}

// Lost implements families.Loss.
func (e *BeanError) Lost() (reason string, count int) { return "unreadable", 1 }

// Parse makes the families of the answer to the bulk; series bounds them, 0 is
// the default. An error with families says which beans could not be read.
func (p *Parser) Parse(page string, series int) ([]*dto.MetricFamily, error) {
	doc, err := tree.Parse(page, tree.Limits{})
	if err != nil {
		return nil, err
	}
	root := doc.Root()
	if root.Kind() == tree.Object { // one error for the whole bulk
		return nil, p.failed("the bulk request", root)
	}
	if root.Kind() != tree.Array || root.Len() != len(p.readers) {
		return nil, fmt.Errorf("the agent did not answer the %d requests of the bulk", len(p.readers))
	}
	b := &families.Builder{Limit: series}
	var errs []error
	i := 0
	for answer := range root.Children() {
		r := &p.readers[i]
		i++
		if status, _ := number(answer, "status"); status != http.StatusOK {
			if !r.optional || status != http.StatusNotFound {
				errs = append(errs, p.failed(r.name.text, answer))
			}
			continue
		}
		value, ok := answer.Field("value")
		if !ok || value.Kind() != tree.Object {
			errs = append(errs, &BeanError{MBean: r.name.text, Status: http.StatusOK, Text: "the value is no object"})
			continue
		}
		errs = append(errs, r.each(b, value)...)
	}
	out, err := b.Done()
	return out, errors.Join(errors.Join(errs...), err)
}

// each reads the bean, or every bean that the pattern found.
func (r *reader) each(b *families.Builder, value tree.Value) (errs []error) {
	if !r.name.pattern {
		r.read(b, r.name, value)
		return nil
	}
	for bean := range value.Children() {
		name, err := parseName(bean.Key())
		if err != nil || bean.Kind() != tree.Object {
			errs = append(errs, &BeanError{MBean: r.name.text, Status: http.StatusOK, Text: "the agent found what is no bean"})
			continue
		}
		r.read(b, name, bean)
	}
	return errs
}

func (p *Parser) failed(name string, answer tree.Value) error {
	e := &BeanError{MBean: name}
	if status, ok := number(answer, "status"); ok {
		e.Status = int(status)
	}
	if text, ok := answer.Field("error"); ok {
		const most = 200
		e.Text = text.Text()[:min(most, len(text.Text()))]
	}
	return e
}

// number is a field that is a number.
func number(v tree.Value, name string) (float64, bool) {
	if v.Kind() != tree.Object {
		return 0, false
	}
	f, ok := v.Field(name)
	if !ok {
		return 0, false
	}
	return float(f)
}

// float is a number, or a boolean as 1 or 0.
func float(v tree.Value) (float64, bool) {
	switch v.Kind() {
	case tree.Number:
		f, err := strconv.ParseFloat(v.Text(), 64)
		return f, err == nil
	case tree.True:
		return 1, true
	case tree.False:
		return 0, true
	}
	return 0, false
}
