package http_test

import (
	"fmt"
	"net/http"
	"testing"
)

// TestRequireTLS: a client whose TLS has ended at a proxy before is not sent to https again, where that proxy is to be believed.
func TestRequireTLS(t *testing.T) { overEngines(t, testRequireTLS) }

func testRequireTLS(t *testing.T, e engine) {
	for name, tt := range map[string]struct {
		edge  bool
		proto string
		want  int
	}{
		"plain":                   {false, "", http.StatusMovedPermanently},
		"plain, by a proxy":       {false, "http", http.StatusMovedPermanently},
		"TLS, by a proxy":         {false, "https", http.StatusOK},
		"a client that says so":   {true, "https", http.StatusMovedPermanently},
		"a client that says much": {false, "https,https", http.StatusMovedPermanently},
	} {
		m := routing(routesOf(t, `{"name": "r", "virtual_hosts": [{"name": "v", "domains": ["*"], "require_tls": "ALL", "routes": [
		  {"match": {"prefix": "/"}, "direct_response": {"status": 200}}]}]}`))
		m.Headers.UseRemoteAddress = tt.edge
		h := e.proxy(t, m)
		var header []string
		if tt.proto != "" {
			header = []string{"X-Forwarded-Proto", tt.proto}
		}
		if resp, _ := do(t, "GET", h.url("/"), nil, header...); resp.StatusCode != tt.want {
			t.Errorf("%s: %d, want %d", name, resp.StatusCode, tt.want)
		}
	}
}

// TestHintsLeaveTheRest: the headers of 103 are its own, and take none from the response that follows.
func TestHintsLeaveTheRest(t *testing.T) {
	t.Parallel()
	addr := app(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</style.css>")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Del("Link")
		fmt.Fprint(w, "well")
	})
	m := routing(toCluster(t, ""))
	m = goroutines.chain(m)
	m.Filters[0].Config = &answer{func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		w.Header().Set("Link", "</of/a/filter>")
		next.ServeHTTP(w, r)
	}}
	h := proxy(t, m, clusterOf("c", addr))
	if resp, body := do(t, "GET", h.url("/"), nil); body != "well" || resp.Header.Get("Link") != "</of/a/filter>" {
		t.Errorf("%q, Link %q", body, resp.Header["Link"])
	}
}
