package kube

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/internal/meshtest"
)

// lokiPort is that of the Service, and of its endpoints.
const lokiPort = 3100

// loki takes what is pushed to it.
type loki struct {
	mu    sync.Mutex // guards below
	lines []string   // with the labels of their streams before them, sorted
	wrong []string
}

// startLoki is a receiver at an address of its own.
func startLoki(t *testing.T) (l *loki, host string) {
	t.Helper()
	l, host = &loki{}, suite.Addresses(t, 1)[0].String()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", net.JoinHostPort(host, fmt.Sprint(lokiPort)))
	if err != nil {
		t.Fatal(err)
	}
	s := &httptest.Server{Listener: listener, Config: &http.Server{Handler: l}}
	s.Start()
	t.Cleanup(s.Close)
	return l, host
}

// ServeHTTP implements http.Handler by Loki's push API, in JSON.
func (l *loki) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	err := l.take(r)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.wrong = append(l.wrong, err.Error())
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (l *loki) take(r *http.Request) error {
	if r.Method != http.MethodPost || r.URL.Path != "/loki/api/v1/push" {
		return fmt.Errorf("%s %s", r.Method, r.URL)
	}
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		var err error
		if body, err = gzip.NewReader(r.Body); err != nil {
			return err
		}
	}
	var push struct {
		Streams []struct {
			Stream map[string]string
			Values [][]json.RawMessage
		}
	}
	if err := json.NewDecoder(body).Decode(&push); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range push.Streams {
		for _, v := range s.Values {
			var entry string
			var record struct{ Body string }
			if err := json.Unmarshal(v[1], &entry); err != nil {
				return err
			}
			if err := json.Unmarshal([]byte(entry), &record); err != nil {
				return err
			}
			l.lines = append(l.lines, s.Stream["job"]+" "+s.Stream["k8s_pod_name"]+" "+record.Body)
		}
	}
	slices.Sort(l.lines)
	return nil
}

// has waits for lines, which have to be all that there are.
func (l *loki) has(t *testing.T, p *program, want ...string) {
	t.Helper()
	got := func() []string {
		l.mu.Lock()
		defer l.mu.Unlock()
		return slices.Clone(l.lines)
	}
	p.Eventually(fmt.Sprintf("%d lines", len(want)), func() error {
		if n := len(got()); n < len(want) {
			return fmt.Errorf("%d", n)
		}
		return nil
	})
	if diff := cmp.Diff(want, got()); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.wrong) > 0 {
		t.Errorf("it was sent what it does not take: %q", l.wrong)
	}
}

// logsAreShipped gives a proxy an Adapter for logs: lines go to a Service, whose endpoint moves, and come once. A second
// Adapter that would keep its positions in the same file is not served, and its status says why.
func logsAreShipped(t *testing.T, c *cluster) {
	ns, dir := c.Namespace(t), t.TempDir()
	one, first := startLoki(t)
	two, second := startLoki(t)
	c.Service(t, ns, "loki", lokiPort)
	c.EndpointSlice(t, ns, "loki", lokiPort, first)
	log := filepath.Join(dir, "app.log")
	document := fmt.Sprintf(`apiVersion: mesh.dragoman.io/v1alpha1
kind: Adapter
metadata: {name: logs}
spec:
  selector: {matchLabels: {app: web}}
  logs:
    positions: %s/positions
    sources: [{name: app, paths: [%s]}]
    batch: {interval: 50ms}
    sink: {loki: {service: {name: loki, port: %d}, labels: {job: app}, labelsFrom: [k8s.pod.name]}}
`, dir, log, lokiPort)
	c.Apply(t, ns, document)
	appendLines(t, log, "from before", "the adapter")
	pod := c.web(t, ns, "web-0")
	proxy := c.proxy(t, pod, t.TempDir())
	proxy.Ready("LIVE")
	c.conditionsOf(t, "adapters", ns, "logs", "Accepted=True/Accepted", "ResolvedRefs=True/ResolvedRefs", "Programmed=True/Programmed: 1 of 1")
	one.has(t, proxy, "app web-0 from before", "app web-0 the adapter")

	c.EndpointSlice(t, ns, "loki", lokiPort, second)
	proxy.Eventually("the pool to have the second receiver alone", func() error {
		_, body := proxy.Get("/clusters")
		if meshtest.Holds(body, first) == nil {
			return errors.New(body)
		}
		return meshtest.Holds(body, second)
	})
	appendLines(t, log, "elsewhere")
	two.has(t, proxy, "app web-0 elsewhere")
	one.has(t, proxy, "app web-0 from before", "app web-0 the adapter")

	c.Apply(t, ns, strings.Replace(document, "name: logs}", "name: logs-again}", 1))
	c.conditionsOf(t, "adapters", ns, "logs-again", "Programmed=False/PositionsConflict: 0 of 1", "Adapter "+ns+"/logs keeps its positions in the same file")
}

// appendLines writes to a file as an app does.
func appendLines(t *testing.T, path string, lines ...string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(strings.Join(lines, "\n") + "\n"); err != nil {
		t.Fatal(err)
	}
}
