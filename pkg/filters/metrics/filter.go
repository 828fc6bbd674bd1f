package metrics

import (
	"context"
	"fmt"
	"html"
	"net/http"
	"strconv"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/metrics/scrape"
)

// maxScrapes are answered at once; each takes memory for a whole page.
const maxScrapes = 16

// filter answers one path.
type filter struct {
	// read-only after construction
	builder  *Builder
	path     string
	scraper  *scrape.Scraper
	counters *listenerCounters
	sources  []*source

	turns chan struct{} // holds one for each scrape that is answered
}

// Handler implements filters.HTTP. Other paths than its own are next's, or get
// 404.
func (f *filter) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == f.path && (r.Method == http.MethodGet || r.Method == http.MethodHead):
			f.answer(w, r)
		case r.URL.Path == f.path:
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "only GET and HEAD are answered", http.StatusMethodNotAllowed)
		case next != nil:
			next.ServeHTTP(w, r)
		case r.URL.Path == "/":
			f.landing(w)
		default:
			http.NotFound(w, r)
		}
	})
}

// landing leads people to the metrics, as exporters do.
func (f *filter) landing(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	fmt.Fprintf(w, "<!doctype html><title>Metrics</title><p><a href=\"%s\">Metrics</a></p>\n", html.EscapeString(f.path))
}

func (f *filter) answer(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	select {
	case f.turns <- struct{}{}:
		defer func() { <-f.turns }()
	default:
		f.counters.refused.Inc()
		http.Error(w, fmt.Sprintf("%d scrapes are being answered already", maxScrapes), http.StatusServiceUnavailable)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), scrape.Timeout(r.Header))
	defer cancel()
	families, release := f.scraper.Gather(ctx)
	page, err := f.builder.writer.Page(r.Header, families)
	release()
	if err != nil {
		f.counters.failed.Inc()
		f.builder.log.Error("writing metrics", "error", err)
		http.Error(w, "metrics could not be written", http.StatusInternalServerError)
		return
	}
	defer page.Release()
	h := w.Header()
	h.Set("Content-Type", page.ContentType)
	h.Set("Vary", "Accept, Accept-Encoding")
	if page.Encoding != "" {
		h.Set("Content-Encoding", page.Encoding)
	}
	h.Set("Content-Length", strconv.Itoa(len(page.Body)))
	if r.Method != http.MethodHead {
		_, _ = w.Write(page.Body) //nolint:gosec // a format of metrics, not HTML; and a scraper that is gone misses nothing
	}
	f.counters.answered.Inc()
	f.counters.bytes.Add(float64(len(page.Body)))
	f.counters.seconds.Observe(time.Since(began).Seconds())
}

// Close implements filters.HTTP.
func (f *filter) Close() { f.builder.release(f.sources) }
