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
