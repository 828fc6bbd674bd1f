package main

import (
	"fmt"
	"io"
	"math"
	"runtime"
	"time"

	"github.com/dragoman-mesh/dragoman/bench/gauge"
)

// results is everything that a run measured.
type results struct {
	Rounds int            `json:"rounds"`
	Time   time.Duration  `json:"time"`
	Shapes []shapeResults `json:"shapes"`
	// Skipped is what was not measured, and why.
	Skipped []string `json:"skipped,omitempty"`
}

// shapeResults holds the samples of a shape by contender, one per round.
type shapeResults struct {
	Shape   string              `json:"shape"`
	Samples map[string][]sample `json:"samples"`

	shape shape
}

// Goals: as ratios of CPU time to HAProxy and to a program written by hand, and in
// us above what HAProxy adds.
const (
	goalCPU        = 1.5
	goalConversion = 1.3
	goalP50        = 60
)

func cpu(s sample) float64        { return s.CPU }
func p50(s sample) float64        { return s.P50 }
func p99(s sample) float64        { return s.P99 }
func throughput(s sample) float64 { return s.Throughput }
func rss(s sample) float64        { return s.RSS }

// write prints the report as Markdown.
func (r *results) write(w io.Writer) error {
	fmt.Fprintf(w, "# HTTP\n\n%d CPUs (%s), %s, %s, %s, %s; %d rounds of %v.\n\n", runtime.NumCPU(), gauge.CPUModel(), runtime.Version(),
		gauge.Version("haproxy", "-v"), nginx, "origin: nginx", r.Rounds, r.Time)
	for _, s := range r.Skipped {
		fmt.Fprintf(w, "Not measured: %s\n\n", s)
	}
	return gauge.WriteSections(w,
		gauge.Section{Title: "Goals: dragoman and its peers", Table: r.goalTable()},
		gauge.Section{Title: "Measurements", Table: r.sampleTable()})
}

func (r *results) goalTable() gauge.Table {
	t := gauge.Table{Left: 2, Titles: []string{"shape", "peer", "CPU / the peer's", "p50 above the peer's, us", "CPU / nginx'"}}
	for _, s := range r.Shapes {
		terms := s.shape.kind.terms()
		ours, theirs := s.Samples[dragoman], s.Samples[terms.peer]
		latency := gauge.Verdict{Value: gauge.Difference(ours, theirs, p50)}
		if s.shape.clients == 1 && s.shape.kind == plain {
			latency.Goal = goalP50
		}
		t.Add(s.Shape, terms.peer, gauge.Verdict{Value: gauge.Ratio(ours, theirs, cpu), Goal: terms.goal}.String(), latency.String(),
			gauge.Number(gauge.Ratio(ours, s.Samples[nginx], cpu)))
	}
	return t
}

func (r *results) sampleTable() gauge.Table {
	t := gauge.Table{Left: 2, Titles: []string{"shape", "contender", "requests/s", "p50 us", "p99 us", "CPU us/request", "RSS MiB"}}
	for _, s := range r.Shapes {
		for _, name := range contenderNames() {
			samples := s.Samples[name]
			if len(samples) == 0 {
				continue
			}
			row := []string{s.Shape, name}
			for _, f := range []func(sample) float64{throughput, p50, p99, cpu, rss} {
				v := gauge.MedianOf(samples, f)
				if v == 0 {
					v = math.NaN()
				}
				row = append(row, gauge.Number(v))
			}
			t.Add(row...)
		}
	}
	return t
}
