package http_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// TestEjection has an app's own 5xx eject its endpoint where the cluster has
// outlier detection, and nowhere else.
func TestEjection(t *testing.T) { overEngines(t, testEjection) }

func testEjection(t *testing.T, e engine) {
	well := app(t, func(http.ResponseWriter, *http.Request) {})
	failing := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }
	ending := func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	detection := &resource.Outlier{
		ConsecutiveFailures: 5, Interval: time.Hour, BaseEjection: time.Hour, MaxEjection: time.Hour, MaxEjectionPercent: 100,
	}
	tests := map[string]struct {
		serve   http.HandlerFunc
		outlier *resource.Outlier
		want    map[int]int // answers by status, of 30
	}{
		"5xx":                          {failing, nil, map[int]int{200: 15, 500: 15}},
		"5xx, outlier detection":       {failing, detection, map[int]int{200: 25, 500: 5}},
		"no answer, outlier detection": {ending, detection, map[int]int{200: 25, 503: 5}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := clusterOf("c", app(t, tt.serve), well)
			c.Outlier = tt.outlier
			h := e.proxy(t, routing(toCluster(t, "")), c)
			got := map[int]int{}
			for range 30 {
				// A POST: a GET on a connection that was used is tried again.
				resp, _ := do(t, "POST", h.url("/"), http.NoBody)
				got[resp.StatusCode]++
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("answers (-want +got):\n%s", diff)
			}
		})
	}
}
