package proxy_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// TestPagesOfEnvoy: what is written for Envoy's admin server finds what it looks for.
func TestPagesOfEnvoy(t *testing.T) {
	t.Parallel()
	node, port := redistest.Server(t), redistest.Port(t)
	r := start(t, ambassador("cache", port, one(node.Addr()), "defaultEnvironment: test"))
	type at struct {
		Socket struct {
			Address string
			Port    int `json:"port_value"`
		} `json:"socket_address"`
	}
	read := func(path string, into any) {
		t.Helper()
		if err := json.Unmarshal([]byte(r.get(path)), into); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
	}
	where := func(port int) (a at) {
		a.Socket.Address, a.Socket.Port = "127.0.0.1", port
		return a
	}

	var clusters struct {
		List []struct {
			Name  string
			Hosts []struct {
				Address at
				Role    string
				Health  struct {
					EDS string `json:"eds_health_status"`
				} `json:"health_status"`
			} `json:"host_statuses"`
		} `json:"cluster_statuses"`
	}
	read("/clusters?format=json", &clusters)
	if len(clusters.List) != 1 || len(clusters.List[0].Hosts) != 1 {
		t.Fatalf("clusters: %+v", clusters)
	}
	if h := clusters.List[0].Hosts[0]; h.Address != where(node.Port()) || h.Health.EDS != "HEALTHY" || h.Role != "primary" {
		t.Errorf("the endpoint is %+v", h)
	}

	var listeners struct {
		List []struct {
			Name  string
			Local at `json:"local_address"`
		} `json:"listener_statuses"`
	}
	read("/listeners?format=json", &listeners)
	if len(listeners.List) != 1 || listeners.List[0].Name != "default/cache" || listeners.List[0].Local != where(port) {
		t.Errorf("listeners: %+v", listeners)
	}

	var dump struct{ Configs []any }
	read("/config_dump?resource=dynamic_listeners&name_regex=cache$&mask=active_state.listener.address.socket_address.port_value", &dump)
	object := func(name string, value any) map[string]any { return map[string]any{name: value} }
	want := object("active_state", object("listener", object("address", object("socket_address", object("port_value", float64(port))))))
	want["@type"] = "type.googleapis.com/envoy.admin.v3.ListenersConfigDump.DynamicListener"
	if diff := cmp.Diff([]any{want}, dump.Configs); diff != "" {
		t.Errorf("/config_dump (-want +got):\n%s", diff)
	}
	for kind, want := range map[string]int{"dynamic_active_clusters": 1, "dynamic_route_configs": 0, "dynamic_endpoint_configs": 0, "static_clusters": 0} {
		if read("/config_dump?resource="+kind, &dump); len(dump.Configs) != want {
			t.Errorf("%d %s", len(dump.Configs), kind)
		}
	}
}
