package main

import (
	"fmt"
	"io"
	"math"
	"runtime"
	"strings"

	"github.com/dragoman-mesh/dragoman/bench/gauge"
)

const dragoman = "dragoman"

// sample is one measurement of one contender.
type sample struct {
	CPU  float64 `json:"cpu"`  // microseconds a unit
	Lost float64 `json:"lost"` // share of what was sent
	RSS  float64 `json:"rss"`  // bytes, after it
}

// shapeResults holds the samples of a shape by contender, one per round.
type shapeResults struct {
	Shape   string              `json:"shape"`
	Unit    string              `json:"unit"` // that the CPU time is of
	Peer    string              `json:"peer"`
	Samples map[string][]sample `json:"samples"`

	goal float64 // of the CPU ratio
}

// results is everything that a run measured.
type results struct {
	Rounds   int            `json:"rounds"`
	Lines    int            `json:"lines"`
	Versions []string       `json:"versions"`
	Shapes   []shapeResults `json:"shapes"`
}

func cpu(s sample) float64  { return s.CPU }
func lost(s sample) float64 { return s.Lost }
func rss(s sample) float64  { return s.RSS }

func column(samples []sample, f func(sample) float64) []float64 {
	out := make([]float64, len(samples))
	for i, s := range samples {
		out[i] = f(s)
	}
	return out
}

// ratio is the median of the rounds' ratios.
func ratio(a, b []sample, f func(sample) float64) float64 {
	var values []float64
	for i := range min(len(a), len(b)) {
		if base := f(b[i]); base > 0 {
			values = append(values, f(a[i])/base)
		}
	}
	return gauge.Median(values)
}

// write prints the report as Markdown.
func (r *results) write(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# Metrics\n\n%d CPUs (%s); Linux/%s; %s; %s.\n\n## Goals: dragoman as ratios to its peers\n\n", runtime.NumCPU(), gauge.CPUModel(),
		runtime.GOARCH, runtime.Version(), strings.Join(r.Versions, "; "))
	goals := gauge.Table{Left: 2, Titles: []string{"shape", "peer", "CPU", "lost", "lost by the peer", "reached"}}
	all := gauge.Table{Left: 2, Titles: []string{"shape", "contender", "CPU us", "of", "lost %", "RSS MiB"}}
	for _, s := range r.Shapes {
		ours, theirs := s.Samples[dragoman], s.Samples[s.Peer]
		v := gauge.Verdict{Value: ratio(ours, theirs, cpu), Goal: s.goal}
		ourLoss, theirLoss := gauge.Median(column(ours, lost)), gauge.Median(column(theirs, lost))
		reached := "yes"
		if !v.Reached() || percent(ourLoss) > percent(theirLoss) {
			reached = "no"
		}
		goals.Add(s.Shape, s.Peer, v.String(), fmt.Sprintf("%.1f %%", percent(ourLoss)), fmt.Sprintf("%.1f %%", percent(theirLoss)), reached)
		for _, name := range []string{dragoman, s.Peer} {
			samples := s.Samples[name]
			all.Add(s.Shape, name, gauge.Number(gauge.Median(column(samples, cpu))), s.Unit,
				fmt.Sprintf("%.1f", percent(gauge.Median(column(samples, lost)))), gauge.Number(gauge.Median(column(samples, rss))/(1<<20)))
		}
	}
	if err := goals.Write(&b); err != nil {
		return err
	}
	fmt.Fprintf(&b, "\n## Measurements (rounds: %d)\n\n", r.Rounds)
	if err := all.Write(&b); err != nil {
		return err
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// percent is a share as it is shown.
func percent(share float64) float64 { return math.Round(share*1000) / 10 }
