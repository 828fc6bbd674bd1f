package proxy

import (
	"log/slog"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"golang.org/x/sys/unix"

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

// Looks of a releaser at what was touched without its being told.
const (
	firstLook = 5 * time.Second // after something was done
	lastLook  = 5 * time.Minute // the looks at a process that stays idle become as rare as that
	grownBy   = 1 << 20         // bytes that are worth it
	idleShare = 50              // an idle process uses less than this part of a CPU
)

// releaser hands back, some time after they were needed, pages of the binary and of
// the heap: what parses and shows configuration is large, and not needed in between.
type releaser struct {
	log *slog.Logger

	mu    sync.Mutex  // guards below
	pages *time.Timer // nil: it was never due
	heap  *time.Timer // nil: it is not due
	look  *time.Timer // nil: nothing was touched yet
	last  time.Time   // of the heap
	asked time.Time   // when soon was called last
	over  bool

	wait   time.Duration // until the next look
	kept   int64         // resident bytes of the binary after the last release
	looked time.Time     // the last time
	used   time.Duration // CPU time until then
}

// soon does it when the present work is over.
func (r *releaser) soon() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		return
	}
	r.asked = time.Now()
	r.lookSoonLocked()
	if r.pages == nil {
		r.pages = time.AfterFunc(pagesAfter, r.release)
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
	r.release()
}

// release hands back pages of the binary.
func (r *releaser) release() {
	pages.Release(r.log)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.kept = pages.Resident()
}

// touched says that something little was done, such as the answer to a probe.
func (r *releaser) touched() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.over {
		r.lookSoonLocked()
	}
}

func (r *releaser) lookSoonLocked() {
	switch {
	case r.look == nil:
		r.looked, r.used = time.Now(), cpuTime()
		r.wait = firstLook
		r.look = time.AfterFunc(r.wait, r.inspect)
	case r.wait > firstLook:
		r.wait = firstLook
		r.look.Reset(r.wait)
	}
}

// inspect releases pages that a process which does nothing now was left with by what
// it did before: clients say nothing to the releaser. A busy one needs its pages.
func (r *releaser) inspect() {
	r.mu.Lock()
	if r.over {
		r.mu.Unlock()
		return
	}
	now, used := time.Now(), cpuTime()
	idle := used-r.used < now.Sub(r.looked)/idleShare
	r.looked, r.used = now, used
	grown := pages.Resident() > r.kept+grownBy
	if r.wait = min(2*r.wait, lastLook); !idle {
		r.wait = firstLook
	}
	r.look.Reset(r.wait)
	r.mu.Unlock()
	if idle && grown {
		r.release()
	}
}

// cpuTime is what the process has used so far.
func cpuTime() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
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
	for _, t := range []*time.Timer{r.pages, r.heap, r.look} {
		if t != nil {
			t.Stop()
		}
	}
}
