package main

import (
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/bench/gauge"
	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
)

func TestParsePgbench(t *testing.T) {
	t.Parallel()
	text := "transaction type: <builtin: select only>\nnumber of transactions actually processed: 1234\n" +
		"number of failed transactions: 0 (0.000%)\nlatency average = 0.3 ms\ntps = 678.5 (without initial connection time)\n"
	got, err := parsePgbench(text)
	if want := (sample{Throughput: 678.5, units: 1234}); err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	for name, text := range map[string]string{
		"failures":  strings.Replace(text, "failed transactions: 0", "failed transactions: 3", 1),
		"no report": "pgbench: error: connection refused",
	} {
		if _, err := parsePgbench(text); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestParseSysbench(t *testing.T) {
	t.Parallel()
	got, err := parseSysbench("    transactions:                        5000   (2499.50 per sec.)\n" +
		"         avg:                                    0.25\n         99th percentile:                        0.80\n")
	if want := (sample{Throughput: 2499.5, P50: .25, P99: .8, units: 5000}); err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	if _, err := parseSysbench("FATAL: cannot connect"); err == nil {
		t.Error("no error without a report")
	}
}

func TestReadTimes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, err := readTimes(dir); err == nil {
		t.Error("no error without a log")
	}
	for name, text := range map[string]string{
		"pgbench_log.1":   "0 1 3000 0 1 2\n0 2 1000 0 1 2\n0 3",
		"pgbench_log.1.1": "1 1 2000 0 1 2\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := readTimes(dir)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]float64{1, 2, 3}, got); diff != "" {
		t.Errorf("times (-want +got):\n%s", diff)
	}
	if p50, p99 := percentile(got, .5), percentile(got, .99); p50 != 2 || p99 != 3 {
		t.Errorf("percentiles %v and %v", p50, p99)
	}
}

func TestAdded(t *testing.T) {
	t.Parallel()
	at := func(ms float64) []sample { return []sample{{P99: ms}} }
	if got := added(at(3), at(2), at(1)); got != 2 {
		t.Errorf("2 ms against 1 ms more: %v", got)
	}
	if got := added(at(3), at(1.01), at(1)); !math.IsNaN(got) {
		t.Errorf("against next to nothing: %v, want none", got)
	}
	if got := added(nil, at(2), at(1)); !math.IsNaN(got) {
		t.Errorf("of nothing: %v, want none", got)
	}
}

func TestRepeated(t *testing.T) {
	t.Parallel()
	got, err := io.ReadAll(&repeated{row: []byte("abc\n"), left: 10})
	if err != nil || string(got) != "abc\nabc\nab" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestParseOptions(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"-rounds", "0"}, {"-time", "1ms"}, {"-idle", "9999"}, {"-copy-bytes", "1"}} {
		if _, err := parseOptions(args, io.Discard); err == nil {
			t.Errorf("%v: no error", args)
		}
	}
	o, err := parseOptions([]string{"-quick", "-rounds", "4"}, io.Discard)
	if err != nil || o.Rounds != 4 || o.runTime != time.Second/2 || o.idle != 200 {
		t.Errorf("-quick -rounds 4: %+v, %v", o, err)
	}
}

// TestMeshConfig: the proxy must accept what the benchmark gives it.
func TestMeshConfig(t *testing.T) {
	t.Parallel()
	for _, doc := range []string{
		meshConfig(mariadb, 3306, 3307, "/run/password"), meshConfig(postgres, 5432, 5433, "/run/password"),
		meshConfig(postgres, 5432, 5433, "/run/password") + poolConfig(dragomanPool), meshConfig(postgres, 5432, 5433, "/run/password") + poolConfig(dragomanTrans),
	} {
		objects, errs := mesh.Decode("mesh.yaml", []byte(doc))
		if len(errs) > 0 {
			t.Fatal(errs)
		}
		if errs := mesh.Validate(objects); len(errs) > 0 {
			t.Fatal(errs)
		}
	}
}

// TestEndToEnd measures a little through real servers and peers.
func TestEndToEnd(t *testing.T) {
	t.Parallel()
	names := []string{pgbouncer, pgbouncerTrans, haproxy, relay, direct}
	o := &options{
		Options: gauge.Options{Rounds: 1, Contenders: names, Shapes: regexp.MustCompile(`simple, 1 client|COPY|MariaDB.*1 client`)},
		runTime: 200 * time.Millisecond, copyBytes: 1 << 20, memory: true, idle: 5,
	}
	r, err := onTestbed(t.Context(), o, func(tb *testbed) (*results, error) { return measureAll(t.Context(), tb, o) })
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Shapes) != 4 || len(r.Memory) != 4 {
		t.Fatalf("%d shapes and memory of %d, want 4 and 4", len(r.Shapes), len(r.Memory))
	}
	for _, s := range r.Shapes {
		for _, name := range names {
			got := s.Samples[name]
			switch {
			case !s.shape.suits(name):
				continue
			case len(got) != 1:
				t.Errorf("%s, %s: %d samples, want 1", s.Shape, name, len(got))
			case got[0].Throughput <= 0 || (name == direct) != (got[0].CPU == 0):
				t.Errorf("%s, %s: %+v", s.Shape, name, got[0])
			}
		}
	}
	var b strings.Builder
	if err := r.write(&b); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), dbtest.Password) || !strings.Contains(b.String(), "pgbouncer-session") {
		t.Errorf("report:\n%s", b.String())
	}
}
