package tooltest

import (
	"bytes"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
)

// Text is families in Prometheus' text format.
func Text(tb testing.TB, families []*dto.MetricFamily) string {
	tb.Helper()
	var out bytes.Buffer
	for _, mf := range families {
		if _, err := expfmt.MetricFamilyToText(&out, mf); err != nil {
			tb.Fatal(err)
		}
	}
	return out.String()
}

// Labels are the labels of a series by name.
func Labels(m *dto.Metric) map[string]string {
	out := make(map[string]string)
	for _, l := range m.GetLabel() {
		out[l.GetName()] = l.GetValue()
	}
	return out
}
