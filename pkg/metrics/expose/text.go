package expose

import (
	"math"
	"strconv"
	"strings"

	dto "github.com/prometheus/client_model/go"
)

// AppendText appends families in the text format, version 0.0.4. Native
// histograms without classic buckets have a bucket +Inf.
func AppendText(b []byte, families []*dto.MetricFamily) []byte {
	w := writer{b: b}
	for _, f := range families {
		w.family(f, f.GetName(), typeName(f.GetType()))
	}
	return w.b
}

// writer appends samples in one of the text formats.
type writer struct {
	b    []byte
	open bool // OpenMetrics
}

func typeName(t dto.MetricType) string {
	switch t {
	case dto.MetricType_COUNTER:
		return "counter"
	case dto.MetricType_GAUGE:
		return "gauge"
	case dto.MetricType_SUMMARY:
		return "summary"
	case dto.MetricType_HISTOGRAM:
		return "histogram"
	case dto.MetricType_GAUGE_HISTOGRAM, dto.MetricType_UNTYPED:
	}
	return "untyped"
}

// family writes one whose head has the given name and type.
func (w *writer) family(f *dto.MetricFamily, name, typ string) {
	if f.Help != nil {
		w.b = append(w.b, "# HELP "...)
		w.b = append(w.b, name...)
		w.b = append(w.b, ' ')
		w.escape(f.GetHelp(), w.open)
		w.b = append(w.b, '\n')
	}
	w.b = append(w.b, "# TYPE "...)
	w.b = append(w.b, name...)
	w.b = append(w.b, ' ')
	w.b = append(w.b, typ...)
	w.b = append(w.b, '\n')
	for _, m := range f.GetMetric() {
		w.metric(f, m, name)
	}
}

func (w *writer) metric(f *dto.MetricFamily, m *dto.Metric, base string) {
	name := f.GetName()
	switch f.GetType() {
	case dto.MetricType_COUNTER:
		w.sample(name, "", m, "", 0, m.GetCounter().GetValue())
		w.exemplar(m.GetCounter().GetExemplar())
		w.end()
		if base != name { // one that OpenMetrics takes for a counter
			w.created(base, m, m.GetCounter().GetCreatedTimestamp())
		}
	case dto.MetricType_GAUGE:
		w.sample(name, "", m, "", 0, m.GetGauge().GetValue())
		w.end()
	case dto.MetricType_UNTYPED:
		w.sample(name, "", m, "", 0, m.GetUntyped().GetValue())
		w.end()
	case dto.MetricType_SUMMARY:
		s := m.GetSummary()
		for _, q := range s.GetQuantile() {
			w.sample(name, "", m, "quantile", q.GetQuantile(), q.GetValue())
			w.end()
		}
		w.sample(name, "_sum", m, "", 0, s.GetSampleSum())
		w.end()
		w.count(name, "_count", m, "", 0, s.GetSampleCount())
		w.end()
		w.created(name, m, s.GetCreatedTimestamp())
	case dto.MetricType_HISTOGRAM, dto.MetricType_GAUGE_HISTOGRAM:
		w.histogram(name, m)
	}
}

func (w *writer) histogram(name string, m *dto.Metric) {
	h := m.GetHistogram()
	infinite := false
	for _, b := range h.GetBucket() {
		if b.CumulativeCountFloat != nil {
			w.sample(name, "_bucket", m, "le", b.GetUpperBound(), b.GetCumulativeCountFloat())
		} else {
			w.count(name, "_bucket", m, "le", b.GetUpperBound(), b.GetCumulativeCount())
		}
		w.exemplar(b.GetExemplar())
		w.end()
		infinite = infinite || math.IsInf(b.GetUpperBound(), 1)
	}
	if !infinite {
		w.total(name, "_bucket", m, "le", math.Inf(1))
	}
	w.sample(name, "_sum", m, "", 0, h.GetSampleSum())
	w.end()
	w.total(name, "_count", m, "", 0)
	w.created(name, m, h.GetCreatedTimestamp())
}

// total writes how many were observed.
func (w *writer) total(name, suffix string, m *dto.Metric, label string, bound float64) {
	h := m.GetHistogram()
	if h.SampleCountFloat != nil {
		w.sample(name, suffix, m, label, bound, h.GetSampleCountFloat())
	} else {
		w.count(name, suffix, m, label, bound, h.GetSampleCount())
	}
	w.end()
}

// sample writes a line as far as its timestamp. label is le or quantile, whose
// value is bound; or "".
func (w *writer) sample(name, suffix string, m *dto.Metric, label string, bound, v float64) {
	w.head(name, suffix, m, label, bound)
	w.b = w.number(w.b, v)
	w.timestamp(m)
}

// count is a sample whose value is a whole number. The text format has it as it
// has every number.
func (w *writer) count(name, suffix string, m *dto.Metric, label string, bound float64, v uint64) {
	w.head(name, suffix, m, label, bound)
	if w.open {
		w.b = strconv.AppendUint(w.b, v, 10)
	} else {
		w.b = w.number(w.b, float64(v))
	}
	w.timestamp(m)
}

func (w *writer) end() { w.b = append(w.b, '\n') }

func (w *writer) head(name, suffix string, m *dto.Metric, label string, bound float64) {
	b := append(append(w.b, name...), suffix...)
	separator := byte('{')
	for _, l := range m.GetLabel() {
		b = append(append(append(b, separator), l.GetName()...), '=', '"')
		w.b = b
		w.escape(l.GetValue(), true)
		b = append(w.b, '"')
		separator = ','
	}
	if label != "" {
		b = append(append(append(b, separator), label...), '=', '"')
		b = append(w.number(b, bound), '"')
		separator = ','
	}
	if separator == ',' {
		b = append(b, '}')
	}
	w.b = append(b, ' ')
}

func (w *writer) timestamp(m *dto.Metric) {
	if m.TimestampMs == nil {
		return
	}
	w.b = append(w.b, ' ')
	if w.open {
		w.b = w.number(w.b, float64(m.GetTimestampMs())/1000)
		return
	}
	w.b = strconv.AppendInt(w.b, m.GetTimestampMs(), 10)
}

// escape writes text; quoted: within double quotes.
func (w *writer) escape(s string, quoted bool) {
	if !strings.ContainsAny(s, "\\\n\"") {
		w.b = append(w.b, s...)
		return
	}
	for i := range len(s) {
		switch c := s[i]; {
		case c == '\\':
			w.b = append(w.b, `\\`...)
		case c == '\n':
			w.b = append(w.b, `\n`...)
		case c == '"' && quoted:
			w.b = append(w.b, `\"`...)
		default:
			w.b = append(w.b, c)
		}
	}
}

// number appends a value. Whole numbers, which most are, need no search for the
// shortest form.
func (w *writer) number(b []byte, v float64) []byte {
	switch {
	case v == math.Trunc(v) && v > -1e6 && v < 1e6:
		b = strconv.AppendInt(b, int64(v), 10)
	case math.IsNaN(v):
		return append(b, "NaN"...)
	case math.IsInf(v, 1):
		return append(b, "+Inf"...)
	case math.IsInf(v, -1):
		return append(b, "-Inf"...)
	default:
		start := len(b)
		b = strconv.AppendFloat(b, v, 'g', -1, 64)
		if w.open && !hasFraction(b[start:]) {
			b = append(b, ".0"...)
		}
		return b
	}
	if w.open {
		b = append(b, ".0"...)
	}
	return b
}

func hasFraction(b []byte) bool {
	for _, c := range b {
		if c == '.' || c == 'e' {
			return true
		}
	}
	return false
}
