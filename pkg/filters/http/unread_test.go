package http_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
)

// endless is an app whose answers have no end, and how much of them was taken.
func endless(t *testing.T) (addr string, taken *atomic.Int64) {
	t.Helper()
	taken = new(atomic.Int64)
	addr = app(t, func(w http.ResponseWriter, _ *http.Request) {
		for piece := make([]byte, 64<<10); ; {
			n, err := w.Write(piece)
			if err != nil {
				return
			}
			taken.Add(int64(n))
		}
	})
	return addr, taken
}

// heldUp waits until an endpoint goes no further, since the client does not read,
// and gives what it has counted.
func heldUp(t *testing.T, count *atomic.Int64) int64 {
	t.Helper()
	before := int64(-1)
	redistest.Eventually(t, 30*time.Second, "the endpoint to be held up", func() error {
		if now := count.Load(); now != before || now == 0 {
			before = now
			return fmt.Errorf("it has come to %d", now)
		}
		return nil
	})
	return before
}

// overWith waits until no request is under way.
func (h *host) overWith() {
	h.t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(h.builder)
	redistest.Eventually(h.t, 30*time.Second, "the end of the request", func() error {
		families, err := registry.Gather()
		if err != nil {
			return err
		}
		for _, f := range families {
			if f.GetName() != "dragoman_http_downstream_requests_active" {
				continue
			}
			if n := f.GetMetric()[0].GetGauge().GetValue(); n > 0 {
				return fmt.Errorf("%v requests are under way", n)
			}
			return nil
		}
		return errors.New("nothing is known of requests")
	})
}

// TestUnreadAnswerEnds: a request whose time is over ends, though its client reads
// nothing of the answer.
func TestUnreadAnswerEnds(t *testing.T) { overEngines(t, testUnreadAnswerEnds) }

func testUnreadAnswerEnds(t *testing.T, e engine) {
	// A second is enough for the client to hold the endpoint up before.
	tests := map[string]struct {
		route  string
		age    time.Duration // of the exchange at the most
		retire bool          // the configuration, to a successor
	}{
		"the route's timeout":      {route: `, "timeout": "1s"`},
		"the route's idle timeout": {route: `, "timeout": "0s", "idle_timeout": "1s"`},
		"max stream duration":      {route: `, "timeout": "0s"`, age: time.Second},
		"drain deadline":           {route: `, "timeout": "0s"`, retire: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr, taken := endless(t)
			m := routing(toCluster(t, tt.route))
			m.Limits.MaxStream = tt.age
			h := e.proxy(t, m, clusterOf("c", addr))
			fmt.Fprint(h.dial(), "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
			if tt.retire {
				heldUp(t, taken)
				first := h.swap(m)
				first.Retire(filters.Retirement{Next: *h.current.Load(), Deadline: time.Millisecond, Done: func() {}})
			} else {
				redistest.Eventually(t, 30*time.Second, "the answer's beginning", func() error {
					if taken.Load() == 0 {
						return errors.New("nothing was taken")
					}
					return nil
				})
			}
			h.overWith()
		})
	}
}

// TestUnreadStreamEnds is the same for a stream of HTTP/2, whose connection goes on.
func TestUnreadStreamEnds(t *testing.T) {
	t.Parallel()
	addr, taken := endless(t)
	m := routing(routesOf(t, `{"name": "r", "virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [
	  {"match": {"path": "/well"}, "direct_response": {"status": 200, "body": {"inline_string": "well"}}},
	  {"match": {"prefix": "/"}, "route": {"cluster": "c", "timeout": "0s"}}]}]}`))
	m.Limits.MaxStream = time.Second
	h := proxy(t, m, clusterOf("c", addr))
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	defer transport.CloseIdleConnections()
	ask := func(path string) *http.Response {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, h.url(path), nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := transport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { resp.Body.Close() })
		return resp
	}
	ask("/")
	heldUp(t, taken)
	h.overWith()
	if n := h.ln.Connections(); n != 1 {
		t.Errorf("%d connections after the stream's end", n)
	}
	if text, err := io.ReadAll(ask("/well").Body); string(text) != "well" || err != nil {
		t.Errorf("the next answer is %q, %v", text, err)
	}
}
