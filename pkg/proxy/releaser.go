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
	releaseAfter = 5 * time.Second  // for what follows a change, or a look at the admin server
	releaseEvery = 15 * time.Second // at most
	// smallHeap is one that is collected for it, in bytes: that takes some
	// milliseconds of CPU time. A process with more in use would not notice.
	smallHeap = 32 << 20
)

// releaser hands pages of the binary back some time after they were needed: what
// parses and shows configuration is large, and not needed in between.
type releaser struct {
	log *slog.Logger

	mu    sync.Mutex  // guards below
	timer *time.Timer // nil: nothing is due
	last  time.Time
	over  bool
}

// soon does it when the present work is over.
func (r *releaser) soon() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over || r.timer != nil {
		return
	}
	wait := max(releaseAfter, releaseEvery-time.Since(r.last))
	if r.last.IsZero() {
		wait = releaseAfter
	}
	r.timer = time.AfterFunc(wait, func() {
		r.mu.Lock()
		r.timer, r.last = nil, time.Now()
		r.mu.Unlock()
		collect() // which touches pages of the binary
		pages.Release(r.log)
	})
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
	if r.timer != nil {
		r.timer.Stop()
	}
}
