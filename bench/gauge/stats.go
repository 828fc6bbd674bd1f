// Package gauge is what the benchmarks have in common: processes, their CPU time and
// memory, medians and tables.
package gauge

import (
	"fmt"
	"math"
	"slices"
)

// Median of values; NaN when there are none.
func Median(values []float64) float64 {
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

// MedianOf is the median of a field of samples.
func MedianOf[S any](samples []S, f func(S) float64) float64 {
	values := make([]float64, len(samples))
	for i, s := range samples {
		values[i] = f(s)
	}
	return Median(values)
}

// Ratio is the median of the rounds' ratios of a to b. Both were measured one after
// the other in each round, so what slows the machine down for a while cancels out.
func Ratio[S any](a, b []S, f func(S) float64) float64 {
	var values []float64
	for i := range min(len(a), len(b)) {
		if base := f(b[i]); base > 0 {
			values = append(values, f(a[i])/base)
		}
	}
	return Median(values)
}

// Difference is the median of the rounds' differences of a to b.
func Difference[S any](a, b []S, f func(S) float64) float64 {
	var values []float64
	for i := range min(len(a), len(b)) {
		values = append(values, f(a[i])-f(b[i]))
	}
	return Median(values)
}

// Rounds measures every contender once a round, each round beginning with another
// one, and gives the samples by the contenders' names. Those of the rounds that
// come first, to warm up, are thrown away.
func Rounds[C interface{ Name() string }, S any](warmUps, rounds int, contenders []C, measure func(C) (S, error)) (map[string][]S, error) {
	samples := map[string][]S{}
	for round := range warmUps + rounds {
		for i := range contenders {
			c := contenders[(round+i)%len(contenders)]
			s, err := measure(c)
			if err != nil {
				return samples, fmt.Errorf("%s: %w", c.Name(), err)
			}
			if round >= warmUps {
				samples[c.Name()] = append(samples[c.Name()], s)
			}
		}
	}
	return samples, nil
}
