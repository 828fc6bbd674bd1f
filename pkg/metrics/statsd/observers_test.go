package statsd

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/dragoman-mesh/dragoman/pkg/metrics/statsd/mapping"
)

// TestHistogramIsClientGolangs: the same observations come to the same classic
// and native buckets.
func TestHistogramIsClientGolangs(t *testing.T) {
	t.Parallel()
	special := []float64{0, 1, -1, 0.5, 2, 4, 0.25, 3, 1e-40, -1e-40, 1e300, 5e-324, math.Sqrt2, 0.1, 10, 1024, math.MaxFloat64}
	for _, factor := range []float64{1, 1.002, 1.005, 1.1, 1.5, 2, 10, 70000, 1e10} {
		for _, most := range []int{0, 4, 50} {
			t.Run(fmt.Sprint(factor, most), func(t *testing.T) {
				t.Parallel()
				o := mapping.HistogramOptions{Buckets: []float64{-1, 0, 0.1, 1, 10, 1000}, NativeFactor: factor, NativeMaxBuckets: most}
				theirs := prometheus.NewHistogram(prometheus.HistogramOpts{
					Name: "h", Buckets: o.Buckets, NativeHistogramBucketFactor: factor, NativeHistogramMaxBucketNumber: uint32(most),
				})
				ours := newHistogram(&o)
				ours.shown = &dto.Histogram{}
				r := rand.New(rand.NewPCG(1, uint64(most)))
				for i := range 500 {
					v := math.Exp(r.NormFloat64()*3) * float64(1-2*(i%2))
					if i < len(special) {
						v = special[i]
					}
					theirs.Observe(v)
					ours.observe(v, 1)
					if i%100 != 0 {
						continue
					}
					var want dto.Metric
					if err := theirs.Write(&want); err != nil {
						t.Fatal(err)
					}
					want.Histogram.CreatedTimestamp = nil
					ours.write()
					if diff := cmp.Diff(want.Histogram, ours.shown, protocmp.Transform(), cmpopts.EquateApprox(1e-12, 0)); diff != "" {
						t.Fatalf("after %d observations, the last is %v (-client_golang +got):\n%s", i+1, v, diff)
					}
				}
			})
		}
	}
}

func TestHistogramTimes(t *testing.T) {
	t.Parallel()
	h := newHistogram(&mapping.HistogramOptions{Buckets: []float64{1, 2}, NativeFactor: 1.1})
	h.observe(1.5, 1_000_000)
	h.observe(0, 3)
	if h.count != 1_000_003 || h.counts[1] != 1_000_000 || h.sum != 1_500_000 || h.native.zero != 3 || h.native.positive[0].n != 1_000_000 {
		t.Errorf("%+v, %+v", h, h.native)
	}
}

// rankError is by how much of all values v is away from the q-th.
func rankError(sorted []float64, v, q float64) float64 {
	low, _ := slices.BinarySearch(sorted, v)
	high, _ := slices.BinarySearchFunc(sorted, v, func(e, target float64) int {
		if e <= target {
			return -1
		}
		return 1
	})
	rank := q * float64(len(sorted))
	switch {
	case rank < float64(low):
		return (float64(low) - rank) / float64(len(sorted))
	case rank > float64(high):
		return (rank - float64(high)) / float64(len(sorted))
	default:
		return 0
	}
}

// TestQuantiles: each is as near as its error allows, whatever the values, and
// few of them are shown as they are.
func TestQuantiles(t *testing.T) {
	t.Parallel()
	quantiles := []mapping.Quantile{{Quantile: 0, Error: 0.01}, {Quantile: 0.5, Error: 0.05}, {Quantile: 0.9, Error: 0.01}, {Quantile: 0.99, Error: 0.001}, {Quantile: 1, Error: 0.001}}
	shapes := map[string]func(r *rand.Rand, i int) float64{
		"normal":    func(r *rand.Rand, _ int) float64 { return r.NormFloat64() },
		"rising":    func(_ *rand.Rand, i int) float64 { return float64(i) },
		"falling":   func(_ *rand.Rand, i int) float64 { return -float64(i) },
		"few":       func(r *rand.Rand, _ int) float64 { return float64(r.IntN(5)) },
		"long tail": func(r *rand.Rand, _ int) float64 { return math.Exp(r.NormFloat64() * 4) },
	}
	for name, shape := range shapes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, n := range []int{1, 2, 99, 300, 5000, 50_000} {
				r := rand.New(rand.NewPCG(7, uint64(n)))
				s := newSummary(newWindow(&mapping.SummaryOptions{Quantiles: quantiles}), 0)
				s.shown = &dto.Summary{}
				var all []float64
				for i := range n {
					v := shape(r, i)
					all = append(all, v)
					s.observe(v, 1, 1)
				}
				slices.Sort(all)
				s.write(1)
				for i, q := range quantiles {
					allowed := q.Error + 1/float64(n)
					if off := rankError(all, s.shown.Quantile[i].GetValue(), q.Quantile); off > allowed {
						t.Errorf("%d values: quantile %v is off by %v, allowed is %v", n, q.Quantile, off, allowed)
					}
				}
				if s.shown.GetSampleCount() != uint64(n) {
					t.Errorf("%d of %d", s.shown.GetSampleCount(), n)
				}
				for i := range s.streams {
					if len(s.streams[i].list) > 4*allValues {
						t.Errorf("a stream holds %d samples of %d values", len(s.streams[i].list), n)
					}
				}
			}
		})
	}
}

// TestSummaryForgets: quantiles are of the last while, count and sum of all.
func TestSummaryForgets(t *testing.T) {
	t.Parallel()
	const minute = int64(time.Minute)
	s := newSummary(newWindow(&mapping.SummaryOptions{Quantiles: []mapping.Quantile{{Quantile: 0.5, Error: 0.05}}, MaxAge: 5 * time.Minute, AgeBuckets: 5}), 0)
	s.shown = &dto.Summary{}
	at := func(now int64) float64 {
		s.write(now)
		return s.shown.Quantile[0].GetValue()
	}
	s.observe(1, 1, 0)
	for range 9 {
		s.observe(100, 1, 2*minute+1)
	}
	for _, c := range []struct {
		now  int64
		want float64
	}{{2*minute + 2, 100}, {5*minute + 1, 100}, {7 * minute, 100}} {
		if got := at(c.now); got != c.want {
			t.Errorf("after %v: %v, want %v", time.Duration(c.now), got, c.want)
		}
	}
	if got := at(8 * minute); !math.IsNaN(got) {
		t.Errorf("after 8 minutes: %v", got)
	}
	if s.shown.GetSampleCount() != 10 || s.shown.GetSampleSum() != 901 {
		t.Errorf("%v", s.shown)
	}
	s.observe(7, 1_000_000, 100*minute)
	if got := at(100 * minute); got != 7 || s.shown.GetSampleCount() != 1_000_010 {
		t.Errorf("%v", s.shown)
	}
}
