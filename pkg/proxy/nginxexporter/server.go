// Package nginxexporter is a process that does what nginx-prometheus-exporter
// does: it shows what nginx' module stub_status tells.
package nginxexporter

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/dragoman-mesh/dragoman/pkg/exit"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/filters/metrics"
	"github.com/dragoman-mesh/dragoman/pkg/proxy/exporter"
	"github.com/dragoman-mesh/dragoman/pkg/proxy/pages"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// Options are those of a process.
type Options struct {
	Listen []string // "host:port", or "unix:" and a path
	Path   string   // under which metrics are
	// URIs of nginx' pages. With several, the series of each have the label addr.
	URIs    []string
	Timeout time.Duration
	TLS     *resource.MetricsTLS // nil: as the system trusts
	Labels  map[string]string    // of all series
	// NginxOnly leaves out what is told of the exporter itself.
	NginxOnly bool
	Version   string
	Log       *slog.Logger
}

// Server is the process.
type Server struct {
	// read-only after construction
	log       *slog.Logger
	builder   *metrics.Builder
	filter    filters.HTTP
	listeners []net.Listener
}

// shutdownTime bounds the end of scrapes that run.
const shutdownTime = 5 * time.Second

// Listen binds where metrics are shown. Whether nginx is there is not looked at.
func Listen(ctx context.Context, o Options) (*Server, error) {
	s := &Server{log: o.Log, builder: metrics.NewBuilder(o.Log)}
	told, err := about(&o)
	if err != nil {
		return nil, err
	}
	filter, err := s.builder.BuildHTTP(config(&o), filters.Context{Listener: "nginx-exporter", Metrics: told})
	if err != nil {
		return nil, exit.Usage(err)
	}
	s.filter = filter
	for _, address := range o.Listen {
		l, err := listen(ctx, address)
		if err != nil {
			s.close()
			return nil, exit.Temporary(fmt.Errorf("listening on %s: %w", address, err))
		}
		s.listeners = append(s.listeners, l)
	}
	return s, nil
}

func listen(ctx context.Context, address string) (net.Listener, error) {
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		if info, err := os.Lstat(path); err == nil && info.Mode()&os.ModeSocket != 0 {
			_ = os.Remove(path) // as the exporter does; binding says what is wrong
		}
		return new(net.ListenConfig).Listen(ctx, "unix", path)
	}
	return new(net.ListenConfig).Listen(ctx, "tcp", address)
}

// config is the adapter that the options are.
func config(o *Options) *resource.MetricsFilter {
	f := &resource.MetricsFilter{
		Path: o.Path, SeriesPerSource: resource.DefaultSeriesPerSource, BytesPerSource: resource.DefaultBytesPerSource, ExcludeProxy: o.NginxOnly,
	}
	for i, uri := range o.URIs {
		name, labels := "nginx", o.Labels
		if len(o.URIs) > 1 {
			name = fmt.Sprintf("nginx-%d", i)
			labels = map[string]string{"addr": uri}
			maps.Copy(labels, o.Labels)
		}
		f.Sources = append(f.Sources, resource.MetricsSource{
			Name: name, Labels: labels,
			Kind: &resource.NginxStubStatusSource{MetricsFetch: resource.MetricsFetch{URI: uri, Timeout: o.Timeout, TLS: o.TLS}},
		})
	}
	return f
}

// about has what both lines of the exporter tell of themselves, 0.x and 1.x. It
// never changes, and a registry would take more time for it than all else that a
// scrape does here.
func about(o *Options) (prometheus.Gatherer, error) {
	r := prometheus.NewRegistry()
	info := func(name string, labels prometheus.Labels) {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: "Exporter build information", ConstLabels: labels})
		g.Set(1)
		r.MustRegister(g)
	}
	info("nginxexporter_build_info", prometheus.Labels{"gitCommit": "", "version": o.Version})
	info("nginx_exporter_build_info", prometheus.Labels{
		"branch": "", "goarch": runtime.GOARCH, "goos": runtime.GOOS, "goversion": runtime.Version(), "revision": "", "tags": "dragoman", "version": o.Version,
	})
	families, err := r.Gather()
	if err != nil {
		return nil, fmt.Errorf("describing the exporter: %w", err)
	}
	return prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) { return families, nil }), nil
}

// Addresses are where the server listens.
func (s *Server) Addresses() []net.Addr {
	out := make([]net.Addr, len(s.listeners))
	for i, l := range s.listeners {
		out[i] = l.Addr()
	}
	return out
}

// Run answers until ctx is done, and then what runs.
func (s *Server) Run(ctx context.Context) error {
	defer s.close()
	pages.Release(s.log) // of the start
	return exporter.Serve(ctx, s.listeners, s.filter.Handler(nil), s.log)
}

func (s *Server) close() {
	for _, l := range s.listeners {
		_ = l.Close() // it may be closed already
	}
	s.filter.Close()
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTime)
	defer cancel()
	if err := s.builder.Drain(ctx); err != nil {
		s.log.Warn("ending", "error", err)
	}
}
