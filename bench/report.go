package main

import (
	"fmt"
	"io"
	"math"
	"runtime"
	"strings"

	"github.com/dragoman-mesh/dragoman/bench/gauge"
)

// results is everything that a run measured.
type results struct {
	Rounds int            `json:"rounds"`
	Shapes []shapeResults `json:"shapes"`
	Memory []footprint    `json:"memory"`
}

// shapeResults holds the samples of a shape by contender, one per round.
type shapeResults struct {
	Shape   string              `json:"shape"`
	Samples map[string][]sample `json:"samples"`

	shape shape
}

// write prints the report as Markdown.
func (r *results) write(w io.Writer) error {
	if _, err := fmt.Fprintf(w, "# Benchmark\n\n%s\n\n", environment()); err != nil {
		return err
	}
	return gauge.WriteSections(w,
		gauge.Section{Title: "Goals: dragoman as ratios to nutcracker", Table: r.goalTable()},
		gauge.Section{Title: "Memory", Table: r.memoryTable()},
		gauge.Section{Title: fmt.Sprintf("Measurements (rounds: %d)", r.Rounds), Table: r.sampleTable()})
}

func (r *results) goalTable() gauge.Table {
	t := gauge.Table{Left: 1, Titles: []string{
		"shape", "throughput", "p99", "CPU/request", "CPU/request, tuned", "reached", "relay's CPU", "haproxy's",
	}}
	for _, s := range r.Shapes {
		ours, theirs, tuned := s.Samples[dragoman], s.Samples[nutcracker], s.Samples[nutcrackerTuned]
		if len(ours) == 0 || len(theirs) == 0 {
			continue
		}
		g := s.shape.goals()
		verdicts := []gauge.Verdict{
			{Value: gauge.Ratio(ours, theirs, throughput), Goal: g.throughput, AtLeast: true},
			{Value: gauge.Ratio(ours, theirs, p99), Goal: g.p99, AtLeast: false},
			{Value: gauge.Ratio(ours, theirs, cpu), Goal: g.cpu, AtLeast: false},
			{Value: gauge.Ratio(ours, tuned, cpu), Goal: g.cpuTuned, AtLeast: false},
		}
		row, reached := []string{s.Shape}, "yes"
		for _, v := range verdicts {
			row = append(row, v.String())
			if v.Goal > 0 && !math.IsNaN(v.Value) && !v.Reached() {
				reached = "no"
			}
		}
		row = append(row, reached)
		for _, floor := range []string{relay, haproxy} {
			row = append(row, gauge.Number(gauge.Ratio(s.Samples[floor], theirs, cpu)))
		}
		t.Add(row...)
	}
	return t
}

func (r *results) sampleTable() gauge.Table {
	t := gauge.Table{Left: 2, Titles: []string{
		"shape", "contender", "requests/s", "p50 ms", "p99 ms", "CPU us/request", "RSS MiB",
		"throughput", "p99", "CPU",
	}}
	for _, s := range r.Shapes {
		base := s.Samples[nutcracker]
		for _, name := range contenderNames() {
			samples := s.Samples[name]
			if len(samples) == 0 {
				continue
			}
			row := []string{s.Shape, name}
			for _, f := range []func(sample) float64{throughput, p50, p99, cpu, memory} {
				row = append(row, gauge.Number(gauge.MedianOf(samples, f)))
			}
			for _, f := range []func(sample) float64{throughput, p99, cpu} {
				row = append(row, gauge.Number(gauge.Ratio(samples, base, f)))
			}
			t.Add(row...)
		}
	}
	return t
}

// Goals for memory, in MiB and bytes.
const (
	goalIdle      = 20
	goalPerClient = 1024
	goalAfterLoad = 40
)

func (r *results) memoryTable() gauge.Table {
	t := gauge.Table{Left: 1, Titles: []string{
		"contender", "idle MiB", "idle clients", "bytes/idle client", "MiB after 500 clients x 16", "reached",
	}}
	const mib = 1 << 20
	for _, f := range r.Memory {
		idle, load := float64(f.Idle)/mib, float64(f.AfterLoad)/mib
		if f.Contender != dragoman {
			t.Add(f.Contender, gauge.Number(idle), fmt.Sprint(f.IdleClients), gauge.Number(f.perClient()), gauge.Number(load), "")
			continue
		}
		reached := "yes"
		if idle > goalIdle || f.perClient() > goalPerClient || load > goalAfterLoad {
			reached = "no"
		}
		t.Add(f.Contender, fmt.Sprintf("%s (<= %d)", gauge.Number(idle), goalIdle), fmt.Sprint(f.IdleClients),
			fmt.Sprintf("%s (<= %d)", gauge.Number(f.perClient()), goalPerClient),
			fmt.Sprintf("%s (<= %d)", gauge.Number(load), goalAfterLoad), reached)
	}
	return t
}

// environment says what was measured on.
func environment() string {
	parts := []string{fmt.Sprintf("%d CPUs (%s)", runtime.NumCPU(), gauge.CPUModel()), "Linux/" + runtime.GOARCH, runtime.Version()}
	for _, v := range [][]string{{"redis-server", "-v"}, {"nutcracker", "-V"}, {"haproxy", "-v"}} {
		parts = append(parts, gauge.Version(v[0], v[1]))
	}
	return strings.Join(parts, "; ") + "."
}
