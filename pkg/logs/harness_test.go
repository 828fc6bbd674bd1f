package logs_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/logs"
	"github.com/dragoman-mesh/dragoman/pkg/logs/parse"
	"github.com/dragoman-mesh/dragoman/pkg/logs/sink/stdout"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

const limit = 60 * time.Second

// output is what the sink writes to. It can be held up.
type output struct {
	mu    sync.Mutex
	data  bytes.Buffer
	err   error         // that writes fail with
	gate  chan struct{} // closed: writes go through; nil: they do, too
	tried int
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	gate := o.gate
	o.tried++
	o.mu.Unlock()
	if gate != nil {
		<-gate
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		return 0, o.err
	}
	return o.data.Write(b)
}

func (o *output) set(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.err = err
}

// rec is one record as it is written.
type rec struct {
	Timestamp      time.Time
	SeverityText   string
	SeverityNumber int
	Body           string
	Attributes     map[string]any
	Resource       map[string]string
}

func (o *output) records(t *testing.T) []rec {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	var out []rec
	for line := range bytes.Lines(o.data.Bytes()) {
		var r rec
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatalf("%v in %q", err, line)
		}
		out = append(out, r)
	}
	return out
}

func (o *output) bodies(t *testing.T) []string {
	t.Helper()
	var out []string
	for _, r := range o.records(t) {
		out = append(out, r.Body)
	}
	return out
}

// rig is a folder with logs, and a pipeline that follows app.log there.
type rig struct {
	t      *testing.T
	dir    string
	out    *output
	config *resource.LogsFilter
	meters *logs.Counters
	line   *logs.Pipeline
	log    *slog.Logger
	n      int // lines written
}

func newRig(t *testing.T) *rig {
	t.Helper()
	dir := t.TempDir()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	return &rig{t: t, dir: dir, out: &output{}, meters: logs.NewCounters("test"), log: log, config: &resource.LogsFilter{
		Sources:   []resource.LogsSource{{Name: "app", Paths: []string{filepath.Join(dir, "app.log")}, Parse: parse.Options{Format: parse.Plain}}},
		Positions: filepath.Join(dir, "positions"), MaxLine: resource.DefaultLogLine, MaxFiles: 100, Rest: 100 * time.Millisecond,
		BatchBytes: resource.DefaultLogBatch, BatchRecords: resource.DefaultLogRecords, BatchInterval: 10 * time.Millisecond, Sink: &resource.LogsStdout{},
	}}
}

// awaitRetries waits until batches have been refused so often.
func (r *rig) awaitRetries(n float64) {
	r.t.Helper()
	redistest.Eventually(r.t, limit, "retries", func() error {
		if got := value(r.meters.Retries); got < n {
			return fmt.Errorf("%v", got)
		}
		return nil
	})
}

// awaitLag waits until so many bytes are known that are not delivered.
func (r *rig) awaitLag(n int64) {
	r.t.Helper()
	redistest.Eventually(r.t, limit, "lag", func() error {
		if lag := r.line.Lag()["app"]; lag < n {
			return fmt.Errorf("it is %d", lag)
		}
		return nil
	})
}

// awaitAttempt waits until something has been written to the output, or waits there.
func (r *rig) awaitAttempt() {
	r.t.Helper()
	redistest.Eventually(r.t, limit, "an attempt", func() error {
		r.out.mu.Lock()
		defer r.out.mu.Unlock()
		if r.out.tried == 0 {
			return errors.New("none yet")
		}
		return nil
	})
}

func (r *rig) path(name string) string { return filepath.Join(r.dir, name) }

func (r *rig) build() *logs.Pipeline {
	r.t.Helper()
	p, err := logs.New(logs.Options{
		Config: r.config, Sink: stdout.New(r.out), Metrics: r.meters, Log: r.log,
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return p
}

// start runs a pipeline until the test is over, or until stop.
func (r *rig) start() {
	r.t.Helper()
	p := r.build()
	p.Start(nil)
	r.line = p
	r.t.Cleanup(func() { p.Stop(); p.Close() })
}

func (r *rig) stop() {
	r.line.Stop()
	r.line.Close()
}

// crash leaves the positions as they are on disk.
func (r *rig) restart() {
	r.t.Helper()
	r.stop()
	r.start()
}

// write appends numbered lines to a file.
func (r *rig) write(name string, n int) {
	r.t.Helper()
	var b strings.Builder
	for range n {
		r.n++
		fmt.Fprintf(&b, "line %06d of a log that is written by a test\n", r.n)
	}
	r.append(name, b.String())
}

func (r *rig) append(name, text string) {
	r.t.Helper()
	f, err := os.OpenFile(r.path(name), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		r.t.Fatal(err)
	}
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Close()); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) rename(from, to string) {
	r.t.Helper()
	if err := os.Rename(r.path(from), r.path(to)); err != nil {
		r.t.Fatal(err)
	}
}

// copyTruncate is what logrotate does with copytruncate.
func (r *rig) copyTruncate(from, to string) {
	r.t.Helper()
	data, err := os.ReadFile(r.path(from))
	if err == nil {
		err = os.WriteFile(r.path(to), data, 0o600)
	}
	if err == nil {
		err = os.Truncate(r.path(from), 0)
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) remove(name string) {
	r.t.Helper()
	if err := os.Remove(r.path(name)); err != nil {
		r.t.Fatal(err)
	}
}

// await waits until so many records have come.
func (r *rig) await(n int) {
	r.t.Helper()
	redistest.Eventually(r.t, limit, "records", func() error {
		if got := len(r.out.bodies(r.t)); got < n {
			return fmt.Errorf("%d of %d", got, n)
		}
		return nil
	})
}

// want waits for all lines that were written, and says which are missing, and
// which came twice or in another order.
func (r *rig) want() {
	r.t.Helper()
	r.await(r.n)
	var want []string
	for i := range r.n {
		want = append(want, fmt.Sprintf("line %06d of a log that is written by a test", i+1))
	}
	if diff := cmp.Diff(want, r.out.bodies(r.t)); diff != "" {
		r.t.Errorf("records (-want +got):\n%s", diff)
	}
}

// wantAll is want in any order.
func (r *rig) wantAll() {
	r.t.Helper()
	r.await(r.n)
	var want []string
	for i := range r.n {
		want = append(want, fmt.Sprintf("line %06d of a log that is written by a test", i+1))
	}
	got := r.out.bodies(r.t)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		r.t.Errorf("records (-want +got):\n%s", diff)
	}
}

func (r *rig) drain() {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), limit)
	defer cancel()
	if err := r.line.Drain(ctx); err != nil {
		r.t.Fatal(err)
	}
}

// value reads a counter.
func value(c prometheus.Counter) float64 {
	var m dto.Metric
	if err := c.Write(&m); err != nil {
		panic(err)
	}
	return m.GetCounter().GetValue()
}
