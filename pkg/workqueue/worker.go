package workqueue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Job does an item. An error is why it could not be done; it is tried again.
type Job func(ctx context.Context, l *Lease) error

// WorkerOptions of a Worker.
type WorkerOptions struct {
	Queue Queue
	// Name of the worker, which no other has.
	Name string
	Job  Job
	// Term is that of the queue's leases: they are renewed three times as often.
	Term time.Duration
	// Parallel is how many items are worked on at a time; at least 1.
	Parallel int
	// UntilDrained ends Run when nothing waits and nobody is at work.
	UntilDrained bool
	// Note is told what became of leases; nil: nobody is.
	Note func(Outcome, error)
	Log  *slog.Logger
}

// Worker takes items and does them.
type Worker struct{ opts WorkerOptions }

// NewWorker returns a worker that does not run yet.
func NewWorker(o WorkerOptions) *Worker {
	o.Parallel = max(o.Parallel, 1)
	if o.Note == nil {
		o.Note = func(Outcome, error) {}
	}
	return &Worker{o}
}

// Run works until ctx is done, or until the queue is drained. What is under way
// at the end is given back.
func (w *Worker) Run(ctx context.Context) {
	var running sync.WaitGroup
	for i := range w.opts.Parallel {
		running.Go(func() { w.work(ctx, w.opts.Name+"-"+strconv.Itoa(i)) })
	}
	running.Wait()
}

// Pauses between two looks at a queue that gives nothing.
const (
	shortestPause = 50 * time.Millisecond
	longestPause  = 2 * time.Second
)

func (w *Worker) work(ctx context.Context, name string) {
	pause := shortestPause
	for ctx.Err() == nil {
		l, err := w.opts.Queue.Lease(ctx, name)
		switch {
		case err == nil:
			pause = shortestPause
			w.do(ctx, l)
			continue
		case errors.Is(err, ErrDrained) && w.opts.UntilDrained:
			return
		case !errors.Is(err, ErrDrained) && !errors.Is(err, ErrEmpty) && ctx.Err() == nil:
			w.opts.Log.Warn("the queue cannot be used", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause/2 + rand.N(pause)):
		}
		pause = min(2*pause, longestPause)
	}
}

// do does an item, renews its lease meanwhile, and says what became of it.
func (w *Worker) do(ctx context.Context, l *Lease) {
	doing, stop := context.WithCancelCause(ctx)
	var renewing sync.WaitGroup
	renewing.Go(func() { w.renew(doing, l, stop) })
	err := w.opts.Job(doing, l)
	lost := errors.Is(context.Cause(doing), ErrLost)
	stop(nil)
	renewing.Wait()
	if lost {
		w.opts.Log.Warn("a lease ran out: the item may be done twice", "item", l.Name, "attempt", l.Attempt)
		return
	}
	r := Result{Outcome: Done}
	if err != nil {
		r = Result{Failed, err.Error()}
		w.opts.Log.Warn("an item failed", "item", l.Name, "attempt", l.Attempt, "error", err)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), redisTimeout)
	defer cancel()
	err = w.opts.Queue.Settle(ctx, l.ID, r)
	w.opts.Note(r.Outcome, err)
	if err != nil {
		w.opts.Log.Warn("what became of an item cannot be said", "item", l.Name, "attempt", l.Attempt, "error", err)
	}
}

func (w *Worker) renew(ctx context.Context, l *Lease, stop context.CancelCauseFunc) {
	tick := time.NewTicker(max(w.opts.Term/3, 10*time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := w.opts.Queue.Settle(ctx, l.ID, Result{Outcome: Renewed})
		if ctx.Err() == nil {
			w.opts.Note(Renewed, err)
		}
		if errors.Is(err, ErrLost) {
			stop(err)
			return
		}
	}
}

// maxReason bounds what is kept of a failed command's or app's words, in bytes.
const maxReason = 2 << 10

// Exec is a Job that runs a command for each item, whose data it finds in the
// file that the variable WORK_ITEM_FILE names. WORK_ITEM_NAME and
// WORK_ITEM_ATTEMPT say which it is. Exit code 0 means that it is done.
func Exec(command []string) Job {
	return func(ctx context.Context, l *Lease) error {
		dir, err := os.MkdirTemp("", "item")
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(dir) }()
		file := filepath.Join(dir, "item")
		if err := os.WriteFile(file, l.Data, 0o600); err != nil {
			return err
		}
		cmd := exec.CommandContext(ctx, command[0], command[1:]...) //nolint:gosec // the command is the operator's
		cmd.Env = append(os.Environ(), "WORK_ITEM_FILE="+file, "WORK_ITEM_NAME="+l.Name, "WORK_ITEM_ATTEMPT="+strconv.Itoa(l.Attempt))
		cmd.Stdout, cmd.WaitDelay = os.Stdout, 5*time.Second
		tail := &tailWriter{to: os.Stderr}
		cmd.Stderr = tail
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("%w: %s", err, tail)
		}
		return nil
	}
}

// tailWriter passes on what is written, and keeps the end of it.
type tailWriter struct {
	to   io.Writer
	kept []byte
}

func (t *tailWriter) Write(p []byte) (int, error) {
	t.kept = append(t.kept, p...)
	if len(t.kept) > maxReason {
		t.kept = bytes.Clone(t.kept[len(t.kept)-maxReason:])
	}
	return t.to.Write(p)
}

func (t *tailWriter) String() string {
	return strings.TrimSpace(strings.ToValidUTF8(string(t.kept), "?"))
}

// Post is a Job that sends each item to an app, which answers with 2xx when it is
// done. The headers Work-Item-Name and Work-Item-Attempt say which it is.
func Post(client *http.Client, url string) Job {
	return func(ctx context.Context, l *Lease) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(l.Data))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/octet-stream")
		req.Header.Set("Work-Item-Name", l.Name)
		req.Header.Set("Work-Item-Attempt", strconv.Itoa(l.Attempt))
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(io.LimitReader(resp.Body, maxReason))
		if err != nil {
			return err
		}
		if resp.StatusCode < 200 || resp.StatusCode > 299 {
			return fmt.Errorf("the app answers %s: %s", resp.Status, strings.TrimSpace(strings.ToValidUTF8(string(body), "?")))
		}
		return nil
	}
}
