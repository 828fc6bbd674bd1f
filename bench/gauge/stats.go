// Package gauge is what the benchmarks have in common: processes, their CPU time and
// memory, medians and tables.
package gauge

import (
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

// Rotate returns list beginning with element n, modulo its length.
func Rotate[T any](list []T, n int) []T {
	n %= len(list)
	return slices.Concat(list[n:], list[:n])
}
