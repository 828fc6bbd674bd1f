package main

import (
	"fmt"
	"io"
	"math"
	"os/exec"
	"runtime"
	"strings"

	"github.com/dragoman-mesh/dragoman/bench/gauge"
)

// results is everything that a run measured.
type results struct {
	Rounds    int            `json:"rounds"`
	CopyBytes int64          `json:"copyBytes"`
	Shapes    []shapeResults `json:"shapes"`
	Memory    []footprint    `json:"memory"`
	Skipped   []string       `json:"skipped"`
}

// shapeResults holds the samples of a shape by contender, one per round.
type shapeResults struct {
	Shape   string              `json:"shape"`
	Samples map[string][]sample `json:"samples"`

	shape shape
}

// Goals, as ratios to a peer, and in bytes.
const (
	goalCPU     = 1.0
	goalP99     = 1.1 // of what is added to direct
	goalCopy    = 0.95
	goalSession = 8 << 10
)

// write prints the report as Markdown.
func (r *results) write(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# Databases\n\n%s\n\n", environment())
	for _, line := range r.Skipped {
		fmt.Fprintf(&b, "Not measured: %s\n\n", line)
	}
	err := gauge.WriteSections(&b,
		gauge.Section{Title: "Goals: dragoman as ratios to its peers", Table: r.goalTable()},
		gauge.Section{Title: "Memory", Table: r.memoryTable()},
		gauge.Section{Title: fmt.Sprintf("Measurements (rounds: %d, COPY of %d MiB)", r.Rounds, r.CopyBytes/mib), Table: r.sampleTable()})
	if err != nil {
		return err
	}
	_, err = io.WriteString(w, b.String())
	return err
}

func cpu(s sample) float64        { return s.CPU }
func p50(s sample) float64        { return s.P50 }
func p99(s sample) float64        { return s.P99 }
func throughput(s sample) float64 { return s.Throughput }

// added is how much p99 a adds to direct, as a ratio to what b adds. Where b
// adds nothing that can be told from noise there is no ratio.
func added(a, b, base []sample) float64 {
	none := gauge.MedianOf(base, p99)
	ours, theirs := gauge.MedianOf(a, p99)-none, gauge.MedianOf(b, p99)-none
	if math.IsNaN(ours) || math.IsNaN(theirs) || theirs < 0.05*none {
		return math.NaN()
	}
	return max(ours, 0.001*none) / theirs
}

// goalTable compares like with like: who keeps sessions with the server for the
// next client with who does, and who passes sessions on one to one with who does.
func (r *results) goalTable() gauge.Table {
	t := gauge.Table{Left: 1, Titles: []string{
		"shape", "session pool: CPU, pgbouncer-session", "CPU, haproxy", "session pool: added p99, pgbouncer-session", "added p99, haproxy",
		"bytes per CPU-second, haproxy", "reached", "no pool: CPU, pgbouncer-session", "relay's CPU, pgbouncer-session", "relay's CPU, haproxy",
	}}
	for _, s := range r.Shapes {
		ours := s.Samples[dragoman]
		if len(ours) == 0 {
			continue
		}
		pooled, bouncer, tcp, base := s.Samples[dragomanPool], s.Samples[pgbouncer], s.Samples[haproxy], s.Samples[direct]
		nan := math.NaN()
		verdicts := []gauge.Verdict{
			{Value: gauge.Ratio(pooled, bouncer, cpu), Goal: goalCPU},
			{Value: gauge.Ratio(ours, tcp, cpu), Goal: goalCPU},
			{Value: added(pooled, bouncer, base), Goal: goalP99},
			{Value: added(ours, tcp, base), Goal: goalP99},
			{Value: nan, Goal: goalCopy, AtLeast: true},
		}
		if s.shape.isCopy() {
			verdicts[0].Value, verdicts[1].Value, verdicts[4].Value = nan, nan, 1/gauge.Ratio(ours, tcp, cpu)
		}
		row, reached := []string{s.Shape}, "yes"
		for _, v := range verdicts {
			row = append(row, v.String())
			if !math.IsNaN(v.Value) && !v.Reached() {
				reached = "no"
			}
		}
		row = append(row, reached)
		for _, r := range []float64{gauge.Ratio(ours, bouncer, cpu), gauge.Ratio(s.Samples[relay], bouncer, cpu), gauge.Ratio(s.Samples[relay], tcp, cpu)} {
			row = append(row, gauge.Number(r))
		}
		t.Add(row...)
	}
	return t
}

func (r *results) sampleTable() gauge.Table {
	t := gauge.Table{Left: 2, Titles: []string{
		"shape", "contender", "tx/s or MiB/s", "p50 ms", "p99 ms", "CPU us/tx or us/MiB", "dragoman's CPU / this",
	}}
	for _, s := range r.Shapes {
		for _, name := range contenderNames() {
			samples := s.Samples[name]
			if len(samples) == 0 {
				continue
			}
			row := []string{s.Shape, name}
			for _, f := range []func(sample) float64{throughput, p50, p99, cpu} {
				row = append(row, gauge.Number(gauge.MedianOf(samples, f)))
			}
			t.Add(append(row, gauge.Number(gauge.Ratio(s.Samples[dragoman], samples, cpu)))...)
		}
	}
	return t
}

func (r *results) memoryTable() gauge.Table {
	t := gauge.Table{Left: 1, Titles: []string{"contender", "idle MiB", "idle sessions", "bytes/session", "reached"}}
	for _, f := range r.Memory {
		idle := gauge.Number(float64(f.Idle) / mib)
		if !isDragoman(f.Contender) {
			t.Add(f.Contender, idle, fmt.Sprint(f.Sessions), gauge.Number(f.perSession()), "")
			continue
		}
		reached := "yes"
		if f.perSession() > goalSession {
			reached = "no"
		}
		t.Add(f.Contender, idle, fmt.Sprint(f.Sessions), fmt.Sprintf("%s (<= %d)", gauge.Number(f.perSession()), goalSession), reached)
	}
	return t
}

// environment says what was measured on.
func environment() string {
	parts := []string{fmt.Sprintf("%d CPUs (%s)", runtime.NumCPU(), gauge.CPUModel()), "Linux/" + runtime.GOARCH, runtime.Version()}
	for _, program := range []string{"psql", "mariadb", "pgbouncer", "sysbench", "haproxy"} {
		flag := "--version"
		if program == "haproxy" {
			flag = "-v"
		}
		out, err := exec.Command(program, flag).Output()
		if err != nil {
			continue // a contender that was not asked for
		}
		line, _, _ := strings.Cut(string(out), "\n")
		parts = append(parts, strings.TrimSpace(line))
	}
	return strings.Join(parts, "; ") + "."
}
