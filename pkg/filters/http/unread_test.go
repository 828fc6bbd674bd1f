package http_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
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

// begun waits until an endpoint has been asked.
func begun(t *testing.T, count *atomic.Int64) {
	t.Helper()
	redistest.Eventually(t, 30*time.Second, "the answer's beginning", func() error {
		if count.Load() == 0 {
			return errors.New("nothing was taken")
		}
		return nil
	})
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

// end is what ends a request.
type end struct {
	route  string
	age    time.Duration // of the exchange at the most
	retire bool          // the configuration, to a successor
}

// ends are those of a request that has been answered with something. A second is
// enough for the client to hold the endpoint up before.
var ends = map[string]end{
	"the route's timeout":      {route: `, "timeout": "1s"`},
	"the route's idle timeout": {route: `, "timeout": "0s", "idle_timeout": "1s"`},
	"max stream duration":      {route: `, "timeout": "0s"`, age: time.Second},
	"drain deadline":           {route: `, "timeout": "0s"`, retire: true},
}

func (e *end) routing(t *testing.T) *resource.HTTPManager {
	t.Helper()
	m := routing(toCluster(t, e.route))
	m.Limits.MaxStream = e.age
	return m
}

// await has a request end whose client has read nothing.
func (e *end) await(h *host, m *resource.HTTPManager, taken *atomic.Int64) {
	h.t.Helper()
	begun(h.t, taken)
	if e.retire {
		heldUp(h.t, taken)
		first := h.swap(m)
		first.Retire(filters.Retirement{Next: *h.current.Load(), Deadline: time.Millisecond, Done: func() {}})
	}
	h.overWith()
}

// TestUnreadAnswerEnds: a request whose time is over ends, though its client reads
// nothing of the answer.
func TestUnreadAnswerEnds(t *testing.T) { overEngines(t, testUnreadAnswerEnds) }

func testUnreadAnswerEnds(t *testing.T, e engine) {
	for name, tt := range ends {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr, taken := endless(t)
			m := tt.routing(t)
			h := e.proxy(t, m, clusterOf("c", addr))
			fmt.Fprint(h.dial(), "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
			tt.await(h, m, taken)
		})
	}
}

// TestUnreadFilterEnds: the same holds for a filter that writes what it has made of
// an answer, when the router has done its part.
func TestUnreadFilterEnds(t *testing.T) {
	t.Parallel()
	addr := app(t, func(http.ResponseWriter, *http.Request) {})
	for name, tt := range ends {
		if name == "the route's timeout" {
			continue // it is the endpoint's
		}
		for _, version := range []string{"HTTP/1.1", "HTTP/2"} {
			t.Run(name+", "+version, func(t *testing.T) {
				t.Parallel()
				taken := new(atomic.Int64)
				m := tt.routing(t)
				hold := &answer{func(w http.ResponseWriter, r *http.Request, next http.Handler) {
					next.ServeHTTP(httptest.NewRecorder(), r)
					for piece := make([]byte, 64<<10); ; {
						n, err := w.Write(piece)
						if err != nil {
							return
						}
						taken.Add(int64(n))
					}
				}}
				m.Filters = slices.Insert(m.Filters, 0, resource.HTTPFilter{Name: "hold", Config: hold})
				h := proxy(t, m, clusterOf("c", addr))
				if version == "HTTP/2" {
					h.mute(wide, nil).ask(1, "/")
				} else {
					fmt.Fprint(h.dial(), "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
				}
				tt.await(h, m, taken)
			})
		}
	}
}
