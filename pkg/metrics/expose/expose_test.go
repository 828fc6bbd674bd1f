package expose_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/dragoman-mesh/dragoman/pkg/metrics/expose"
)

// families makes some of every type, with everything that has to be escaped.
func families(r *rand.Rand) []*dto.MetricFamily {
	var out []*dto.MetricFamily
	for i, t := range []dto.MetricType{
		dto.MetricType_COUNTER, dto.MetricType_GAUGE, dto.MetricType_UNTYPED, dto.MetricType_SUMMARY, dto.MetricType_HISTOGRAM, dto.MetricType_COUNTER,
	} {
		f := &dto.MetricFamily{Name: new("f" + strconv.Itoa(i)), Type: t.Enum()}
		if i == 5 {
			f.Name = new("f5_total")
		}
		if r.IntN(4) > 0 {
			f.Help = new(text(r))
		}
		for j := range 1 + r.IntN(3) {
			m := metric(r, t)
			if i == 0 { // of unknown type in OpenMetrics, which has no time of creation
				m.Counter.CreatedTimestamp = nil
			}
			m.Label = append(m.Label, &dto.LabelPair{Name: new("a"), Value: new(strconv.Itoa(j))})
			if r.IntN(2) == 0 {
				m.Label = append(m.Label, &dto.LabelPair{Name: new("b"), Value: new(text(r))})
			}
			f.Metric = append(f.Metric, m)
		}
		out = append(out, f)
	}
	return out
}

func text(r *rand.Rand) string {
	return []string{"plain", `back\slash`, "line\nbreak", `"quoted"`, "ünïcode €", "", `\"` + "\n"}[r.IntN(7)]
}

func number(r *rand.Rand) float64 {
	return []float64{
		0, math.Copysign(0, -1), 1, -1, 999999, 1e6, -1e6, 1234567, 1e21, 0.1, 1e-9, math.Pi, math.Inf(1), math.Inf(-1), math.NaN(), math.MaxFloat64, r.NormFloat64(), float64(r.IntN(1e7)),
	}[r.IntN(18)]
}

func metric(r *rand.Rand, t dto.MetricType) *dto.Metric {
	m := &dto.Metric{}
	var created *timestamppb.Timestamp
	if r.IntN(2) == 0 {
		created = timestamppb.New(time.Unix(1700000000+int64(r.IntN(1e6)), int64(r.IntN(1000))*1e6))
	}
	if r.IntN(3) == 0 {
		m.TimestampMs = new(int64(1700000000000) + int64(r.IntN(1e6)))
	}
	var exemplar *dto.Exemplar
	if r.IntN(3) == 0 {
		exemplar = &dto.Exemplar{Label: []*dto.LabelPair{{Name: new("trace"), Value: new(text(r))}, {Name: new("x"), Value: new("1")}}, Value: new(number(r)), Timestamp: created}
	}
	switch t {
	case dto.MetricType_COUNTER:
		m.Counter = &dto.Counter{Value: new(number(r)), CreatedTimestamp: created, Exemplar: exemplar}
	case dto.MetricType_GAUGE:
		m.Gauge = &dto.Gauge{Value: new(number(r))}
	case dto.MetricType_UNTYPED:
		m.Untyped = &dto.Untyped{Value: new(number(r))}
	case dto.MetricType_SUMMARY:
		m.Summary = &dto.Summary{SampleCount: new(r.Uint64()), SampleSum: new(number(r)), CreatedTimestamp: created}
		for _, q := range []float64{0, 0.5, 0.99, 1}[:r.IntN(5)] {
			m.Summary.Quantile = append(m.Summary.Quantile, &dto.Quantile{Quantile: &q, Value: new(number(r))})
		}
	case dto.MetricType_HISTOGRAM, dto.MetricType_GAUGE_HISTOGRAM:
		m.Histogram = &dto.Histogram{SampleCount: new(uint64(100)), SampleSum: new(number(r)), CreatedTimestamp: created}
		for i, bound := range []float64{0.005, 1, 2.5, 1e6, math.Inf(1)}[:r.IntN(6)] {
			m.Histogram.Bucket = append(m.Histogram.Bucket, &dto.Bucket{UpperBound: &bound, CumulativeCount: new(uint64(i * 20)), Exemplar: exemplar})
		}
	}
	return m
}

