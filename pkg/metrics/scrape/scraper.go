package scrape

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/dragoman-mesh/dragoman/pkg/metrics/merge"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/relabel"
)

// DefaultTimeout is how long a scraper is thought to wait if it does not say: the
// default of Prometheus.
const DefaultTimeout = 10 * time.Second

// TimeoutHeader is where Prometheus says how long it waits.
const TimeoutHeader = "X-Prometheus-Scrape-Timeout-Seconds"

// Timeout is how long sources may take, for a scraper that waits as long as its
// header says: a margin is left for what comes after them.
func Timeout(h http.Header) time.Duration {
	timeout := DefaultTimeout
	if v, err := strconv.ParseFloat(h.Get(TimeoutHeader), 64); err == nil && v > 0 && v < 3600 {
		timeout = time.Duration(v * float64(time.Second))
	}
	return timeout - min(500*time.Millisecond, timeout/5)
}

// Part is a source, and what becomes of what it gives.
type Part struct {
	Name      string
	Runner    *Runner
	Relabeler *relabel.Relabeler
	MaxSeries int // that are shown of it; further ones are losses
}

// Options of a Scraper.
type Options struct {
	Parts []Part // in the order in which they have what several of them give
	// MinInterval is how long what a source gave is given again.
	MinInterval time.Duration
	// Proxy has the metrics of the process; nil: they are left out.
	Proxy prometheus.Gatherer
}

// Scraper gathers what all sources have. Its methods may be called from any
// goroutine.
type Scraper struct {
	// read-only after construction
	opts  Options
	parts []*part

	mu     sync.Mutex // held while what was given is put together; guards below and what parts made
	merger *merge.Merger
}

// part is a Part with what it made of the last fetch.
type part struct {
	Part
	cleaner *merge.Cleaner
	cleaned *Fetch // that families were made of
	clean   []*dto.MetricFamily
	series  int
}

// New returns a scraper. The runners stay the caller's to close.
func New(o Options) *Scraper {
	s := &Scraper{opts: o, merger: merge.NewMerger()}
	for _, p := range o.Parts {
		s.parts = append(s.parts, &part{Part: p, cleaner: merge.NewCleaner(p.MaxSeries, &p.Runner.dropped, &p.Runner.repaired)})
	}
	return s
}

// Gather asks all sources at once, and returns what they gave until ctx is done:
// valid families, sorted by name. They may be read until release is called.
func (s *Scraper) Gather(ctx context.Context) (families []*dto.MetricFamily, release func()) {
	fetches := make([]*Fetch, len(s.parts))
	var wg sync.WaitGroup
	for i, p := range s.parts {
		fetch := func() { fetches[i] = p.Runner.Fetch(ctx, s.opts.MinInterval) }
		if i < len(s.parts)-1 {
			wg.Go(fetch)
		} else {
			fetch() // it has to be waited for anyway
		}
	}
	wg.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mergeLocked(fetches), func() {
		for _, f := range fetches {
			f.Release()
		}
	}
}

// mergeLocked puts together what was fetched.
func (s *Scraper) mergeLocked(fetches []*Fetch) []*dto.MetricFamily {
	parts := make([]merge.Part, 0, len(s.parts)+1)
	for i, p := range s.parts {
		p.take(fetches[i])
		parts = append(parts, merge.Part{Source: p.Name, Families: p.clean, Dropped: &p.Runner.dropped, Repaired: &p.Runner.repaired})
	}
	if s.opts.Proxy != nil {
		parts = append(parts, merge.Part{Source: "proxy", Families: proxyFamilies(s.opts.Proxy), Dropped: &merge.Counts{}, Repaired: &merge.Counts{}})
	}
	return insert(s.merger.Merge(parts), s.report(fetches))
}

// take makes valid families of a fetch, once.
func (p *part) take(f *Fetch) {
	if p.cleaned == f {
		return
	}
	p.cleaned = f
	p.clean, p.series = p.cleaner.Clean(p.Relabeler.Apply(f.Families, f.Began.Add(f.Took)))
}

// insert adds families to others, both sorted by name. What the sources give has
// none of these names.
func insert(families, more []*dto.MetricFamily) []*dto.MetricFamily {
	out := make([]*dto.MetricFamily, 0, len(families)+len(more))
	for _, f := range families {
		for len(more) > 0 && more[0].GetName() < f.GetName() {
			out, more = append(out, more[0]), more[1:]
		}
		if !reserved(f.GetName()) {
			out = append(out, f)
		}
	}
	return slices.Concat(out, more)
}
