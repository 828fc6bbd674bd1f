package scrape

import (
	"log/slog"
	"sync"
	"time"
)

const (
	// betweenTurns is how long nothing more is said of a source that comes and goes.
	betweenTurns = time.Minute
	// betweenReasons is how long a source that fails may do so for other reasons, which
	// may hold a port that is another each time.
	betweenReasons = 10 * time.Minute
)

// voice says in the log when a source fails and when it is well again, and not at
// each scrape.
type voice struct {
	log *slog.Logger // read-only after construction

	mu     sync.Mutex
	failed bool      // guarded by mu
	since  time.Time // it failed or was well; guarded by mu
	// What was said last, and when; guarded by mu.
	reason string // "": it is well
	at     time.Time
}

// heard takes what came of asking the source at a time.
func (v *voice) heard(err error, now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	reason := ""
	if err != nil {
		reason = err.Error()
	}
	if failed := err != nil; failed != v.failed {
		v.failed, v.since = failed, now
	}
	wait := betweenTurns
	if reason != "" && v.reason != "" {
		wait = betweenReasons
	}
	if reason == v.reason || !v.at.IsZero() && now.Sub(v.at) < wait {
		return
	}
	if reason != "" {
		v.log.Warn("a source of metrics does not give all that it has", "error", reason, "since", v.since)
	} else {
		v.log.Info("a source of metrics is well again", "since", v.since)
	}
	v.reason, v.at = reason, now
}
