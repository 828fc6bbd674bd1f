package watch_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/internal/filetest"
	"github.com/dragoman-mesh/dragoman/pkg/proxy/watch"
)

// start runs a watcher and returns the channel of its calls.
func start(t *testing.T, o watch.Options, paths ...string) <-chan struct{} {
	t.Helper()
	if o.Debounce == 0 {
		o.Debounce = 10 * time.Millisecond
	}
	calls := make(chan struct{}, 100)
	w := watch.New(paths, o, func() { calls <- struct{}{} })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return calls
}

func wait(t *testing.T, calls <-chan struct{}, why string) {
	t.Helper()
	select {
	case <-calls:
	case <-time.After(10 * time.Second):
		t.Fatalf("no call after %s", why)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "a.yaml")
	write(t, file, "1")
	calls := start(t, watch.Options{}, file)
	write(t, file, "2")
	wait(t, calls, "a rewrite")
	filetest.Put(t, file, "3")
	wait(t, calls, "a rename over it")
	must(t, os.Remove(file))
	wait(t, calls, "its removal")
	write(t, file, "4")
	wait(t, calls, "its return")
}

func TestFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a.yaml"), "1")
	calls := start(t, watch.Options{}, dir)
	write(t, filepath.Join(dir, "b.json"), "2")
	wait(t, calls, "a new document")
	write(t, filepath.Join(dir, "a.yaml"), "changed")
	wait(t, calls, "a changed document")
	must(t, os.Remove(filepath.Join(dir, "b.json")))
	wait(t, calls, "a removed document")
}

// TestConfigMap swaps the ..data link as the kubelet does.
func TestConfigMap(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	swap := func(version, text string) {
		must(t, os.Mkdir(filepath.Join(dir, version), 0o700))
		write(t, filepath.Join(dir, version, "mesh.yaml"), text)
		must(t, os.Symlink(version, filepath.Join(dir, "..data_tmp")))
		must(t, os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")))
	}
	swap("..1", "one")
	must(t, os.Symlink(filepath.Join("..data", "mesh.yaml"), filepath.Join(dir, "mesh.yaml")))
	folder := start(t, watch.Options{}, dir)
	file := start(t, watch.Options{}, filepath.Join(dir, "mesh.yaml"))
	for _, version := range []string{"..2", "..3"} {
		swap(version, "two")
		wait(t, folder, "a swap, folder watched")
		wait(t, file, "a swap, file watched")
	}
}

func TestTargetElsewhere(t *testing.T) {
	t.Parallel()
	target := filepath.Join(t.TempDir(), "real.yaml")
	write(t, target, "1")
	link := filepath.Join(t.TempDir(), "link.yaml")
	must(t, os.Symlink(target, link))
	calls := start(t, watch.Options{Poll: time.Hour}, link)
	write(t, target, "changed")
	wait(t, calls, "a change behind a link")
}

func TestAppearsLater(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "later")
	calls := start(t, watch.Options{Poll: 20 * time.Millisecond}, filepath.Join(dir, "a.yaml"))
	must(t, os.Mkdir(dir, 0o700))
	write(t, filepath.Join(dir, "a.yaml"), "1")
	wait(t, calls, "its creation with its folder")
}

func TestPoll(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "a.yaml")
	write(t, file, "1")
	// A debounce that never ends leaves only the poll.
	calls := start(t, watch.Options{Poll: 20 * time.Millisecond, Debounce: time.Hour}, file)
	write(t, file, "changed")
	wait(t, calls, "a change found by polling")
}

func TestSetPaths(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a.yaml"), filepath.Join(t.TempDir(), "b.yaml")
	write(t, a, "1")
	write(t, b, "1")
	calls := make(chan struct{}, 10)
	w := watch.New([]string{a}, watch.Options{Debounce: 10 * time.Millisecond, Poll: time.Hour}, func() { calls <- struct{}{} })
	done := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer close(done)
		w.Run(ctx)
	}()
	t.Cleanup(func() { cancel(); <-done })
	w.SetPaths([]string{a, b})
	write(t, b, "changed")
	wait(t, calls, "a change of a path added later")
}

func TestExpand(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"b.yaml", "a.yml", "c.json", "d.txt", ".hidden.yaml"} {
		write(t, filepath.Join(dir, name), "x")
	}
	must(t, os.Mkdir(filepath.Join(dir, "sub.yaml"), 0o700))
	single := filepath.Join(t.TempDir(), "named.conf")
	write(t, single, "x")
	got, err := watch.Expand([]string{single, dir})
	must(t, err)
	want := []string{single, filepath.Join(dir, "a.yml"), filepath.Join(dir, "b.yaml"), filepath.Join(dir, "c.json")}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, err := watch.Expand([]string{t.TempDir()}); !errors.Is(err, watch.ErrNoDocuments) {
		t.Errorf("an empty folder: %v", err)
	}
	if _, err := watch.Expand([]string{filepath.Join(dir, "none")}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
}