// TestSameAsLibrary compares with Prometheus' own library, byte for byte.
func TestSameAsLibrary(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		list := families(r)
		var text, open bytes.Buffer
		for _, f := range list {
			if _, err := expfmt.MetricFamilyToText(&text, f); err != nil {
				t.Fatal(err)
			}
			if _, err := expfmt.MetricFamilyToOpenMetrics(&open, f, expfmt.WithCreatedLines()); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := expfmt.FinalizeOpenMetrics(&open); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(text.String(), string(expose.AppendText(nil, list))); diff != "" {
			t.Fatalf("text (-library +ours):\n%s", diff)
		}
		if diff := cmp.Diff(open.String(), string(expose.AppendOpenMetrics(nil, list))); diff != "" {
			t.Fatalf("OpenMetrics (-library +ours):\n%s", diff)
		}
	}
}

// TestNameOfCounter: a gauge and a counter that are one in OpenMetrics stay two.
func TestNameOfCounter(t *testing.T) {
	t.Parallel()
	one := []*dto.Metric{{Gauge: &dto.Gauge{Value: new(1.0)}, Counter: &dto.Counter{Value: new(1.0)}}}
	got := string(expose.AppendOpenMetrics(nil, []*dto.MetricFamily{
		{Name: new("a"), Type: dto.MetricType_GAUGE.Enum(), Metric: one},
		{Name: new("a_b_total"), Type: dto.MetricType_COUNTER.Enum(), Metric: one},
		{Name: new("a_total"), Type: dto.MetricType_COUNTER.Enum(), Metric: one},
	}))
	want := "# TYPE a gauge\na 1.0\n# TYPE a_b counter\na_b_total 1.0\n# TYPE a_total unknown\na_total 1.0\n# EOF\n"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestPage: the scraper chooses.
func TestPage(t *testing.T) {
	t.Parallel()
	list := families(rand.New(rand.NewPCG(3, 4)))
	const proto2 = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
	tests := []struct{ name, accept, encoding, wantType, wantEncoding string }{
		{"nothing", "", "", "text/plain; version=0.0.4; charset=utf-8", ""},
		{"a browser", "text/html,*/*;q=0.8", "gzip, deflate, br", "text/plain; version=0.0.4; charset=utf-8", "gzip"},
		{"Prometheus 2", "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1", "gzip", "application/openmetrics-text; version=1.0.0; charset=utf-8", "gzip"},
		{"native histograms", proto2 + ";q=0.7,text/plain;version=0.0.4;q=0.3", "gzip;q=0", proto2, ""},
		{"Prometheus 3", "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1", "gzip", "application/openmetrics-text; version=1.0.0; charset=utf-8", "gzip"},
	}
	w := expose.NewWriter()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := http.Header{}
			h.Set("Accept", tt.accept)
			h.Set("Accept-Encoding", tt.encoding)
			p, err := w.Page(h, list)
			if err != nil {
				t.Fatal(err)
			}
			defer p.Release()
			if p.ContentType != tt.wantType && p.ContentType != tt.wantType+"; escaping=underscores" || p.Encoding != tt.wantEncoding {
				t.Errorf("got %q, %q", p.ContentType, p.Encoding)
			}
			body := p.Body
			if p.Encoding != "" {
				zip, err := gzip.NewReader(bytes.NewReader(body))
				if err != nil {
					t.Fatal(err)
				}
				if body, err = io.ReadAll(zip); err != nil {
					t.Fatal(err)
				}
			}
			if tt.wantType != proto2 {
				return
			}
			dec := expfmt.NewDecoder(bytes.NewReader(body), expfmt.Format(p.ContentType))
			for i := 0; ; i++ {
				var f dto.MetricFamily
				if err := dec.Decode(&f); errors.Is(err, io.EOF) {
					if i != len(list) {
						t.Errorf("%d families", i)
					}
					return
				} else if err != nil {
					t.Fatal(err)
				}
				if got, want := f.String(), list[i].String(); got != want && !proto.Equal(&f, list[i]) {
					t.Errorf("got %s, want %s", got, want)
				}
			}
		})
	}
}
