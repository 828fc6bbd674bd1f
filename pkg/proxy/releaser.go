package proxy

import (
	"log/slog"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/dragoman-mesh/dragoman/pkg/proxy/pages"
)

// Pauses of a releaser.
const (
	// pagesAfter is from the last of some scrapes, each of which touches some 10 MB of
	// the binary: they come back within a millisecond, so that this may be often.
	pagesAfter = 500 * time.Millisecond
	heapAfter  = 5 * time.Second  // for what follows a change, or a look at the admin server
	heapEvery  = 15 * time.Second // at most
	// smallHeap is one that is collected for it, in bytes: that takes some
	// milliseconds of CPU time. A process with more in use would not notice.
	smallHeap = 32 << 20
)

// releaser hands back, some time after they were needed, pages of the binary and of
// the heap: what parses and shows configuration is large, and not needed in between.
type releaser struct {
	log *slog.Logger

	mu    sync.Mutex  // guards below
	pages *time.Timer // nil: it was never due
	heap  *time.Timer // nil: it is not due
	last  time.Time   // of the heap
	asked time.Time   // when soon was called last
	over  bool
}

// soon does it when the present work is over.
func (r *releaser) soon() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		return
	}
	r.asked = time.Now()
	if r.pages == nil {
		r.pages = time.AfterFunc(pagesAfter, func() { pages.Release(r.log) })
	} else {
		r.pages.Reset(pagesAfter)
	}
	if r.heap != nil {
		return
	}
	wait := heapAfter
	if !r.last.IsZero() {
		wait = max(wait, heapEvery-time.Since(r.last))
	}
	r.heap = time.AfterFunc(wait, r.all)
}

// all does it now, and once more if what it followed last may not have been over:
// a configuration that has just been taken is still written down and acknowledged.
func (r *releaser) all() {
	r.mu.Lock()
	r.heap, r.last = nil, time.Now()
	if r.last.Sub(r.asked) < heapAfter && !r.over {
		r.heap = time.AfterFunc(heapEvery, r.all)
	}
	r.mu.Unlock()
	collect() // which touches pages of the binary
	pages.Release(r.log)
}

// collect hands back what a scrape, or the look of somebody at the admin server, has
// left on the heap: it is as much as everything that is in use.
func collect() {
	used := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	if metrics.Read(used); used[0].Value.Kind() == metrics.KindUint64 && used[0].Value.Uint64() < smallHeap {
		debug.FreeOSMemory()
	}
}

// after is a gatherer that is followed by a release: what answers a scrape is not
// needed until the next one.
func (r *releaser) after(g prometheus.Gatherer) prometheus.Gatherer {
	return prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
		defer r.soon()
		return g.Gather()
	})
}

// stop ends it.
func (r *releaser) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.over = true
	for _, t := range []*time.Timer{r.pages, r.heap} {
		if t != nil {
			t.Stop()
		}
	}
}
