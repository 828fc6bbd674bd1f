package expose

import (
	"strings"

	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// AppendOpenMetrics appends families in OpenMetrics 1.0.0, with its end. A
// counter without the suffix _total, which OpenMetrics demands, is of unknown
// type: so no series has another name than in the other formats.
func AppendOpenMetrics(b []byte, families []*dto.MetricFamily) []byte {
	w := writer{b: b, open: true}
	for i, f := range families {
		name, typ := f.GetName(), typeName(f.GetType())
		switch f.GetType() {
		case dto.MetricType_COUNTER:
			stem, total := strings.CutSuffix(name, "_total")
			// Two families must not share a name, which without _total they might.
			if total && stem != "" && !named(families[:i], stem) {
				name = stem
			} else {
				typ = "unknown"
			}
		case dto.MetricType_UNTYPED, dto.MetricType_GAUGE_HISTOGRAM:
			typ = "unknown"
		case dto.MetricType_GAUGE, dto.MetricType_SUMMARY, dto.MetricType_HISTOGRAM:
		}
		w.family(f, name, typ)
	}
	return append(w.b, "# EOF\n"...)
}

// named reports whether the last families, which are sorted, have one of the
// name, which is less than those to come.
func named(sorted []*dto.MetricFamily, name string) bool {
	for i := len(sorted) - 1; i >= 0 && sorted[i].GetName() >= name; i-- {
		if sorted[i].GetName() == name {
			return true
		}
	}
	return false
}

// created says when a series began.
func (w *writer) created(name string, m *dto.Metric, at *timestamppb.Timestamp) {
	if !w.open || at == nil {
		return
	}
	w.head(name, "_created", m, "", 0)
	w.b = w.number(w.b, float64(at.AsTime().UnixNano())/1e9)
	w.end()
}

func (w *writer) exemplar(e *dto.Exemplar) {
	if !w.open || e == nil {
		return
	}
	w.b = append(w.b, " # {"...)
	for i, l := range e.GetLabel() {
		if i > 0 {
			w.b = append(w.b, ',')
		}
		w.b = append(append(w.b, l.GetName()...), '=', '"')
		w.escape(l.GetValue(), true)
		w.b = append(w.b, '"')
	}
	w.b = append(w.b, "} "...)
	w.b = w.number(w.b, e.GetValue())
	if t := e.GetTimestamp(); t != nil {
		w.b = append(w.b, ' ')
		w.b = w.number(w.b, float64(t.AsTime().UnixNano())/1e9)
	}
}
