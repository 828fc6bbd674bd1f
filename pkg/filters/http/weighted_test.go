package http_test

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// TestWeightedClusters draws among clusters by weight, each with headers of its
// own. One of weight 0 gets nothing.
func TestWeightedClusters(t *testing.T) { overEngines(t, testWeightedClusters) }

func testWeightedClusters(t *testing.T, e engine) {
	var clusters []*resource.Cluster
	for _, name := range []string{"a", "b", "none"} {
		clusters = append(clusters, clusterOf(name, app(t, func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, name, " ", r.Header.Get("X-For"))
		})))
	}
	h := e.proxy(t, routing(routesOf(t, `{"name": "r", "virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [
	  {"match": {"prefix": "/"}, "route": {"weighted_clusters": {"clusters": [
	    {"name": "a", "weight": 1, "request_headers_to_add": [{"header": {"key": "x-for", "value": "A"}}]},
	    {"name": "none", "weight": 0},
	    {"name": "b", "weight": 1, "request_headers_to_add": [{"header": {"key": "x-for", "value": "B"}}]}]}}}]}]}`)), clusters...)
	got := map[string]bool{}
	for range 100 { // that one of two is never drawn happens once in 2^99 times
		_, body := do(t, "GET", h.url("/"), nil)
		got[body] = true
	}
	if diff := cmp.Diff(map[string]bool{"a A": true, "b B": true}, got); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
}

// TestRetryBudget tries again only as far as the cluster's budget goes.
func TestRetryBudget(t *testing.T) { overEngines(t, testRetryBudget) }

func testRetryBudget(t *testing.T, e engine) {
	for name, tt := range map[string]struct {
		limits resource.ClusterLimits
		status int
		calls  int32
	}{
		"no budget named":              {resource.ClusterLimits{}, http.StatusOK, 3},
		"retries enough":               {resource.ClusterLimits{MaxRetries: 1}, http.StatusOK, 3},
		"budget for none":              {resource.ClusterLimits{RetryBudget: 0.01}, http.StatusServiceUnavailable, 1},
		"budget of all requests":       {resource.ClusterLimits{RetryBudget: 1}, http.StatusOK, 3},
		"budget with a minimum":        {resource.ClusterLimits{RetryBudget: 0.01, RetryMinimum: 1}, http.StatusOK, 3},
		"budget goes before a maximum": {resource.ClusterLimits{RetryBudget: 0.01, MaxRetries: 5}, http.StatusServiceUnavailable, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var calls atomic.Int32
			c := clusterOf("c", app(t, func(w http.ResponseWriter, _ *http.Request) {
				if calls.Add(1) < 3 {
					w.WriteHeader(http.StatusServiceUnavailable)
				}
			}))
			c.Limits = tt.limits
			h := e.proxy(t, routing(toCluster(t, `, "retry_policy": {"retry_on": "5xx", "num_retries": 2, "retry_back_off": {"base_interval": "0.001s"}}`)), c)
			resp, _ := do(t, "GET", h.url("/"), nil)
			if resp.StatusCode != tt.status || calls.Load() != tt.calls {
				t.Errorf("status %d after %d tries, want %d after %d", resp.StatusCode, calls.Load(), tt.status, tt.calls)
			}
		})
	}
}
