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

func medianOf(samples []sample, f func(sample) float64) float64 {
	var values []float64
	for _, s := range samples {
		values = append(values, f(s))
	}
	return gauge.Median(values)
}

// compared is the median of what with makes of the rounds of a and b, which were
// measured one after the other.
func compared(a, b []sample, f func(sample) float64, with func(x, y float64) float64) float64 {
	var values []float64
	for i := range min(len(a), len(b)) {
		values = append(values, with(f(a[i]), f(b[i])))
	}
	return gauge.Median(values)
}

func quotient(x, y float64) float64   { return x / y }
func difference(x, y float64) float64 { return x - y }

// write prints the report as Markdown.
func (r *results) write(w io.Writer) error {
	fmt.Fprintf(w, "# HTTP\n\n%d CPUs (%s), %s, %s, %s, %s; %d rounds of %v.\n\n", runtime.NumCPU(), gauge.CPUModel(), runtime.Version(),
		gauge.Version("haproxy", "-v"), nginx, "origin: nginx", r.Rounds, r.Time)
	for _, s := range r.Skipped {
		fmt.Fprintf(w, "Not measured: %s\n\n", s)
	}
	fmt.Fprintf(w, "## Goals: dragoman and its peers\n\n")
	goals := r.goalTable()
	if err := goals.Write(w); err != nil {
		return err
	}
	fmt.Fprintf(w, "\n## Measurements\n\n")
	samples := r.sampleTable()
	return samples.Write(w)
}

func (r *results) goalTable() gauge.Table {
	t := gauge.Table{Left: 2, Titles: []string{"shape", "peer", "CPU / the peer's", "p50 above the peer's, us", "CPU / nginx'"}}
	for _, s := range r.Shapes {
		terms := s.shape.kind.terms()
		ours, theirs := s.Samples[dragoman], s.Samples[terms.peer]
		latency := gauge.Verdict{Value: compared(ours, theirs, p50, difference)}
		if s.shape.clients == 1 && s.shape.kind == plain {
			latency.Goal = goalP50
		}
		t.Add(s.Shape, terms.peer, gauge.Verdict{Value: compared(ours, theirs, cpu, quotient), Goal: terms.goal}.String(), latency.String(),
			gauge.Number(compared(ours, s.Samples[nginx], cpu, quotient)))
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
				v := medianOf(samples, f)
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
