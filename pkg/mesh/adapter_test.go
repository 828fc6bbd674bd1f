package mesh_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/pkg/mesh"
)

// TestDecodeAdapterValues: every field arrives where it belongs.
func TestDecodeAdapterValues(t *testing.T) {
	t.Parallel()
	objs, errs := mesh.Decode("test.yaml", []byte(`
apiVersion: mesh.dragoman.io/v1alpha1
kind: Adapter
metadata: {name: app}
spec:
  metrics:
    listen: {port: 9113}
    sources:
    - {name: app, statsd: {udp: 9125, mappingFile: /etc/mapping.yaml}}
    - {name: json, json: {uri: "http://localhost/", timeout: 2s, configFile: /etc/json.yaml}}
    limits: {seriesPerSource: 5000}
---
apiVersion: mesh.dragoman.io/v1alpha1
kind: Adapter
metadata: {name: orders, namespace: shop}
spec:
  api:
    listen: {port: 8081}
    upstream: {address: "127.0.0.1:8080"}
    routes:
    - match: {method: POST, path: "/v2/orders/{id}"}
      request: {path: /soap/orders, body: {from: json, to: soap, map: {move: {id: OrderId}, coerce: {OrderId: string}}}}
`), mesh.InCluster())
	if len(errs) > 0 || len(objs) != 2 {
		t.Fatalf("%d objects, errors:\n%v", len(objs), errs)
	}
	want := []mesh.AdapterSpec{
		{Metrics: &mesh.MetricsAdapter{
			Listen: mesh.MetricsListen{Port: 9113},
			Sources: []mesh.MetricsSource{
				{Name: "app", StatsD: &mesh.StatsDSource{EventListen: mesh.EventListen{UDP: 9125}, MappingFile: "/etc/mapping.yaml"}},
				{Name: "json", JSON: &mesh.JSONSource{
					HTTPSource: mesh.HTTPSource{URI: "http://localhost/", Timeout: new(mesh.Duration(2e9))}, ConfigFile: "/etc/json.yaml",
				}},
			},
			Limits: &mesh.MetricsLimits{SeriesPerSource: new(uint32(5000))},
		}},
		{API: &mesh.APIAdapter{
			Listen:   mesh.Listen{Port: 8081},
			Upstream: mesh.APIUpstream{Address: "127.0.0.1:8080"},
			Routes: []mesh.APIRoute{{
				Match: mesh.APIMatch{Method: "POST", Path: "/v2/orders/{id}"},
				Request: &mesh.APIRequest{Path: "/soap/orders", Body: &mesh.BodyTransform{
					From: mesh.BodyJSON, To: mesh.BodySOAP,
					Map: &mesh.BodyMap{Move: map[string]string{"id": "OrderId"}, Coerce: map[string]mesh.ValueType{"OrderId": mesh.ValueString}},
				}},
			}},
		}},
	}
	for i, obj := range objs {
		if diff := cmp.Diff(want[i], obj.(*mesh.Adapter).Spec); diff != "" {
			t.Errorf("spec (-want +got):\n%s", diff)
		}
		if kind := mesh.KindOf(obj); kind != mesh.KindAdapter {
			t.Errorf("kind %q", kind)
		}
	}
	if got := objs[0].Key() + " " + objs[1].Key(); got != "default/app shop/orders" {
		t.Errorf("keys %q", got)
	}
}

// TestValidateAdapters: one that comes from no document is checked like any
// other, also for places that others have.
func TestValidateAdapters(t *testing.T) {
	t.Parallel()
	adapter := &mesh.Adapter{
		APIVersion: mesh.APIVersion, Kind: mesh.KindAdapter,
		Metadata: mesh.Metadata{Name: "cache", Namespace: mesh.DefaultNamespace},
		Spec: mesh.AdapterSpec{Metrics: &mesh.MetricsAdapter{
			Listen:  mesh.MetricsListen{Port: 9113},
			Sources: []mesh.MetricsSource{{Name: "cron", Textfile: &mesh.TextfileSource{Path: "/var/lib/metrics"}}},
		}},
	}
	beside := ambassador(t, header+`spec: {protocol: tcp, listen: {port: 9113}, environments: {dev: {address: "a:1"}}}`)
	if errs := mesh.Validate([]mesh.Object{adapter, beside}, mesh.InCluster()); len(errs) > 0 {
		t.Errorf("beside an Ambassador of the same name: %v", errs)
	}
	if errs := mesh.Validate([]mesh.Object{adapter}); len(errs) > 0 {
		t.Errorf("in a file: %v", errs)
	}
	if errs := mesh.Validate([]mesh.Object{adapter, beside}); len(errs) != 1 || !strings.Contains(errs.Error(), "spec.listen: binds to the same place as default/cache") {
		t.Errorf("in a file beside one with its port: %v", errs)
	}
	adapter.Spec.Metrics = nil
	if errs := mesh.Validate([]mesh.Object{adapter, adapter}, mesh.InCluster()); len(errs) != 3 {
		t.Errorf("twice, and empty: %v", errs)
	}
}

// TestStatsDSources: dialects and limits of connections are those of a document,
// and what makes no sense is refused by its path.
func TestStatsDSources(t *testing.T) {
	t.Parallel()
	for statsd, want := range map[string]string{
		"{udp: 9125, tcp: 9125, dialects: [DogStatsD, InfluxDB, Librato, SignalFX], maxConnections: 7, idleTimeout: 10m}": "",
		"{udp: 9125, dialects: [Etsy]}":             "dialects[0]",
		"{udp: 9125, dialects: [Librato, Librato]}": "dialects[1]: is there twice",
		"{udp: 9125, maxConnections: 7}":            "statsd.tcp: is missing, so that there are no connections",
		"{udp: 9125, idleTimeout: 1m}":              "statsd.tcp: is missing, so that there are no connections",
		"{tcp: 9125, maxConnections: 100001}":       "statsd.maxConnections: must be at most 100000",
		"{tcp: 9125, idleTimeout: 0s}":              "statsd.idleTimeout: ",
	} {
		_, errs := mesh.Decode("file", []byte("apiVersion: mesh.dragoman.io/v1alpha1\nkind: Adapter\nmetadata: {name: a}\nspec: {metrics: {listen: {port: 9113}, sources: [{name: s, statsd: "+statsd+"}]}}\n"))
		if got := errs.Error(); want == "" && len(errs) > 0 || !strings.Contains(got, want) {
			t.Errorf("%s: %v, want %q", statsd, got, want)
		}
	}
}
