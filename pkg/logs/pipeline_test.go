package logs_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/logs/parse"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// TestSinkDown: reading pauses once the batches are full, so that memory is
// bounded, and nothing is lost.
func TestSinkDown(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.config.BatchRecords = 10
	r.write("app.log", 1)
	r.start()
	r.await(1)
	r.out.set(errors.New("the pipe is gone"))
	for range 100 {
		r.write("app.log", 10)
	}
	r.rename("app.log", "app.log.1")
	for range 100 {
		r.write("app.log", 10)
	}
	r.awaitRetries(2)
	if n := value(r.meters.Lines.WithLabelValues("app")); n > 1100 {
		t.Errorf("%v lines were read though nobody takes them", n)
	}
	if lag := r.line.Lag()["app"]; lag < 10 {
		t.Errorf("lag is %d", lag)
	}
	r.out.set(nil)
	r.want()
	redistest.Eventually(t, limit, "no lag", func() error {
		if lag := r.line.Lag()["app"]; lag != 0 {
			return fmt.Errorf("it is %d", lag)
		}
		return nil
	})
}

// TestDeletedWhileTheSinkIsDown: files that come while nothing is taken are opened,
// and so can be deleted.
func TestDeletedWhileTheSinkIsDown(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.config.BatchRecords = 10
	r.write("app.log", 1)
	r.start()
	r.await(1)
	r.out.set(errors.New("the pipe is gone"))
	r.write("app.log", 500)
	r.awaitRetries(2)
	r.rename("app.log", "app.log.1")
	r.write("app.log", 500)
	r.awaitLag(700 * 40) // the new file is known
	r.remove("app.log.1")
	r.remove("app.log")
	r.out.set(nil)
	r.want()
}

// TestRotatedWhileTheSinkIsStuck: what was written to a file while its lines waited for the sink comes before the lines of its successor.
func TestRotatedWhileTheSinkIsStuck(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.config.BatchRecords = 10
	gate := make(chan struct{})
	r.out.gate = gate
	r.write("app.log", 500)
	r.start()
	r.awaitLag(400 * 40)
	r.awaitAttempt()
	r.write("app.log", 100)
	r.rename("app.log", "app.log.1")
	r.write("app.log", 300)
	r.awaitLag(850 * 40)
	close(gate)
	r.want()
}

// TestStuckSink: a pipe that nobody reads holds up neither a change nor the end.
func TestStuckSink(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	gate := make(chan struct{})
	r.out.gate = gate
	r.write("app.log", 10)
	r.start()
	r.awaitAttempt()
	r.stop() // returns, or the test hangs
	close(gate)
}

// TestReload: a successor goes on where the one before was, with files that have
// been deleted meanwhile, too; sources come and go.
func TestReload(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.config.BatchRecords = 10
	r.write("app.log", 100)
	r.start()
	r.await(100)
	r.out.set(errors.New("not now"))
	r.write("app.log", 500)
	r.awaitRetries(1)
	r.remove("app.log")
	r.append("second.log", "second\n")
	before, config := r.line, *r.config
	config.Sources = append(config.Sources, resource.LogsSource{Name: "second", Paths: []string{r.path("second.log")}})
	r.config = &config
	next := r.build()
	before.Stop()
	r.out.set(nil)
	next.Start(before)
	r.line = next
	t.Cleanup(func() { next.Stop(); next.Close() })
	r.await(601)
	var lines []string
	second := 0
	for _, b := range r.out.bodies(t) {
		if b == "second" {
			second++
			continue
		}
		lines = append(lines, b)
	}
	if second != 1 || len(lines) != 600 {
		t.Errorf("%d lines, and %d of the new source", len(lines), second)
	}
	for i, line := range lines {
		if !strings.HasPrefix(line, fmt.Sprintf("line %06d", i+1)) {
			t.Fatalf("line %d is %q", i+1, line)
		}
	}
}

// TestDrain delivers what is there, the event under way included.
func TestDrain(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.config.BatchInterval = time.Hour
	r.config.Sources[0].Multiline = &resource.LogsMultiline{Start: "^line", MaxLines: 10, Timeout: time.Hour}
	r.write("app.log", 100)
	r.start()
	r.drain()
	r.want()
}

// TestDrainInTime: a sink that takes nothing does not hold the end up, and what it
// has not taken comes after the next start.
func TestDrainInTime(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.out.set(errors.New("not now"))
	r.write("app.log", 10)
	r.start()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := r.line.Drain(ctx); err == nil {
		t.Error("all is said to be delivered")
	}
	r.out.set(nil)
	r.start()
	r.want()
}

