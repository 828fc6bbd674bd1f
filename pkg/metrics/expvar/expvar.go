// Package expvar makes metrics of the page of Go's package expvar. Its memstats
// get the names that Prometheus' Go client gives them.
package expvar

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	dto "github.com/prometheus/client_model/go"

	"github.com/dragoman-mesh/dragoman/pkg/metrics"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/families"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/fetch"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/json/tree"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// maxLevels bounds how deep maps in maps become labels.
const maxLevels = 8

// New makes a source.
func New(cfg *resource.ExpvarSource, env metrics.Env) (*fetch.Source, error) {
	return fetch.NewSource(&cfg.MetricsFetch, env, fetch.Config{}, Parse), nil
}

// Parse makes the families of a page; series bounds them, 0 is the default.
func Parse(page string, series int) ([]*dto.MetricFamily, error) {
	doc, err := tree.Parse(page, tree.Limits{})
	if err != nil {
		return nil, err
	}
	if doc.Root().Kind() != tree.Object {
		return nil, errors.New("the page is no object of variables")
	}
	b := &families.Builder{Limit: series}
	for v := range doc.Root().Children() {
		switch v.Key() {
		case "cmdline": // texts, and maybe secrets among them
		case "memstats":
			memstats(b, v)
		default:
			variable(b, families.Name(v.Key()), v, nil)
		}
	}
	return b.Done()
}

// variable adds what is a number. The keys of a map, and of maps in it, are
// labels: key, key_2 and so on. Texts and lists are no metrics.
func variable(b *families.Builder, name string, v tree.Value, labels []string) {
	switch v.Kind() {
	case tree.Number:
		if f, err := strconv.ParseFloat(v.Text(), 64); err == nil {
			b.Gauge(name, "Variable of the app's expvar page.", f, labels...)
		}
	case tree.True:
		b.Gauge(name, "Variable of the app's expvar page.", 1, labels...)
	case tree.False:
		b.Gauge(name, "Variable of the app's expvar page.", 0, labels...)
	case tree.Object:
		level := len(labels)/2 + 1
		if level > maxLevels {
			return
		}
		key := "key"
		if level > 1 {
			key += "_" + strconv.Itoa(level)
		}
		for c := range v.Children() {
			variable(b, name, c, append(slices.Clip(labels), key, strings.Clone(c.Key())))
		}
	}
}
