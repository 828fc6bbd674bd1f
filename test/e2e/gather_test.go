package e2e

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/internal/filetest"
	"github.com/dragoman-mesh/dragoman/internal/nettest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// searchServer has a part of what is searched. It misbehaves where its path says so.
type searchServer struct {
	addr  string
	asked atomic.Int64
	late  chan struct{} // closed when the test ends
}

func newSearchServer(t *testing.T, hits string) *searchServer {
	t.Helper()
	s := &searchServer{late: make(chan struct{})}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked.Add(1)
		body, _ := io.ReadAll(r.Body)
		switch name := strings.TrimPrefix(r.URL.Path, "/"); {
		case name == "failing", name == "failing-"+hits[:1]:
			http.Error(w, "no", http.StatusInternalServerError)
		case name == "late-"+hits[:1] && s.asked.Load()%2 == 1:
			select {
			case <-r.Context().Done():
			case <-s.late:
			}
		case name == "echo":
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `[%q]`, r.Method+" "+string(body))
		case name == "page-"+hits[:1]:
			fmt.Fprint(w, "<html>")
		case name == "large-"+hits[:1]:
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"hits":[%q]}`, strings.Repeat("x", 4096))
		case name == "nothing-"+hits[:1]:
			w.WriteHeader(http.StatusNoContent)
		default:
			w.Header().Set("Content-Type", "application/json; charset=utf-8")
			fmt.Fprintf(w, `{"n":%d,"hits":[%s]}`, len(strings.Split(hits, ",")), hits[2:])
		}
	}))
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(s.late) })
	s.addr = server.Listener.Addr().String()
	return s
}

// TestGather has one request answered by several servers.
func TestGather(t *testing.T) {
	t.Parallel()
	port, closed := redistest.Port(t), redistest.Port(t)
	a, b := newSearchServer(t, `a:{"s":1},{"s":7}`), newSearchServer(t, `b:{"s":5},{"s":"x"}`)
	file := filetest.Put(t, filepath.Join(t.TempDir(), "mesh.yaml"), fmt.Sprintf(`apiVersion: mesh.dragoman.io/v1alpha1
kind: Ambassador
metadata: {name: search}
spec:
  protocol: http
  listen: {port: %d}
  http:
    routes:
    - path: /all
      gather: {merge: {kind: Concat, path: hits, sortBy: s, order: Descending, limit: 3}}
    - {path: /sum, gather: {pools: [a, b], merge: {kind: Sum}}}
    - {path: /objects, gather: {pools: [b, a], merge: {kind: Objects}}}
    - {path: /program, gather: {pools: [a, b], merge: {kind: JQ, program: 'map({(.leaf): .body.n}) | add'}}}
    - {path: /echo, gather: {pools: [a, b], merge: {kind: Concat}, maxBodyBytes: 1Ki}}
    - {prefix: /strict, rewrite: /, gather: {pools: [a, b], minimum: 2, deadline: 20s, merge: {kind: Concat, path: hits}}}
    - {prefix: /partial, rewrite: /, gather: {pools: [a, b, closed], deadline: 20s, maxBodyBytes: 1Ki, merge: {kind: Concat, path: hits}}}
    - {prefix: /hasty, rewrite: /, gather: {pools: [a, b, closed], deadline: 3s, merge: {kind: Concat, path: hits}}}
    - {prefix: /hedged, rewrite: /, gather: {pools: [both], deadline: 20s, hedgeAfter: 50ms, merge: {kind: Concat, path: hits}}}
  environments:
    dev:
      endpoints: [{address: %[2]q}, {address: %[3]q}]
      pools:
        a: {address: %[2]q}
        b: {address: %[3]q}
        both: {endpoints: [{address: %[2]q}, {address: %[3]q}]}
        closed: {address: "127.0.0.1:%[4]d"}
  defaultEnvironment: dev
