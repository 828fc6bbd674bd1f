package redis

import (
	"testing"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
)

// TestMetricsOfWhatIsGone: the counters of an endpoint are not kept for ever when no cluster has it any more.
func TestMetricsOfWhatIsGone(t *testing.T) {
	t.Parallel()
	nodes := servers(t, 1)
	f := start(t, defaults(), newCluster("main", nodes...))
	check(t, f.dial(), "GET k", "$-1")
	gone := endpointKey{"main", "192.0.2.1:6379", "s1"}
	f.onLoop(func(w *worker) {
		now := w.loop.Now()
		w.endpoints[gone] = &endpointStats{seen: now}
		current := map[*filters.Endpoint]bool{}
		for _, lf := range w.filters {
			lf.markEndpoints(current)
		}
		for _, want := range []int{2, 1} {
			w.forgetEndpoints(current, now+int64(forgetAfter)+int64(2-want))
			if len(w.endpoints) != want || w.endpoints[endpointKey{"main", nodes[0].Addr(), "s1"}] == nil {
				t.Errorf("%d endpoints have counters, want %d", len(w.endpoints), want)
			}
		}
	})
}
