package admin

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

func plain(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte(text)) // the client is gone otherwise
}

func ok(w http.ResponseWriter) { plain(w, "OK\n") }

func writeJSON(w http.ResponseWriter, log *slog.Logger, v any) {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		log.Error("encoding an admin answer", "error", err)
		http.Error(w, "cannot encode the answer", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(b, '\n')) // the client is gone otherwise
}

func (o Options) ready(w http.ResponseWriter, _ *http.Request) {
	good, reason := o.Ready()
	if good {
		plain(w, strings.TrimSuffix("LIVE\n"+reason, "\n")+"\n")
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(http.StatusServiceUnavailable)
	_, _ = w.Write([]byte(reason + "\n")) // the client is gone otherwise
}

func (o Options) view(show func() View) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		v := show()
		switch format := req.URL.Query().Get("format"); format {
		case "json":
			writeJSON(w, o.Log, v.JSON)
		case "", "text":
			plain(w, v.Text)
		default:
			wrong(w, "format=%s: there is text and json", format)
		}
	}
}

// wrong answers a request whose parameters mean nothing.
func wrong(w http.ResponseWriter, format string, args ...any) {
	http.Error(w, fmt.Sprintf(format, args...), http.StatusBadRequest)
}

// drain closes the listeners. Open connections stay in any case, which Envoy does
// with graceful.
func (o Options) drain(w http.ResponseWriter, req *http.Request) {
	for name := range req.URL.Query() {
		if name != "graceful" && name != "skip_exit" {
			wrong(w, "%s: all listeners are closed, and open connections stay; there is no other way", name)
			return
		}
	}
	o.DrainListeners()
	ok(w)
}

// logging shows the log level, and sets it when one is given.
func (o Options) logging(w http.ResponseWriter, req *http.Request) {
	for name := range req.URL.Query() {
		if name != "level" {
			wrong(w, "%s: there is one level for all: use level=debug, info, warn or error", name)
			return
		}
	}
	if req.URL.Query().Has("level") {
		level, err := levelOf(req.URL.Query().Get("level"))
		if err != nil {
			wrong(w, "level must be debug, info, warn or error")
			return
		}
		o.Level.Set(level)
		o.Log.Info("log level set", "level", level.String())
	}
	plain(w, "level: "+strings.ToLower(o.Level.Level().String())+"\n")
}

// levelOf reads a level, by Envoy's names for it, too.
func levelOf(name string) (level slog.Level, err error) {
	switch name = strings.ToLower(name); name {
	case "trace":
		name = "debug"
	case "warning":
		name = "warn"
	case "critical":
		name = "error"
	}
	err = level.UnmarshalText([]byte(name))
	return level, err
}

// prometheus shows metrics as Prometheus reads them.
func (o Options) prometheus(w http.ResponseWriter, req *http.Request) {
	filter, err := filterOf(req)
	switch {
	case err != nil:
		wrong(w, "%v", err)
	case filter == nil:
		o.metrics(o.Gatherer).ServeHTTP(w, req)
	default:
		o.metrics(prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) { return filtered(o.Gatherer, filter) })).ServeHTTP(w, req)
	}
}

// filterOf is the regular expression for names that a request has; nil: all are
// wanted.
func filterOf(req *http.Request) (*regexp.Regexp, error) {
	text := req.URL.Query().Get("filter")
	if text == "" {
		return nil, nil //nolint:nilnil // no filter
	}
	filter, err := regexp.Compile(text)
	if err != nil {
		return nil, fmt.Errorf("filter is not a regular expression: %w", err)
	}
	return filter, nil
}

// filtered gathers the series with a name, as /stats prints it, that a filter
// matches.
func filtered(g prometheus.Gatherer, filter *regexp.Regexp) ([]*dto.MetricFamily, error) {
	families, err := g.Gather()
	var list []*dto.MetricFamily
	for _, f := range families {
		some := dto.MetricFamily{Name: f.Name, Help: f.Help, Type: f.Type, Unit: f.Unit}
		for _, m := range f.GetMetric() {
			if len(appendStats(nil, f, m, filter)) > 0 {
				some.Metric = append(some.Metric, m)
			}
		}
		if len(some.GetMetric()) > 0 {
			list = append(list, &some)
		}
	}
	return list, err
}

// stats prints metrics as Envoy's /stats does: a name, a colon, a number.
func (o Options) stats(w http.ResponseWriter, req *http.Request) {
	format := req.URL.Query().Get("format")
	switch format {
	case "", "text", "json":
	case "prometheus":
		o.prometheus(w, req)
		return
	default:
		wrong(w, "format=%s: there is text, json and prometheus", format)
		return
	}
	filter, err := filterOf(req)
	if err != nil {
		wrong(w, "%v", err)
		return
	}
	families, err := o.Gatherer.Gather()
	if err != nil {
		o.Log.Warn("some metrics could not be gathered", "error", err)
	}
	var list []stat
	for _, f := range families {
		for _, m := range f.GetMetric() {
			list = appendStats(list, f, m, filter)
		}
	}
	if format == "json" {
		writeJSON(w, o.Log, map[string]any{"stats": list})
		return
	}
	var b strings.Builder
	for _, s := range list {
		fmt.Fprintf(&b, "%s: %s\n", s.Name, strconv.FormatFloat(s.Value, 'f', -1, 64))
	}
	plain(w, b.String())
}

type stat struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
}

// appendStats adds the numbers of a metric whose names a filter matches; nil: all.
func appendStats(list []stat, f *dto.MetricFamily, m *dto.Metric, filter *regexp.Regexp) []stat {
	add := func(suffix string, value float64) {
		if name := f.GetName() + suffix + labels(m); filter == nil || filter.MatchString(name) {
			list = append(list, stat{name, value})
		}
	}
	switch {
	case m.Counter != nil:
		add("", m.Counter.GetValue())
	case m.Gauge != nil:
		add("", m.Gauge.GetValue())
	case m.Untyped != nil:
		add("", m.Untyped.GetValue())
	case m.Histogram != nil:
		add("_count", float64(m.Histogram.GetSampleCount()))
		add("_sum", m.Histogram.GetSampleSum())
	case m.Summary != nil:
		add("_count", float64(m.Summary.GetSampleCount()))
		add("_sum", m.Summary.GetSampleSum())
	}
	return list
}

func labels(m *dto.Metric) string {
	if len(m.GetLabel()) == 0 {
		return ""
	}
	parts := make([]string, len(m.GetLabel()))
	for i, l := range m.GetLabel() {
		parts[i] = l.GetName() + "=" + strconv.Quote(l.GetValue())
	}
	return "{" + strings.Join(parts, ",") + "}"
}
