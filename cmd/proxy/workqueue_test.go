package main

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// stocked is a folder with items.
func stocked(t *testing.T, n int) string {
	t.Helper()
	dir := t.TempDir()
	for i := range n {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("item-%05d", i)), []byte(strconv.Itoa(i)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestWorkQueueSurvivesItsWorkers: 10,000 items, and workers that are killed at
// random. Each item is done at least once, and none is lost.
func TestWorkQueueSurvivesItsWorkers(t *testing.T) {
	t.Parallel()
	const items, workers, parallel, kills = 10_000, 3, 4, 12
	dir := stocked(t, items)
	var mu sync.Mutex
	done := map[string]int{}
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		done[r.Header.Get("Work-Item-Name")]++
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(app.Close)
	worker := func(n int) *process {
		return begin(t, nil, "work-queue", "--folder", dir, "--post", app.URL, "--parallel", strconv.Itoa(parallel),
			"--worker", fmt.Sprintf("w%d", n), "--term", "3s", "--attempts", "50", "--pause", "10ms", "--until-drained")
	}
	count := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(done)
	}
	var running []*process
	for n := range workers {
		running = append(running, worker(n))
	}
	for n := range kills {
		for before, deadline := count(), time.Now().Add(limit); count() < min(before+items/(kills+2), items); {
			if time.Now().After(deadline) {
				t.Fatalf("%d items are done, and no more", count())
			}
			<-time.After(5 * time.Millisecond)
		}
		victim := rand.IntN(workers)
		_ = running[victim].cmd.Process.Kill() // it may have ended
		<-running[victim].done
		running[victim] = worker(workers + n)
	}
	for _, p := range running {
		if code := p.end(); code != 0 {
			t.Errorf("exit code %d", code)
		}
	}
	mu.Lock() // a request of a killed worker may be on its way
	defer mu.Unlock()
	twice := 0
	for _, n := range done {
		twice += n - 1
	}
	t.Logf("%d items, %d killed, %d done once more", len(done), kills, twice)
	if len(done) != items {
		t.Errorf("%d of %d items are done", len(done), items)
	}
}

// TestWorkQueueRuns a command for each item. One that fails is put aside with
// what the command said.
func TestWorkQueueRuns(t *testing.T) {
	t.Parallel()
	dir, out := stocked(t, 3), t.TempDir()
	script := fmt.Sprintf(`test "$WORK_ITEM_NAME" != item-00001 || { echo "not this one, attempt $WORK_ITEM_ATTEMPT" >&2; exit 3; }; cp "$WORK_ITEM_FILE" %s/"$WORK_ITEM_NAME"`, out)
	code, _, stderr := finish(t, nil, "work-queue", "--folder", dir, "--attempts", "2", "--pause", "1ms", "--until-drained", "--keep-done", "--", "sh", "-c", script)
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	for name, want := range map[string]string{
		filepath.Join(out, "item-00000"):                 "0",
		filepath.Join(out, "item-00002"):                 "2",
		filepath.Join(dir, ".done", "item-00002"):        "2",
		filepath.Join(dir, ".dead", "item-00001"):        "1",
		filepath.Join(dir, ".dead", "item-00001.reason"): "exit status 3: not this one, attempt 2\n",
	} {
		if got, err := os.ReadFile(name); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// TestWorkQueueSignals: what ends a program at a pipe that nobody reads ends a command,
// too: many a script would go on for ever.
func TestWorkQueueSignals(t *testing.T) {
	t.Parallel()
	dir := stocked(t, 1)
	code, _, stderr := finish(t, nil, "work-queue", "--folder", dir, "--attempts", "1", "--until-drained", "--", "sh", "-c", "kill -s PIPE $$")
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	if got, err := os.ReadFile(filepath.Join(dir, ".dead", "item-00000.reason")); err != nil || string(got) != "signal: broken pipe: \n" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestWorkQueueUsage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for want, args := range map[string][]string{
		"one of --folder and --stream":    {},
		"--folder and --stream is needed": {"--folder", dir, "--stream", "s"},
		"nothing is to be done":           {"--folder", dir},
		"two ways to do an item":          {"--folder", dir, "--post", "http://localhost", "--", "true"},
		"want --attempts of 1 or more":    {"--folder", dir, "--attempts", "0", "--", "true"},
		"opening the queue":               {"--folder", filepath.Join(dir, "missing"), "--", "true"},
		"reading the password":            {"--stream", "s", "--redis-password-file", filepath.Join(dir, "missing"), "--", "true"},
		`binding --http "nowhere:1:2"`:    {"--folder", dir, "--http", "nowhere:1:2"},
	} {
		code, _, stderr := finish(t, nil, append([]string{"work-queue"}, args...)...)
		if code != 64 || !strings.Contains(stderr, want) {
			t.Errorf("%q: %d, %s", args, code, stderr)
		}
	}
}
