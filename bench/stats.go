package main

import (
	"math"
	"slices"
)

// median of values; NaN when there are none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	v := slices.Sorted(slices.Values(values))
	mid := len(v) / 2
	if len(v)%2 == 1 {
		return v[mid]
	}
	return (v[mid-1] + v[mid]) / 2
}

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
	return median(values)
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
	return median(values)
}

// rotate returns list beginning with element n, modulo its length.
func rotate[T any](list []T, n int) []T {
	n %= len(list)
	return slices.Concat(list[n:], list[:n])
}
