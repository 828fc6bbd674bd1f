package http_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

const (
	traceID   = "0af7651916cd43dd8448eb211c80319c"
	sampled   = "00-" + traceID + "-b7ad6b7169203331-01"
	unsampled = "00-" + traceID + "-b7ad6b7169203331-00"
)

// traced is a proxy whose spans are kept.
type traced struct {
	*host
	t     *testing.T
	spans *tracetest.SpanRecorder
}

func (e engine) traced(t *testing.T, conf *resource.HTTPManager, sampling float64, clusters ...*resource.Cluster) *traced {
	t.Helper()
	conf.Tracing = &resource.HTTPTracing{Sampling: sampling, MaxPath: 10, Tags: []resource.HTTPTag{
		{Name: "tenant", Header: "X-Tenant", Value: "nobody"}, {Name: "team", Value: "shop"},
	}}
	x := &traced{host: e.proxy(t, conf, clusters...), t: t, spans: tracetest.NewSpanRecorder()}
	x.context.Tracer = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(x.spans)).Tracer("test")
	x.context.Environment = "prod"
	x.swap(e.chain(conf))
	return x
}

// ended waits for spans, and gives each as "kind name status: parent > span, attributes of interest".
func (x *traced) ended(n int) []string {
	x.t.Helper()
	redistest.Eventually(x.t, 30*time.Second, "spans", func() error {
		if got := len(x.spans.Ended()); got != n {
			return fmt.Errorf("%d spans, want %d", got, n)
		}
		return nil
	})
	names := map[string]string{"b7ad6b7169203331": "app", "0000000000000000": "nobody"}
	spans := x.spans.Ended()
	slices.SortStableFunc(spans, func(a, b sdktrace.ReadOnlySpan) int { return a.StartTime().Compare(b.StartTime()) })
	var out []string
	for i, s := range spans {
		names[s.SpanContext().SpanID().String()] = fmt.Sprint("#", i)
		line := fmt.Sprintf("%v %s below %s:", s.SpanKind(), s.Name(), names[s.Parent().SpanID().String()])
		for _, a := range s.Attributes() {
			switch a.Key {
			case "url.path", "http.response.status_code", "http.route", "tenant", "team", "http.request.resend_count", "deployment.environment.name":
				line += " " + a.Value.String()
			}
		}
		if s.Status().Code == codes.Error {
			line += " failed"
		}
		out = append(out, line)
	}
	return out
}

func TestTracing(t *testing.T) { overEngines(t, testTracing) }

func testTracing(t *testing.T, e engine) {
	var seen atomic.Value
	x := e.traced(t, routing(routesOf(t, `{"name": "r", "virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [
	  {"name": "orders", "match": {"prefix": "/"}, "route": {"cluster": "c"}}]}]}`)), 1,
		clusterOf("c", app(t, func(w http.ResponseWriter, r *http.Request) {
			seen.Store(r.Header.Get("Traceparent"))
			if r.URL.Path == "/missing" {
				w.WriteHeader(http.StatusNotFound)
			}
		})))
	do(t, "GET", x.url("/orders/12345?secret"), nil, "X-Tenant", "a")
	want := []string{
		"server GET orders below nobody: /orders/12 prod a shop orders 200",
		"client GET below #0: prod 200",
	}
	if diff := cmp.Diff(want, x.ended(2)); diff != "" {
		t.Errorf("spans of a request without a parent (-want +got):\n%s", diff)
	}
	client := x.spans.Ended()[0].SpanContext()
	if got, want := seen.Load(), "00-"+client.TraceID().String()+"-"+client.SpanID().String()+"-01"; got != want {
		t.Errorf("the server's parent is %v, want the span of the try, %s", got, want)
	}

	do(t, "GET", x.url("/missing"), nil, "Traceparent", sampled, "Tracestate", "vendor=1")
	want = append(want, "server GET orders below app: /missing prod nobody shop orders 404", "client GET below #2: prod 404 failed")
	if diff := cmp.Diff(want, x.ended(4)); diff != "" {
		t.Errorf("spans of a request with a parent (-want +got):\n%s", diff)
	}
	if got := fmt.Sprint(seen.Load()); !strings.HasPrefix(got, "00-"+traceID+"-") || got == sampled {
		t.Errorf("the server's parent is %s, want one in the trace %s", got, traceID)
	}

	do(t, "GET", x.url("/"), nil, "Traceparent", unsampled)
	if got := seen.Load(); got != unsampled {
		t.Errorf("the server's parent is %s, want what the client said", got)
	}
	if got := len(x.spans.Started()); got != 4 {
		t.Errorf("%d spans, want none for a parent that is not sampled", got-4)
	}
}

