package fetch

import (
	"context"
	"net/http"

	dto "github.com/prometheus/client_model/go"

	"github.com/dragoman-mesh/dragoman/pkg/metrics"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/families"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// Source makes metrics of a page that is fetched each time.
type Source struct {
	families.Ledger

	// read-only after construction
	page   *Page
	post   []byte // is asked with; nil: nothing
	parse  Parse
	series int
}

// Parse makes the families of a page; series bounds them, 0 is the default. An
// error with families says what could not be read.
type Parse func(page string, series int) ([]*dto.MetricFamily, error)

// NewSource makes a source. Nothing is asked of anybody.
func NewSource(f *resource.MetricsFetch, env metrics.Env, base Config, parse Parse) *Source {
	return &Source{page: Open(f, env, base), parse: parse, series: env.MaxSeries}
}

// Posting has the page asked for by POST.
func (s *Source) Posting(body []byte) *Source {
	s.post = body
	return s
}

// Gather implements metrics.Source.
func (s *Source) Gather(ctx context.Context) ([]*dto.MetricFamily, error) {
	method := http.MethodGet
	if s.post != nil {
		method = http.MethodPost
	}
	page, err := s.page.Do(ctx, method, s.post)
	if err != nil {
		return nil, err
	}
	out, err := s.parse(string(page), s.series)
	return out, s.Note(err)
}

// Close implements metrics.Source.
func (s *Source) Close() error { return s.page.Close() }
