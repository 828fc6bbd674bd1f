package relabel

import (
	"strings"

	dto "github.com/prometheus/client_model/go"

	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// shortUnits are other spellings of a unit at the end of a name.
func shortUnits(unit string) []string {
	switch unit {
	case "nanoseconds":
		return []string{"ns", "nanos", "nanosecond"}
	case "microseconds":
		return []string{"us", "micros", "microsecond"}
	case "milliseconds":
		return []string{"ms", "millis", "msec", "millisecond"}
	case "seconds":
		return []string{"s", "sec", "secs", "second"}
	case "minutes":
		return []string{"min", "mins", "minute"}
	case "hours":
		return []string{"h", "hour"}
	case "days":
		return []string{"d", "day"}
	case "bits":
		return []string{"bit"}
	case "bytes":
		return []string{"b", "byte"}
	case "kilobytes", "kibibytes":
		return []string{"kb", "kib", "kbytes"}
	case "megabytes", "mebibytes":
		return []string{"mb", "mib", "mbytes"}
	case "gigabytes", "gibibytes":
		return []string{"gb", "gib", "gbytes"}
	case "percent":
		return []string{"pct", "percentage"}
	case "fahrenheit":
		return []string{"f"}
	case "celsius":
		return []string{"c"}
	}
	return nil
}

// convertName gives a name the suffix of the new unit, in place of that of the
// old. The suffix _total stays the last.
func convertName(name string, u *resource.UnitConversion) string {
	stem, total := strings.CutSuffix(name, "_total")
	for _, old := range append([]string{u.From}, shortUnits(u.From)...) {
		if s, ok := strings.CutSuffix(stem, "_"+old); ok {
			stem = s
			break
		}
	}
	if !strings.HasSuffix(stem, "_"+u.To) {
		stem += "_" + u.To
	}
	if total {
		stem += "_total"
	}
	return stem
}

// convert gives a series in another unit: numbers, and the sums, bounds and
// quantiles of what was observed in the unit. Native buckets can not be moved:
// their bounds are powers, and so they are left out.
func convert(m *dto.Metric, u *resource.UnitConversion) *dto.Metric {
	to := func(v *float64) *float64 {
		if v == nil {
			return nil
		}
		converted := *v*u.Scale + u.Offset
		return &converted
	}
	if v, ok := number(m); ok {
		return withNumber(m, v*u.Scale+u.Offset)
	}
	out := copySeries(m)
	if h := m.GetHistogram(); h != nil {
		out.Histogram = &dto.Histogram{
			SampleCount: h.SampleCount, SampleCountFloat: h.SampleCountFloat, SampleSum: to(h.SampleSum), CreatedTimestamp: h.CreatedTimestamp,
		}
		for _, b := range h.GetBucket() {
			out.Histogram.Bucket = append(out.Histogram.Bucket, &dto.Bucket{
				CumulativeCount: b.CumulativeCount, CumulativeCountFloat: b.CumulativeCountFloat, UpperBound: to(b.UpperBound),
			})
		}
	}
	if s := m.GetSummary(); s != nil {
		out.Summary = &dto.Summary{SampleCount: s.SampleCount, SampleSum: to(s.SampleSum), CreatedTimestamp: s.CreatedTimestamp}
		for _, q := range s.GetQuantile() {
			out.Summary.Quantile = append(out.Summary.Quantile, &dto.Quantile{Quantile: q.Quantile, Value: to(q.Value)})
		}
	}
	return out
}
