package nutcracker_test

import (
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/dragoman-mesh/dragoman/pkg/proxy/nutcracker"
	"github.com/dragoman-mesh/dragoman/pkg/twemproxy"
)

func gauge(reg *prometheus.Registry, name string, labels map[string]string, v float64) {
	g := prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: "h", ConstLabels: labels})
	g.Set(v)
	reg.MustRegister(g)
}

func TestServer(t *testing.T) {
	t.Parallel()
	cfg, errs := twemproxy.Parse("in.yml", []byte(`Alpha "x":
  listen: 127.0.0.1:1
  redis: true
  servers:
  - 127.0.0.1:6379:1
  - 127.0.0.1:6380:1 named
`))
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	reg := prometheus.NewRegistry()
	l := map[string]string{"listener": "default/alpha--x"}
	e := map[string]string{"cluster": "default/alpha--x/twemproxy", "endpoint": "127.0.0.1:6380", "shard": "named"}
	gauge(reg, "dragoman_redis_downstream_connections_total", l, 10)
	gauge(reg, "dragoman_redis_downstream_connections", l, 4)
	gauge(reg, "dragoman_redis_downstream_errors_total", l, 1)
	gauge(reg, "dragoman_redis_upstream_requests_total", e, 7)
	gauge(reg, "dragoman_redis_upstream_timeouts_total", e, 2)
	gauge(reg, "dragoman_redis_upstream_connects_total", e, 3)
	gauge(reg, "dragoman_redis_upstream_connections", e, 1)

	s, err := nutcracker.Listen(t.Context(), "127.0.0.1:0", nutcracker.Options{
		Gatherer: reg, Source: "host", Log: slog.New(slog.DiscardHandler),
		Pools: func() []nutcracker.Pool { return nutcracker.Pools(cfg, "default") },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	c, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	text, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if got["timestamp"].(float64) < 1e9 {
		t.Errorf("timestamp %v", got["timestamp"])
	}
	delete(got, "timestamp")
	delete(got, "uptime")
	server := func(requests, responses, timedout, connections float64) map[string]any {
		return map[string]any{
			"server_eof": 0.0, "server_err": 0.0, "server_timedout": timedout, "server_connections": connections,
			"requests": requests, "responses": responses,
		}
	}
	want := map[string]any{
		"service": "nutcracker", "source": "host", "version": "0.5.0",
		"total_connections": 13.0, "curr_connections": 5.0,
		`Alpha "x"`: map[string]any{
			"client_eof": 5.0, "client_err": 1.0, "client_connections": 4.0,
			"server_ejects": 0.0, "forward_error": 2.0,
			"127.0.0.1:6379": server(0, 0, 0, 0),
			"named":          server(9, 7, 2, 1),
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s\n%s", diff, text)
	}
}
