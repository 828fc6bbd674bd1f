package e2e

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// writer is an app that goes on writing while things happen behind the proxy. It counts a key of its own upwards, so that a write that is
// lost, or made twice, shows: the server's count and its own differ.
type writer struct {
	addr string
	key  string
	stop chan struct{}
	done sync.WaitGroup

	mu       sync.Mutex // guards what follows
	written  int
	failures []string
	lastOK   time.Time
}

// startWriters starts n writers, whose keys are spread over the shards, and stops them when the test ends.
func startWriters(t *testing.T, addr string, n int) []*writer {
	t.Helper()
	var all []*writer
	for i := range n {
		w := &writer{addr: addr, key: fmt.Sprintf("writer:{%d}", i), stop: make(chan struct{})}
		client := redistest.Dial(t, addr)
		client.Timeout = 30 * time.Second
		w.done.Go(func() { w.run(client) })
		t.Cleanup(w.end)
		all = append(all, w)
	}
	return all
}

func (w *writer) run(client *redistest.Client) {
	pause := time.NewTicker(2 * time.Millisecond)
	defer pause.Stop()
	for {
		select {
		case <-w.stop:
			return
		case <-pause.C:
		}
		reply, err := client.TryDo("INCR", w.key)
		w.note(reply, err)
		if err != nil {
			return // the proxy must keep its clients, whatever happens behind it
		}
	}
}

func (w *writer) note(reply string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case err != nil:
		w.failures = append(w.failures, err.Error())
	case !strings.HasPrefix(reply, ":"):
		w.failures = append(w.failures, reply)
	default:
		w.written++
		w.lastOK = time.Now()
	}
}

// end stops the writer and waits for it.
func (w *writer) end() {
	w.mu.Lock()
	select {
	case <-w.stop:
	default:
		close(w.stop)
	}
	w.mu.Unlock()
	w.done.Wait()
}

// state returns how many writes were acknowledged, what went wrong, and when the last good reply came.
func (w *writer) state() (written int, failures []string, lastOK time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.written, w.failures, w.lastOK
}

// awaitProgress waits until each writer has written n more times.
func awaitProgress(t *testing.T, writers []*writer, n int) {
	t.Helper()
	for _, w := range writers {
		before, _, _ := w.state()
		redistest.Eventually(t, 30*time.Second, "writes", func() error {
			now, failures, _ := w.state()
			if now < before+n {
				return fmt.Errorf("%s: %d of %d writes; failures: %.300q", w.key, now-before, n, failures)
			}
			return nil
		})
	}
}

// wantNothingLost ends the writers and compares each count with the server's, read through the proxy.
func wantNothingLost(t *testing.T, writers []*writer) {
	t.Helper()
	for _, w := range writers {
		w.end()
		written, failures, _ := w.state()
		if len(failures) > 0 {
			t.Errorf("%s: %d of %d writes failed, first with %.200q", w.key, len(failures), written, failures[0])
		}
		count := fmt.Sprint(written)
		want := fmt.Sprintf("$%d\r\n%s\r\n", len(count), count)
		if got := redistest.Dial(t, w.addr).Do("GET", w.key); got != want {
			t.Errorf("%s: %s writes were acknowledged, the server counts %q", w.key, count, got)
		}
	}
}
