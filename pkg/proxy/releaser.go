package proxy

import (
	"log/slog"
	"sync"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/proxy/pages"
)

// Pauses of a releaser.
const (
	releaseAfter = 5 * time.Second // for what follows a change, or a look at the admin server
	releaseEvery = time.Minute     // at most
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
		pages.Release(r.log)
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
