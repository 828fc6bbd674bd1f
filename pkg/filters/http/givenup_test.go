package http_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
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
