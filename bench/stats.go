package main

import "github.com/dragoman-mesh/dragoman/bench/gauge"

// field picks one number of a sample.
type field func(sample) float64

func throughput(s sample) float64 { return s.Throughput }
func p50(s sample) float64        { return s.P50 }
func p99(s sample) float64        { return s.P99 }
func cpu(s sample) float64        { return s.CPU }
func memory(s sample) float64     { return s.RSS }

// medianOf is the median of a field.
func medianOf(samples []sample, f field) float64 {
	values := make([]float64, 0, len(samples))
	for _, s := range samples {
		values = append(values, f(s))
	}
	return gauge.Median(values)
}

// ratio is the median of the rounds' ratios of a to b. Both were measured one
// after the other in each round, so what slows the machine down for a while
// cancels out.
func ratio(a, b []sample, f field) float64 {
	var values []float64
	for i := range min(len(a), len(b)) {
		if base := f(b[i]); base > 0 {
			values = append(values, f(a[i])/base)
		}
	}
	return gauge.Median(values)
}