`, port, a.addr, b.addr, closed))
	p := launch(t, nil, "run", "-f", file)
	p.awaitReady()

	tests := []struct{ name, method, path, body, want string }{
		{"every endpoint, sorted", "GET", "/all", "", `200 leaves=2, answered=2 {"n":2,"hits":[{"s":7},{"s":5},{"s":1}]}`},
		{"numbers", "GET", "/sum", "", `200 leaves=2, answered=2 {"n":4,"hits":[{"s":1},{"s":7}]}`},
		{"objects, in the order of the pools", "GET", "/objects", "", `200 leaves=2, answered=2 {"n":2,"hits":[{"s":5},{"s":"x"}]}`},
		{"a program", "GET", "/program", "", `200 leaves=2, answered=2 {"a":2,"b":2}`},
		{"a request with a body", "POST", "/echo", "find", `200 leaves=2, answered=2 ["POST find","POST find"]`},
		{
			"a request that is too large", "POST", "/echo", strings.Repeat("x", 1025),
			`413  {"title":"Request Entity Too Large","status":413,"detail":"a request for several servers may have 1024 bytes"}`,
		},
		{"all of all", "GET", "/strict/x", "", `200 leaves=2, answered=2 {"n":2,"hits":[{"s":1},{"s":7},{"s":5},{"s":"x"}]}`},
		{
			"one fails, and both are needed", "GET", "/strict/failing-b", "",
			`502 leaves=2, answered=1, missing=("b";reason=status;status=500) {"title":"Bad Gateway","status":502,` +
				`"detail":"1 of 2 servers have answered, and 2 must","missing":[{"leaf":"b","reason":"status","status":500,"detail":"via_upstream"}]}`,
		},
		{"one cannot be reached", "GET", "/partial/x", "", `200 leaves=3, answered=2, missing=("closed";reason=connect) {"n":2,"hits":[{"s":1},{"s":7},{"s":5},{"s":"x"}]}`},
		{
			"one is no JSON", "GET", "/partial/page-b", "",
			`200 leaves=3, answered=1, missing=("b";reason=unusable "closed";reason=connect) {"n":2,"hits":[{"s":1},{"s":7}]}`,
		},
		{
			"one is too large", "GET", "/partial/large-a", "",
			`200 leaves=3, answered=1, missing=("a";reason=large "closed";reason=connect) {"n":2,"hits":[{"s":5},{"s":"x"}]}`,
		},
		{"one has nothing", "GET", "/partial/nothing-a", "", `200 leaves=3, answered=2, missing=("closed";reason=connect) {"n":2,"hits":[{"s":5},{"s":"x"}]}`},
		{
			"nobody answers", "GET", "/partial/failing", "",
			`502 leaves=3, answered=0, missing=("a";reason=status;status=500 "b";reason=status;status=500 "closed";reason=connect) ` +
				`{"title":"Bad Gateway","status":502,"detail":"0 of 3 servers have answered, and 1 must","missing":[` +
				`{"leaf":"a","reason":"status","status":500,"detail":"via_upstream"},{"leaf":"b","reason":"status","status":500,"detail":"via_upstream"},` +
				`{"leaf":"closed","reason":"connect","detail":"upstream_reset_before_response_started{connection_failure}"}]}`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := askLeaves(t, tt.method, fmt.Sprintf("http://127.0.0.1:%d%s", port, tt.path), tt.body)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("%s %s (-want +got):\n%s", tt.method, tt.path, diff)
			}
		})
	}

	t.Run("one is late", func(t *testing.T) {
		a.asked.Store(0)
		want := `200 leaves=3, answered=1, missing=("a";reason=timeout "closed";reason=connect) {"n":2,"hits":[{"s":5},{"s":"x"}]}`
		if diff := cmp.Diff(want, askLeaves(t, "GET", fmt.Sprintf("http://127.0.0.1:%d/hasty/late-a", port), "")); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
	t.Run("another endpoint is asked for a late one", func(t *testing.T) {
		for range 10 { // whichever of the two is asked first, b answers
			a.asked.Store(0)
			want := `200 leaves=1, answered=1 {"n":2,"hits":[{"s":5},{"s":"x"}]}`
			if diff := cmp.Diff(want, askLeaves(t, "GET", fmt.Sprintf("http://127.0.0.1:%d/hedged/late-a", port), "")); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		}
	})
	t.Run("another endpoint is asked for one that fails", func(t *testing.T) {
		for range 10 {
			want := `200 leaves=1, answered=1 {"n":2,"hits":[{"s":5},{"s":"x"}]}`
			if diff := cmp.Diff(want, askLeaves(t, "GET", fmt.Sprintf("http://127.0.0.1:%d/hedged/failing-a", port), "")); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		}
	})
}

// askLeaves gives the status, what became of the leaves, and the body.
func askLeaves(t *testing.T, method, url, body string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := nettest.Client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(resp.StatusCode, " ", resp.Header.Get("Dragoman-Gather"), " ", string(text))
}
