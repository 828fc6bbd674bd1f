// Package statsdexporter is a process that does what Prometheus' statsd_exporter
// does: it takes lines of StatsD and shows them, and itself under the names of
// that program.
package statsdexporter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	dto "github.com/prometheus/client_model/go"

	"github.com/dragoman-mesh/dragoman/pkg/exit"
	"github.com/dragoman-mesh/dragoman/pkg/metrics"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/expose"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/sockets"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/statsd"
	"github.com/dragoman-mesh/dragoman/pkg/proxy/exporter"
)

// Options are those of a process.
type Options struct {
	Source statsd.Config
	Listen string // of HTTP, "host:port"
	Path   string // under which metrics are

	Lifecycle bool // /-/reload and /-/quit are answered
	Version   string
	Log       *slog.Logger
}

// Server is the process.
type Server struct {
	// read-only after construction
	options  Options
	log      *slog.Logger
	source   *statsd.Source
	listener net.Listener
	registry *prometheus.Registry // of the families about the process
	writer   *expose.Writer
	quit     chan struct{} // somebody asked for the end

	scraping          chan struct{} // held by the one scrape that runs
	reloaded, refused atomic.Uint64 // mappings
}

// Listen binds everything. The error of an address that is taken may pass.
func Listen(ctx context.Context, o Options) (*Server, error) {
	s := &Server{
		options: o, log: o.Log, registry: prometheus.NewRegistry(), writer: expose.NewWriter(),
		quit: make(chan struct{}, 1), scraping: make(chan struct{}, 1),
	}
	var err error
	if target := o.Source.Relay.Target; target != "" {
		if _, err := net.ResolveUDPAddr("udp", target); err != nil {
			return nil, exit.Usage(fmt.Errorf("relaying to %q: %w", target, err))
		}
	}
	if s.source, err = statsd.Open(o.Source, metrics.Env{Name: "statsd", Sockets: sockets.NewPool(), Log: s.log}); err != nil {
		return nil, exit.Temporary(err)
	}
	if s.listener, err = new(net.ListenConfig).Listen(ctx, "tcp", o.Listen); err != nil {
		return nil, exit.Temporary(errors.Join(err, s.close()))
	}
	for _, c := range []prometheus.Collector{
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), &about{s},
	} {
		if err := s.registry.Register(c); err != nil {
			return nil, errors.Join(err, s.close())
		}
	}
	return s, nil
}

func (s *Server) close() error { return s.source.Close() }

// Address is where HTTP is answered.
func (s *Server) Address() net.Addr { return s.listener.Addr() }

// Source is what takes the lines.
func (s *Server) Source() *statsd.Source { return s.source }

// Reload reads the mapping file again. If it is not sound, what runs stays.
func (s *Server) Reload() {
	if s.options.Source.MappingFile == "" {
		s.log.Warn("there is no mapping to read again: --statsd.mapping-config was not given")
		return
	}
	if err := s.source.Reload(); err != nil { // which logs it
		s.refused.Add(1)
		return
	}
	s.reloaded.Add(1)
}

// Run serves until ctx is done or somebody asks for the end.
func (s *Server) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// A page of the web, in a browser on this machine, could post here, too.
	handler := http.NewCrossOriginProtection().Handler(s.handler())
	served := make(chan error, 1)
	go func() { served <- exporter.Serve(ctx, []net.Listener{s.listener}, handler, s.log) }()
	select {
	case <-ctx.Done():
	case <-s.quit:
		cancel()
	case err := <-served:
		return errors.Join(err, s.close())
	}
	return errors.Join(<-served, s.close())
}

func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+s.options.Path, s.metrics)
	if s.options.Path != "/" {
		mux.HandleFunc("GET /{$}", s.landing)
	}
	mux.HandleFunc("GET /-/healthy", say("Statsd Exporter is Healthy.\n"))
	mux.HandleFunc("GET /-/ready", say("Statsd Exporter is Ready.\n"))
	if !s.options.Lifecycle {
		return mux
	}
	for _, method := range []string{http.MethodPut, http.MethodPost} {
		mux.HandleFunc(method+" /-/reload", func(w http.ResponseWriter, r *http.Request) {
			say("Requesting reload")(w, r)
			s.Reload()
		})
		mux.HandleFunc(method+" /-/quit", func(w http.ResponseWriter, r *http.Request) {
			say("Requesting termination... Goodbye!")(w, r)
			select {
			case s.quit <- struct{}{}:
			default: // asked already
			}
		})
	}
	return mux
}

func say(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) } // the client may be gone
}

func (s *Server) landing(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=UTF-8")
	fmt.Fprintf(w, "<html><head><title>StatsD Exporter</title></head><body><h1>StatsD Exporter</h1><p><a href=%q>Metrics</a></p></body></html>\n", s.options.Path)
}

// metrics answers a scrape; the source answers one at a time.
func (s *Server) metrics(w http.ResponseWriter, r *http.Request) {
	select {
	case s.scraping <- struct{}{}:
	case <-r.Context().Done():
		return
	}
	families, err := s.families(r.Context())
	if err != nil {
		s.log.Warn("a part of the metrics is missing", "error", err)
	}
	page, err := s.writer.Page(r.Header, families)
	<-s.scraping
	if err != nil {
		http.Error(w, "encoding: "+err.Error(), http.StatusInternalServerError)
		return
	}
	defer page.Release()
	h := w.Header()
	h.Set("Content-Type", page.ContentType)
	if page.Encoding != "" {
		h.Set("Content-Encoding", page.Encoding)
	}
	_, _ = w.Write(page.Body) //nolint:gosec // no HTML; and the scraper may be gone
}

// families are the app's and those about the process, by name. What the app
// calls as the process calls its own stays away.
func (s *Server) families(ctx context.Context) ([]*dto.MetricFamily, error) {
	app, err := s.source.Gather(ctx)
	own, other := s.registry.Gather()
	all := slices.Concat(own, app)
	slices.SortStableFunc(all, func(a, b *dto.MetricFamily) int { return strings.Compare(a.GetName(), b.GetName()) })
	all = slices.CompactFunc(all, func(a, b *dto.MetricFamily) bool { return a.GetName() == b.GetName() })
	return all, errors.Join(err, other)
}
