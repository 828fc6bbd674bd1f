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

// write prints the report as Markdown.
func (r *results) write(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# Metrics\n\n%d CPUs (%s); Linux/%s; %s; %s.\n\n", runtime.NumCPU(), gauge.CPUModel(),
		runtime.GOARCH, runtime.Version(), strings.Join(r.Versions, "; "))
	goals := gauge.Table{Left: 2, Titles: []string{"shape", "peer", "CPU", "lost", "lost by the peer", "reached"}}
	all := gauge.Table{Left: 2, Titles: []string{"shape", "contender", "CPU us", "of", "lost %", "RSS MiB"}}
	for _, s := range r.Shapes {
		ours, theirs := s.Samples[dragoman], s.Samples[s.Peer]
		v := gauge.Verdict{Value: gauge.Ratio(ours, theirs, cpu), Goal: s.goal}
		ourLoss, theirLoss := gauge.MedianOf(ours, lost), gauge.MedianOf(theirs, lost)
		reached := "yes"
		if !v.Reached() || percent(ourLoss) > percent(theirLoss) {
			reached = "no"
		}
		goals.Add(s.Shape, s.Peer, v.String(), fmt.Sprintf("%.1f %%", percent(ourLoss)), fmt.Sprintf("%.1f %%", percent(theirLoss)), reached)
		for _, name := range []string{dragoman, s.Peer} {
			samples := s.Samples[name]
			all.Add(s.Shape, name, gauge.Number(gauge.MedianOf(samples, cpu)), s.Unit,
				fmt.Sprintf("%.1f", percent(gauge.MedianOf(samples, lost))), gauge.Number(gauge.MedianOf(samples, rss)/(1<<20)))
		}
	}
	err := gauge.WriteSections(&b,
		gauge.Section{Title: "Goals: dragoman as ratios to its peers", Table: goals},
		gauge.Section{Title: fmt.Sprintf("Measurements (rounds: %d)", r.Rounds), Table: all})
	if err != nil {
		return err
	}
	_, err = io.WriteString(w, b.String())
	return err
}

// percent is a share as it is shown.
func percent(share float64) float64 { return math.Round(share*1000) / 10 }
