package nginx

import (
	"context"

	dto "github.com/prometheus/client_model/go"

	"github.com/dragoman-mesh/dragoman/pkg/metrics"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/fetch"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// maxPage is the longest page that is read, in bytes: it has about 100.
const maxPage = 4096

// Source is one nginx.
type Source struct {
	page *fetch.Page

	up       family
	families []family
	duration family // Tengine's
}

// family is one with a single series.
type family struct {
	of    func(*Status) float64
	value *float64
	dto   *dto.MetricFamily
}

func newFamily(name, help string, t dto.MetricType, of func(*Status) float64) family {
	f := family{of: of, value: new(float64), dto: &dto.MetricFamily{Name: &name, Help: &help, Type: &t}}
	m := &dto.Metric{}
	if t == dto.MetricType_COUNTER {
		m.Counter = &dto.Counter{Value: f.value}
	} else {
		m.Gauge = &dto.Gauge{Value: f.value}
	}
	f.dto.Metric = []*dto.Metric{m}
	return f
}

// New makes a source. The families are those of nginx-prometheus-exporter.
func New(cfg *resource.NginxStubStatusSource, env metrics.Env) (*Source, error) {
	env.MaxBytes = maxPage
	const counter, gauge = dto.MetricType_COUNTER, dto.MetricType_GAUGE
	return &Source{
		page: fetch.Open(&cfg.MetricsFetch, env, fetch.Config{Small: true}),
		up:   newFamily("nginx_up", "Status of the last metric scrape", gauge, nil),
		families: []family{
			newFamily("nginx_connections_accepted", "Accepted client connections", counter, func(s *Status) float64 { return float64(s.Accepted) }),
			newFamily("nginx_connections_active", "Active client connections", gauge, func(s *Status) float64 { return float64(s.Active) }),
			newFamily("nginx_connections_handled", "Handled client connections", counter, func(s *Status) float64 { return float64(s.Handled) }),
			newFamily("nginx_connections_reading", "Connections where NGINX is reading the request header", gauge,
				func(s *Status) float64 { return float64(s.Reading) }),
			newFamily("nginx_connections_waiting", "Idle client connections", gauge, func(s *Status) float64 { return float64(s.Waiting) }),
			newFamily("nginx_connections_writing", "Connections where NGINX is writing the response back to the client", gauge,
				func(s *Status) float64 { return float64(s.Writing) }),
			newFamily("nginx_http_requests_total", "Total http requests", counter, func(s *Status) float64 { return float64(s.Requests) }),
		},
		duration: newFamily("nginx_http_request_duration_seconds_total", "Total time of http requests, as Tengine counts it", counter,
			func(s *Status) float64 { return float64(s.RequestTime) / 1000 }),
	}, nil
}

// Gather implements metrics.Source. While nginx is down there is nginx_up alone.
func (s *Source) Gather(ctx context.Context) ([]*dto.MetricFamily, error) {
	status, err := s.status(ctx)
	if err != nil {
		*s.up.value = 0
		return []*dto.MetricFamily{s.up.dto}, err
	}
	*s.up.value = 1
	out := make([]*dto.MetricFamily, 0, len(s.families)+2)
	for _, f := range s.families {
		*f.value = f.of(&status)
		out = append(out, f.dto)
	}
	if status.HasRequestTime {
		*s.duration.value = s.duration.of(&status)
		out = append(out, s.duration.dto)
	}
	return append(out, s.up.dto), nil
}

// Prompt implements metrics.Prompt: it waits for a short page, and for nothing
// else.
func (s *Source) Prompt() {}

func (s *Source) status(ctx context.Context) (Status, error) {
	page, err := s.page.Get(ctx)
	if err != nil {
		return Status{}, err
	}
	return Parse(page)
}

// Close implements metrics.Source.
func (s *Source) Close() error { return s.page.Close() }
