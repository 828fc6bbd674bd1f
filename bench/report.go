package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"runtime"
	"strings"
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
	sections := []struct {
		title string
		table table
	}{
		{"Goals: dragoman as ratios to nutcracker", r.goalTable()},
		{"Memory", r.memoryTable()},
		{fmt.Sprintf("Measurements (rounds: %d)", r.Rounds), r.sampleTable()},
	}
	for _, s := range sections {
		if len(s.table.rows) == 0 {
			continue
		}
		if _, err := fmt.Fprintf(w, "## %s\n\n", s.title); err != nil {
			return err
		}
		if err := s.table.write(w); err != nil {
			return err
		}
		if _, err := fmt.Fprintln(w); err != nil {
			return err
		}
	}
	return nil
}

func (r *results) goalTable() table {
	t := table{left: 1, titles: []string{
		"shape", "throughput", "p99", "CPU/request", "CPU/request, tuned", "reached",
	}}
	for _, s := range r.Shapes {
		ours, theirs, tuned := s.Samples[dragoman], s.Samples[nutcracker], s.Samples[nutcrackerTuned]
		if len(ours) == 0 || len(theirs) == 0 {
			continue
		}
		g := s.shape.goals()
		verdicts := []verdict{
			{ratio(ours, theirs, throughput), g.throughput, true},
			{ratio(ours, theirs, p99), g.p99, false},
			{ratio(ours, theirs, cpu), g.cpu, false},
			{ratio(ours, tuned, cpu), g.cpuTuned, false},
		}
		row, reached := []string{s.Shape}, "yes"
		for _, v := range verdicts {
			row = append(row, v.String())
			if v.goal > 0 && !math.IsNaN(v.value) && !v.reached() {
				reached = "no"
			}
		}
		t.add(append(row, reached)...)
	}
	return t
}

func (r *results) sampleTable() table {
	t := table{left: 2, titles: []string{
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
			for _, f := range []field{throughput, p50, p99, cpu, memory} {
				row = append(row, number(medianOf(samples, f)))
			}
			for _, f := range []field{throughput, p99, cpu} {
				row = append(row, number(ratio(samples, base, f)))
			}
			t.add(row...)
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

func (r *results) memoryTable() table {
	t := table{left: 1, titles: []string{
		"contender", "idle MiB", "idle clients", "bytes/idle client", "MiB after 500 clients x 16", "reached",
	}}
	const mib = 1 << 20
	for _, f := range r.Memory {
		idle, load := float64(f.Idle)/mib, float64(f.AfterLoad)/mib
		if f.Contender != dragoman {
			t.add(f.Contender, number(idle), fmt.Sprint(f.IdleClients), number(f.perClient()), number(load), "")
			continue
		}
		reached := "yes"
		if idle > goalIdle || f.perClient() > goalPerClient || load > goalAfterLoad {
			reached = "no"
		}
		t.add(f.Contender, fmt.Sprintf("%s (<= %d)", number(idle), goalIdle), fmt.Sprint(f.IdleClients),
			fmt.Sprintf("%s (<= %d)", number(f.perClient()), goalPerClient),
			fmt.Sprintf("%s (<= %d)", number(load), goalAfterLoad), reached)
	}
	return t
}

// environment says what was measured on.
func environment() string {
	parts := []string{fmt.Sprintf("%d CPUs (%s)", runtime.NumCPU(), cpuModel()), "Linux/" + runtime.GOARCH, runtime.Version()}
	for _, v := range [][]string{{"redis-server", "-v"}, {"nutcracker", "-V"}, {"haproxy", "-v"}} {
		parts = append(parts, version(v[0], v[1]))
	}
	return strings.Join(parts, "; ") + "."
}

// version is the first line that a program says of itself, as far as its
// number.
func version(program, flag string) string {
	out, err := exec.Command(program, flag).CombinedOutput()
	if err != nil && len(out) == 0 {
		return "no " + program
	}
	for word := range strings.FieldsSeq(string(out)) {
		number := strings.TrimPrefix(strings.TrimPrefix(word, "v="), "nutcracker-")
		if strings.Count(number, ".") >= 2 && number[0] >= '0' && number[0] <= '9' {
			return program + " " + number
		}
	}
	return program
}

func cpuModel() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}
