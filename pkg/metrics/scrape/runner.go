// Package scrape asks sources of metrics when a scraper asks, and answers within
// the time that the scraper waits.
package scrape

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/dragoman-mesh/dragoman/pkg/metrics"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/merge"
)

// Errors of a Runner.
var (
	ErrLate   = errors.New("no answer in time")
	ErrBusy   = errors.New("still not done with what it was asked before")
	ErrClosed = errors.New("the source is closed")
)

// Runner asks one source, once for all who want to know at about the same time.
// Its methods may be called from any goroutine.
type Runner struct {
	// read-only after construction
	source metrics.Source
	prompt bool // the source is a metrics.Prompt
	voice  *voice

	// What was left out of all that the source gave, and repaired.
	dropped, repaired merge.Counts

	mu      sync.Mutex
	last    *Fetch // guarded by mu; nil before the first
	running *Fetch // guarded by mu; nil while the source is not asked
	closed  bool   // guarded by mu
}

// Fetch is what a source gave at one time. Its families are valid until Release.
type Fetch struct {
	// read-only once done is closed
	Families []*dto.MetricFamily
	Err      error
	Began    time.Time
	Took     time.Duration

	done     chan struct{}
	deadline time.Time

	runner *Runner
	users  int           // guarded by Runner.mu
	idle   chan struct{} // guarded by Runner.mu; closed when users are 0, nil while nobody waits for it
}

// NewRunner returns a runner that closes its source when it is closed, and says in
// the log when that begins to fail and when it is well again.
func NewRunner(s metrics.Source, log *slog.Logger) *Runner {
	_, prompt := s.(metrics.Prompt)
	return &Runner{source: s, prompt: prompt, voice: &voice{log: log}}
}

// Fetch gives what the source has, which is not older than fresh. It returns when
// ctx is done at the latest; the result must be released.
func (r *Runner) Fetch(ctx context.Context, fresh time.Duration) *Fetch {
	for {
		f, own := r.fetch(ctx, fresh)
		timeUp := errors.Is(f.Err, ErrLate) || errors.Is(f.Err, context.DeadlineExceeded)
		if own || !timeUp || ctx.Err() != nil {
			return f
		}
		f.Release() // another scraper had less time: there is some left
	}
}

// fetch is Fetch once. own says that the time of what was asked is that of ctx.
func (r *Runner) fetch(ctx context.Context, fresh time.Duration) (f *Fetch, own bool) {
	r.mu.Lock()
	f, ask, err := r.joinLocked(ctx, fresh)
	r.mu.Unlock()
	own = ask != nil || err != nil
	switch {
	case err != nil:
		if errors.Is(err, ErrBusy) {
			r.voice.heard(err, time.Now())
		}
		return failed(err), own
	case ask != nil && r.prompt:
		ask()
	case ask != nil:
		go ask()
	}
	select {
	case <-f.done:
		return f, own
	default:
	}
	select {
	case <-f.done:
		return f, own
	case <-ctx.Done():
		f.Release()
		return failed(late(ctx)), own
	}
}

// failed is a fetch that did not happen.
func failed(err error) *Fetch { return &Fetch{Err: err, Began: time.Now()} }

// late says that time was up.
func late(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return ErrLate
	}
	return ctx.Err()
}

// joinLocked gives the fetch to wait for. ask is nil unless it is to be begun.
func (r *Runner) joinLocked(ctx context.Context, fresh time.Duration) (f *Fetch, ask func(), err error) {
	now := time.Now()
	switch {
	case r.closed:
		return nil, nil, ErrClosed
	case r.running != nil && now.After(r.running.deadline):
		// A source that does not obey its deadline is not waited for again.
		return nil, nil, ErrBusy
	case r.running != nil:
		r.running.users++
		return r.running, nil, nil
	case r.last != nil && r.last.Err == nil && now.Sub(r.last.Began.Add(r.last.Took)) < fresh:
		r.last.users++
		return r.last, nil, nil
	}
	f = &Fetch{Began: now, done: make(chan struct{}), runner: r, users: 1}
	// One scraper that goes away must not spoil it for the others.
	detached := context.WithoutCancel(ctx)
	var cancel context.CancelFunc
	if deadline, ok := ctx.Deadline(); ok {
		f.deadline = deadline
		detached, cancel = context.WithDeadline(detached, deadline)
	} else {
		f.deadline = now.Add(DefaultTimeout)
		detached, cancel = context.WithTimeout(detached, DefaultTimeout)
	}
	r.running = f
	before := r.last
	return f, func() {
		defer cancel()
		r.run(detached, f, before)
	}, nil
}

// run asks the source, once nobody reads what it gave before any more.
func (r *Runner) run(ctx context.Context, f, before *Fetch) {
	families, err := r.ask(ctx, before)
	if err == nil && ctx.Err() != nil {
		families, err = nil, late(ctx) // those who waited are gone
	}
	f.Families, f.Err, f.Took = families, err, time.Since(f.Began)
	r.voice.heard(err, time.Now())
	r.mu.Lock()
	r.running, r.last = nil, f
	r.mu.Unlock()
	close(f.done)
}

func (r *Runner) ask(ctx context.Context, before *Fetch) (_ []*dto.MetricFamily, err error) {
	if before != nil {
		select {
		case <-before.unused():
		case <-ctx.Done():
			return nil, late(ctx)
		}
	}
	// A defect in one kind of source must not take the app's database with it.
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the source failed: %v", p)
		}
	}()
	return r.source.Gather(ctx)
}

// unused is closed when everybody has released the fetch.
func (f *Fetch) unused() <-chan struct{} {
	f.runner.mu.Lock()
	defer f.runner.mu.Unlock()
	f.idle = make(chan struct{})
	if f.users == 0 {
		close(f.idle)
	}
	return f.idle
}

// Release says that the families are not read any more.
func (f *Fetch) Release() {
	if f.runner == nil {
		return
	}
	f.runner.mu.Lock()
	defer f.runner.mu.Unlock()
	f.users--
	if f.users == 0 && f.idle != nil {
		close(f.idle)
		f.idle = nil
	}
}

// losses tells what the source itself lost.
func (r *Runner) losses() map[string]uint64 {
	if a, ok := r.source.(metrics.Accountant); ok {
		return a.Losses()
	}
	return nil
}

// Close closes the source, after what it is being asked. It must be called once.
func (r *Runner) Close() error {
	r.mu.Lock()
	r.closed = true
	running := r.running
	r.mu.Unlock()
	if running != nil {
		<-running.done
	}
	return r.source.Close()
}
