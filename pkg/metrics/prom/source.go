package prom

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strings"
	"sync/atomic"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"google.golang.org/protobuf/encoding/protodelim"

	"github.com/dragoman-mesh/dragoman/pkg/metrics"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/fetch"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// accept asks for protobuf first, which has all that there is to have, and for
// the text format last.
const accept = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.8," +
	"application/openmetrics-text;version=1.0.0;q=0.7,application/openmetrics-text;version=0.0.1;q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"

// Errors of answers.
var (
	ErrNoMetrics = errors.New("the answer holds no metrics")
	ErrCutOff    = errors.New("the answer does not end with # EOF, as OpenMetrics does: a part of it may be missing")
)

// Source is one exporter.
type Source struct {
	page  *fetch.Page
	limit int

	malformed atomic.Uint64
	past      atomic.Uint64
}

// New makes a source.
func New(cfg *resource.PrometheusSource, env metrics.Env) (*Source, error) {
	return &Source{
		page:  fetch.Open(&cfg.MetricsFetch, env, fetch.Config{Header: http.Header{"Accept": {accept}}}),
		limit: env.MaxSeries,
	}, nil
}

// Gather implements metrics.Source. Lines that are wrong are left out.
func (s *Source) Gather(ctx context.Context) ([]*dto.MetricFamily, error) {
	page, contentType, err := s.page.Typed(ctx)
	if err != nil {
		return nil, err
	}
	kind, _, _ := mime.ParseMediaType(contentType) // what is no type is text
	if kind == expfmt.ProtoType {
		return s.proto(page)
	}
	text := string(page)
	open := kind == expfmt.OpenMetricsType
	families, malformed, past := Parse(text, open, s.limit)
	s.malformed.Add(uint64(malformed))
	s.past.Add(uint64(past))
	if len(families) == 0 && strings.TrimSpace(text) != "" && malformed > 0 {
		return nil, ErrNoMetrics
	}
	if open && !strings.HasSuffix(strings.TrimRight(text, "\r\n"), "# EOF") {
		return families, ErrCutOff
	}
	return families, nil
}

// proto reads families one by one, and keeps those before one that is wrong.
func (s *Source) proto(page []byte) ([]*dto.MetricFamily, error) {
	in := bytes.NewReader(page)
	var out []*dto.MetricFamily
	series := 0
	for in.Len() > 0 {
		f := &dto.MetricFamily{}
		// No family is longer than the rest of the page: as much memory as one claims
		// to need is taken at once.
		if err := (protodelim.UnmarshalOptions{MaxSize: int64(in.Len())}).UnmarshalFrom(in, f); err != nil {
			s.malformed.Add(1)
			return out, fmt.Errorf("reading protobuf: %w", err)
		}
		if room := s.limit - series; len(f.GetMetric()) > room {
			s.past.Add(uint64(len(f.GetMetric()) - room))
			f.Metric = f.GetMetric()[:room]
		}
		series += len(f.GetMetric())
		out = append(out, f)
	}
	return out, nil
}

// Losses implements metrics.Accountant.
func (s *Source) Losses() map[string]uint64 {
	out := map[string]uint64{}
	if n := s.malformed.Load(); n > 0 {
		out["malformed"] = n
	}
	if n := s.past.Load(); n > 0 {
		out["series_limit"] = n
	}
	return out
}

// Close implements metrics.Source.
func (s *Source) Close() error { return s.page.Close() }
