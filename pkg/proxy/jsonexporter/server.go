// Package jsonexporter answers as json_exporter does: /probe fetches a JSON
// document and makes metrics of it, as a module of a configuration file says.
package jsonexporter

import (
	"context"
	"errors"
	"fmt"
	"html"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/dragoman-mesh/dragoman/pkg/exit"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/expose"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/families"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/fetch"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/json"
	"github.com/dragoman-mesh/dragoman/pkg/proxy/exporter"
)

// Times of a server.
const (
	// probeTime bounds a probe whose asker doesn't say how long it waits; margin is
	// what is left of the time of one who does, so that the answer arrives.
	probeTime = 2 * time.Minute
	margin    = 200 * time.Millisecond
)

// maxProbes run at once; others wait.
const maxProbes = 16

// Options are what a server is made of.
type Options struct {
	Config *json.Exporter
	Listen []string // addresses of TCP
	Path   string   // of the process' own metrics
	Log    *slog.Logger
}

// Server is the process.
type Server struct {
	// read-only after construction
	options   Options
	clients   map[string]*fetch.Client // by module
	listeners []net.Listener
	registry  *prometheus.Registry
	probes    *prometheus.CounterVec
	losses    *prometheus.CounterVec
	writer    *expose.Writer
	room      chan struct{}
}

// Listen binds the addresses.
func Listen(ctx context.Context, o Options) (*Server, error) {
	s := &Server{
		options: o, clients: make(map[string]*fetch.Client), registry: prometheus.NewRegistry(), writer: expose.NewWriter(),
		room: make(chan struct{}, maxProbes),
		probes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "dragoman_json_exporter_probes_total", Help: "Probes by module and by what came of them: ok, partial (some metrics could not be read), error.",
		}, []string{"module", "result"}),
		losses: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "dragoman_json_exporter_lost_series_total", Help: "Series that were left out of answers, by module and reason.",
		}, []string{"module", "reason"}),
	}
	s.registry.MustRegister(s.probes, s.losses, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, name := range o.Config.Modules() {
		s.clients[name] = o.Config.Module(name).Client(probeTime, 0)
	}
	for _, address := range o.Listen {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
		if err != nil {
			s.close()
			return nil, exit.Temporary(fmt.Errorf("listening: %w", err))
		}
		s.listeners = append(s.listeners, l)
	}
	return s, nil
}

func (s *Server) close() {
	for _, l := range s.listeners {
		_ = l.Close() // it may be closed already
	}
	for _, c := range s.clients {
		c.Close()
	}
}

// Addresses are where HTTP is answered.
func (s *Server) Addresses() []net.Addr {
	var out []net.Addr
	for _, l := range s.listeners {
		out = append(out, l.Addr())
	}
	return out
}

// Run serves until ctx is done.
func (s *Server) Run(ctx context.Context) error {
	defer s.close()
	return exporter.Serve(ctx, s.listeners, s.Handler(), s.options.Log)
}

// Handler has json_exporter's paths.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/probe", s.probe)
	mux.HandleFunc(s.options.Path, func(w http.ResponseWriter, r *http.Request) {
		list, err := s.registry.Gather()
		if err != nil {
			s.options.Log.Warn("gathering our own metrics", "error", err)
		}
		s.show(w, r, list)
	})
	if s.options.Path != "/" {
		mux.HandleFunc("/", s.landing)
	}
	return mux
}

func (s *Server) landing(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/" {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=UTF-8")
	path := html.EscapeString(s.options.Path)
	_, _ = fmt.Fprintf(w, "<html><head><title>JSON Exporter</title></head><body><h1>JSON Exporter</h1>"+
		"<p>Prometheus Exporter for converting json to metrics</p><p><a href=%q>Metrics</a></p></body></html>\n", path) // who asked may be gone
}

// probe answers as json_exporter does, but for documents that give the same
// series twice: those keep the first, and the others count as lost.
func (s *Server) probe(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	name, target := query.Get("module"), query.Get("target")
	if name == "" {
		name = "default"
	}
	module := s.options.Config.Module(name)
	switch {
	case module == nil:
		http.Error(w, fmt.Sprintf("Unknown module %q", name), http.StatusBadRequest)
		return
	case target == "":
		http.Error(w, "Target parameter is missing", http.StatusBadRequest)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), patience(r))
	defer cancel()
	select {
	case s.room <- struct{}{}:
		defer func() { <-s.room }()
	case <-ctx.Done():
		s.failed(w, name, target, errors.New("too many probes at once"))
		return
	}
	list, err := module.Probe(ctx, s.clients[name], json.Target{URI: target, Query: query}, json.Limits{})
	if list == nil {
		s.failed(w, name, target, err)
		return
	}
	s.count(name, families.Unique(list), err)
	s.show(w, r, list)
}

// patience is how long whoever asks waits for the answer.
func patience(r *http.Request) time.Duration {
	seconds, err := strconv.ParseFloat(r.Header.Get("X-Prometheus-Scrape-Timeout-Seconds"), 64)
	if err != nil || seconds <= 0 || seconds > probeTime.Seconds() {
		return probeTime
	}
	whole := time.Duration(seconds * float64(time.Second))
	return max(whole-margin, whole/2)
}

func (s *Server) failed(w http.ResponseWriter, module, target string, err error) {
	s.probes.WithLabelValues(module, "error").Inc()
	host := "?" // the rest of a URL may be secret
	if u, err := url.Parse(target); err == nil {
		host = u.Host
	}
	s.options.Log.Warn("a probe has failed", "module", module, "target", host, "error", err)
	http.Error(w, "Failed to fetch JSON response. TARGET: "+target+", ERROR: "+err.Error(), http.StatusServiceUnavailable)
}

// count notes what of a document could not be shown.
func (s *Server) count(module string, double int, err error) {
	var ledger families.Ledger
	ledger.Add("duplicate", uint64(double))
	_ = ledger.Note(err) // it is only looked at
	for reason, n := range ledger.Losses() {
		s.losses.WithLabelValues(module, reason).Add(float64(n))
	}
	if err != nil {
		s.probes.WithLabelValues(module, "partial").Inc()
		s.options.Log.Warn("some metrics could not be read", "module", module, "error", err)
		return
	}
	s.probes.WithLabelValues(module, "ok").Inc()
}

func (s *Server) show(w http.ResponseWriter, r *http.Request, list []*dto.MetricFamily) {
	page, err := s.writer.Page(r.Header, list)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer page.Release()
	w.Header().Set("Content-Type", page.ContentType)
	if page.Encoding != "" {
		w.Header().Set("Content-Encoding", page.Encoding)
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(page.Body)))
	_, _ = w.Write(page.Body) //nolint:gosec // who asked may be gone; it is an exposition and no HTML
}
