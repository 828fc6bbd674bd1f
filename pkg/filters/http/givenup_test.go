package http_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/net/http2"

	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// TestGivenUpTries: a try that was given up may be on its way still, by HTTP/2, while the next one gets other headers.
func TestGivenUpTries(t *testing.T) {
	t.Parallel()
	cluster := clusterOf("c", wireApp(t, func(_ int, c net.Conn, _ *bufio.Reader) {
		_, _ = io.CopyN(io.Discard, c, int64(len(http2.ClientPreface)))
		f := http2.NewFramer(c, c)
		_ = f.WriteSettings()
		_, _ = io.Copy(io.Discard, c)
	}))
	cluster.HTTP.Protocol = resource.UpstreamHTTP2
	h := goroutines.proxy(t, routing(routesOf(t, `{"name": "r", "virtual_hosts": [{"name": "v", "domains": ["*"], "include_request_attempt_count": true, "routes": [
	  {"match": {"prefix": "/"}, "route": {"cluster": "c", "timeout": "1s", "retry_policy": {"retry_on": "5xx", "num_retries": 20, "per_try_timeout": "0.0005s", "retry_back_off": {"base_interval": "0.001s"}}}}]}]}`)), cluster)
	for range 10 {
		for _, body := range []io.Reader{nil, strings.NewReader("order")} {
			if resp, _ := do(t, "PUT", h.url("/"), body); resp.StatusCode != http.StatusGatewayTimeout {
				t.Errorf("%s", resp.Status)
			}
		}
	}
}

// TestTriesOfChangedRequests: that a filter changes the header of a request on its way changes nothing of what its tries are decided by.
func TestTriesOfChangedRequests(t *testing.T) {
	t.Parallel()
	var tries atomic.Int32
	addr := app(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Again") != "" {
			t.Error("the filter's change is lost")
		}
		tries.Add(1)
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	m := routing(toCluster(t, `, "retry_policy": {"retry_on": "5xx", "num_retries": 3, "retry_back_off": {"base_interval": "0.001s"},
	  "retriable_request_headers": [{"name": "x-again", "present_match": true}]}`))
	m.Filters = slices.Insert(m.Filters, 0, resource.HTTPFilter{Name: "change", Config: &answer{
		func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			changed := r.Clone(r.Context())
			changed.Header.Del("X-Again")
			next.ServeHTTP(w, changed)
		},
	}})
	h := proxy(t, m, clusterOf("c", addr))
	if do(t, "GET", h.url("/"), nil, "X-Again", "yes"); tries.Load() != 4 {
		t.Errorf("%d tries, want 4", tries.Load())
	}
}
