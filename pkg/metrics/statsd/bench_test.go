package statsd

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/prometheus/common/expfmt"
)

// manyLines are lines of as many series, of several dialects and types.
func manyLines(series int) [][]byte {
	ends := []string{":1|c", ":12.5|g", ":3|c|@0.5|#env:prod,zone:eu-1", ":+4|g|#env:prod"}
	out := make([][]byte, series)
	for i := range out {
		out[i] = fmt.Appendf(nil, "app.service%d.requests.total%s", i, ends[i%len(ends)])
	}
	return out
}

func BenchmarkTake(b *testing.B) {
	for _, series := range []int{100, 10_000} {
		b.Run(fmt.Sprint(series), func(b *testing.B) {
			s := newStore(Options{MaxSeries: series})
			lines := manyLines(series)
			for _, l := range lines {
				s.packet(l, 1)
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				s.packet(lines[i], 1)
				if i++; i == len(lines) {
					i = 0
				}
			}
		})
	}
}

func BenchmarkTakeTimer(b *testing.B) {
	for _, observer := range []string{"summary", "histogram"} {
		b.Run(observer, func(b *testing.B) {
			s := newStore(Options{Mapping: mustParse(b, "defaults: {observer_type: "+observer+"}")})
			line := []byte("app.requests.latency:12.5|ms|#env:prod")
			b.ReportAllocs()
			for b.Loop() {
				s.packet(line, 1)
			}
		})
	}
}

func BenchmarkGather(b *testing.B) {
	s := newStore(Options{})
	for _, l := range manyLines(10_000) {
		s.packet(l, 1)
	}
	b.Run("gather", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			s.gather(1)
		}
	})
	b.Run("expfmt", func(b *testing.B) {
		var out bytes.Buffer
		b.ReportAllocs()
		for b.Loop() {
			out.Reset()
			for _, f := range s.gather(1) {
				_, _ = expfmt.MetricFamilyToText(&out, f)
			}
		}
		b.ReportMetric(float64(out.Len()), "bytes")
	})
}