// TestTracingOfTries shows each try, and one that nobody answers.
func TestTracingOfTries(t *testing.T) { overEngines(t, testTracingOfTries) }

func testTracingOfTries(t *testing.T, e engine) {
	var asked atomic.Int64
	good := app(t, func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	x := e.traced(t, routing(toCluster(t, `, "retry_policy": {"retry_on": "5xx", "num_retries": 1, "retry_back_off": {"base_interval": "0.001s"}}`)), 1, clusterOf("c", good))
	do(t, "GET", x.url("/"), nil)
	want := []string{"server GET below nobody: / prod nobody shop 200", "client GET below #0: prod 503 failed", "client GET below #0: 1 prod 200"}
	if diff := cmp.Diff(want, x.ended(3)); diff != "" {
		t.Errorf("spans of two tries (-want +got):\n%s", diff)
	}

	dead := e.traced(t, routing(toCluster(t, "")), 1, clusterOf("c", fmt.Sprintf("127.0.0.1:%d", redistest.Port(t))))
	do(t, "GET", dead.url("/"), nil)
	want = []string{"server GET below nobody: / prod nobody shop 503 failed", "client GET below #0: prod failed"}
	if diff := cmp.Diff(want, dead.ended(2)); diff != "" {
		t.Errorf("spans of a request that nobody answers (-want +got):\n%s", diff)
	}
}

// TestTracingBySampling makes spans for none but those whose parent has one.
func TestTracingBySampling(t *testing.T) { overEngines(t, testTracingBySampling) }

func testTracingBySampling(t *testing.T, e engine) {
	var seen atomic.Value
	x := e.traced(t, routing(toCluster(t, "")), 0, clusterOf("c", app(t, func(_ http.ResponseWriter, r *http.Request) { seen.Store(r.Header.Get("Traceparent")) })))
	do(t, "GET", x.url("/"), nil)
	if got := seen.Load(); got != "" {
		t.Errorf("the server's parent is %s, want none", got)
	}
	do(t, "GET", x.url("/"), nil, "Traceparent", sampled)
	want := []string{"server GET below app: / prod nobody shop 200", "client GET below #0: prod 200"}
	if diff := cmp.Diff(want, x.ended(2)); diff != "" {
		t.Errorf("spans (-want +got):\n%s", diff)
	}
}

func TestRouteMetrics(t *testing.T) { overEngines(t, testRouteMetrics) }

func testRouteMetrics(t *testing.T, e engine) {
	x := e.proxy(t, routing(routesOf(t, `{"name": "r", "virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [
	  {"name": "a", "match": {"path": "/a"}, "direct_response": {"status": 404}},
	  {"name": "long", "stat_prefix": "b", "match": {"path": "/b"}, "route": {"cluster": "c"}},
	  {"match": {"prefix": "/"}, "route": {"cluster": "c"}}]}]}`)), clusterOf("c", app(t, func(http.ResponseWriter, *http.Request) {})))
	for _, path := range []string{"/a", "/b", "/b", "/c"} {
		do(t, "GET", x.url(path), nil)
	}
	want := map[string]float64{"a 4xx": 1, "b 2xx": 2}
	registry := prometheus.NewRegistry()
	registry.MustRegister(x.builder)
	redistest.Eventually(t, 30*time.Second, "the counters", func() error {
		if diff := cmp.Diff(want, routeResponses(t, registry)); diff != "" {
			return fmt.Errorf("responses by route and class (-want +got):\n%s", diff)
		}
		return nil
	})
}

// routeResponses gives the counters that are not 0.
func routeResponses(t *testing.T, registry *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	counters := map[string]float64{}
	for _, f := range families {
		if f.GetName() != "dragoman_http_route_responses_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			labels := m.GetLabel() // class, listener, route
			if v := m.GetCounter().GetValue(); v > 0 {
				counters[labels[2].GetValue()+" "+labels[0].GetValue()] = v
			}
		}
	}
	return counters
}