// TestMultiline: events over rotation and restarts, with limits.
func TestMultiline(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.config.Sources[0].Multiline = &resource.LogsMultiline{Start: `^\S`, MaxLines: 3, Timeout: 3 * time.Second} // longer than a slow machine takes between two lines
	r.append("app.log", "A\n a\nB\n b")
	r.start()
	r.await(1)
	r.append("app.log", "bb\n")
	r.rename("app.log", "app.log.1")
	r.append("app.log", " b2\nC\n")
	r.await(3)
	r.append("app.log", "D\n 1\n 2\n 3\n 4\nE\n")
	r.await(6)
	if diff := cmp.Diff([]string{"A\n a", "B\n bbb\n b2", "C", "D\n 1\n 2", " 3\n 4", "E"}, r.out.bodies(t)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestMultilineCrash: of an event that was under way all comes again.
func TestMultilineCrash(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.config.Sources[0].Multiline = &resource.LogsMultiline{Start: `^\S`, MaxLines: 100, Timeout: time.Hour}
	r.append("app.log", "A\n a\nB\n b\n")
	r.start()
	r.await(1)
	r.stop() // B is not whole
	r.rename("app.log", "app.log.1")
	r.append("app.log", " b2\nC\n c\n")
	r.start()
	r.await(2)
	r.restart()
	r.append("app.log", "D\n")
	r.await(3)
	if diff := cmp.Diff([]string{"A\n a", "B\n b\n b2", "C\n c"}, r.out.bodies(t)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestRuntime: parts of lines are put together, for each stream by itself.
func TestRuntime(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	pod := "pods/shop_web-0_6a2f/nginx"
	if err := os.MkdirAll(r.path(pod), 0o700); err != nil {
		t.Fatal(err)
	}
	s := &r.config.Sources[0]
	s.Paths, s.Runtime, s.Parse = []string{r.path("pods/*/*/*.log")}, parse.CRI, parse.Options{Format: parse.JSON}
	const at = "2026-01-02T15:04:05.000000001Z"
	r.append(pod+"/0.log", at+` stdout P {"level":"info",`+"\n"+at+` stderr F oops`+"\n"+at+` stdout P "msg":`+"\n"+at+` stdout F "whole"}`+"\nnot of the runtime\n")
	r.start()
	r.await(3)
	got := r.out.records(t)
	for i := range got {
		delete(got[i].Resource, "log.file.path")
		got[i].Timestamp = got[i].Timestamp.UTC()
	}
	resource := map[string]string{"k8s.namespace.name": "shop", "k8s.pod.name": "web-0", "k8s.pod.uid": "6a2f", "k8s.container.name": "nginx"}
	when := time.Date(2026, 1, 2, 15, 4, 5, 1, time.UTC)
	want := []rec{
		{Timestamp: when, Body: "oops", Attributes: map[string]any{"log.iostream": "stderr", "log.unparsed": true}, Resource: resource},
		{Timestamp: when, SeverityText: "info", SeverityNumber: 9, Body: "whole", Attributes: map[string]any{"log.iostream": "stdout"}, Resource: resource},
		{Timestamp: got[2].Timestamp, Body: "not of the runtime", Attributes: map[string]any{"log.unparsed": true}, Resource: resource},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestLimits: long lines are cut or dropped, lines of no format kept or dropped,
// and all of it is counted.
func TestLimits(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.config.MaxLine = 1024
	r.config.Sources[0].Parse.Format = parse.JSON
	r.config.Sources = append(r.config.Sources, resource.LogsSource{
		Name: "strict", Paths: []string{r.path("strict.log")}, Parse: parse.Options{Format: parse.JSON}, DropLong: true, DropUnparsed: true,
	})
	for _, file := range []string{"app.log", "strict.log"} {
		r.append(file, "{\"msg\":\"first\"}\n"+strings.Repeat("x", 1_000_000)+"\n"+strings.Repeat("y", 2000)+"\nodd \xff\x00 line\n{\"msg\":\"last\"}\n")
	}
	r.start()
	r.await(7)
	var got []string
	for _, rec := range r.out.records(t) {
		if cut, _ := rec.Attributes["log.truncated"].(bool); cut && len(rec.Body) == 1024 {
			body := rec.Body
			got = append(got, body[:1]+"...")
			continue
		}
		got = append(got, rec.Body)
	}
	count := map[string]int{}
	for _, b := range got {
		count[b]++
	}
	want := map[string]int{"first": 2, "x...": 1, "y...": 1, "odd \uFFFD\x00 line": 1, "last": 2}
	if diff := cmp.Diff(want, count); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for reason, n := range map[string]float64{"too_long": 2, "unparsable": 1} {
		if got := value(r.meters.Dropped.WithLabelValues("strict", reason)); got != n {
			t.Errorf("%v dropped as %s, want %v", got, reason, n)
		}
		if got := value(r.meters.Dropped.WithLabelValues("app", reason)); got != 0 {
			t.Errorf("%v of app dropped as %s", got, reason)
		}
	}
	redistest.Eventually(t, limit, "counters", func() error {
		if n := value(r.meters.Cut.WithLabelValues("app")); n != 2 {
			return fmt.Errorf("%v lines are said to be cut", n)
		}
		if n := value(r.meters.Lines.WithLabelValues("app")); n != 5 {
			return fmt.Errorf("%v lines are said to be read", n)
		}
		return nil
	})
}

// TestHole: an app that writes on at its old offset after its file was truncated
// leaves zeros before the next line.
func TestHole(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	f, err := os.Create(r.path("app.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(strings.Repeat(strings.Repeat("before ", 10)+"\n", 10_000)); err != nil {
		t.Fatal(err)
	}
	r.start()
	r.await(10_000)
	if err := os.Truncate(f.Name(), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("after\n"); err != nil { // at 710000
		t.Fatal(err)
	}
	r.await(10_001)
	bodies := r.out.bodies(t)
	if got := bodies[len(bodies)-1]; got != "after" || len(bodies) != 10_001 {
		t.Errorf("%d records, the last is %.40q", len(bodies), got)
	}
}

// TestFiles: more files than may be open wait their turn.
func TestFiles(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.config.MaxFiles = 3
	r.config.Sources[0].Paths = []string{r.path("f*.log")}
	for i := range 5 {
		r.write(fmt.Sprintf("f%d.log", i), 1)
	}
	r.start()
	r.await(3)
	r.remove("f0.log")
	r.remove("f1.log")
	r.wantAll()
}
