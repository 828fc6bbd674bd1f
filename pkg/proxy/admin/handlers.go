package admin

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"strconv"
	"strings"

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
		if req.URL.Query().Get("format") == "json" {
			writeJSON(w, o.Log, v.JSON)
			return
		}
		plain(w, v.Text)
	}
}

// logging shows the log level, and sets it when one is given.
func (o Options) logging(w http.ResponseWriter, req *http.Request) {
	if name := req.URL.Query().Get("level"); name != "" {
		var level slog.Level
		if err := level.UnmarshalText([]byte(name)); err != nil {
			http.Error(w, "level must be debug, info, warn or error", http.StatusBadRequest)
			return
		}
		o.Level.Set(level)
		o.Log.Info("log level set", "level", level.String())
	}
	plain(w, "level: "+strings.ToLower(o.Level.Level().String())+"\n")
}

// stats prints metrics as Envoy's /stats does: a name, a colon, a number.
func (o Options) stats(w http.ResponseWriter, req *http.Request) {
	q := req.URL.Query()
	if q.Get("format") == "prometheus" {
		o.metrics().ServeHTTP(w, req)
		return
	}
	filter, err := regexp.Compile(q.Get("filter"))
	if err != nil {
		http.Error(w, "filter is not a regular expression", http.StatusBadRequest)
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
	if q.Get("format") == "json" {
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

func appendStats(list []stat, f *dto.MetricFamily, m *dto.Metric, filter *regexp.Regexp) []stat {
	name := f.GetName() + labels(m)
	if !filter.MatchString(name) {
		return list
	}
	switch {
	case m.Counter != nil:
		return append(list, stat{name, m.Counter.GetValue()})
	case m.Gauge != nil:
		return append(list, stat{name, m.Gauge.GetValue()})
	case m.Untyped != nil:
		return append(list, stat{name, m.Untyped.GetValue()})
	case m.Histogram != nil:
		return append(list,
			stat{f.GetName() + "_count" + labels(m), float64(m.Histogram.GetSampleCount())},
			stat{f.GetName() + "_sum" + labels(m), m.Histogram.GetSampleSum()})
	case m.Summary != nil:
		return append(list,
			stat{f.GetName() + "_count" + labels(m), float64(m.Summary.GetSampleCount())},
			stat{f.GetName() + "_sum" + labels(m), m.Summary.GetSampleSum()})
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
