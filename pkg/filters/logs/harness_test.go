package logs_test

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/filters/logs"
	"github.com/dragoman-mesh/dragoman/pkg/logs/parse"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

const limit = 60 * time.Second

// cluster has one endpoint.
type cluster struct{ table filters.Table }

func newCluster(address string) *cluster {
	e := &filters.Endpoint{Network: "tcp", Address: address, Hostname: address}
	e.SetHealthy(true)
	return &cluster{filters.Table{Version: 1, Shards: []filters.Shard{{Primary: e}}}}
}

func (c *cluster) Name() string                              { return "receiver" }
func (c *cluster) Table() *filters.Table                     { return &c.table }
func (c *cluster) Report(*filters.Endpoint, filters.Outcome) {}
func (c *cluster) Refresh(string)                            {}
func (c *cluster) Cluster(string) (filters.Cluster, bool)    { return c, true }

type secrets map[string]string

func (s secrets) Secret(name string) (string, error) {
	v, ok := s[name]
	if !ok {
		return "", errors.New("no such secret")
	}
	return v, nil
}

// taken is what a receiver has taken.
type taken struct {
	mu     sync.Mutex
	bodies []string
	calls  int
	wrong  []string
}

func (k *taken) call() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.calls++
	return k.calls
}

func (k *taken) add(bodies ...string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.bodies = append(k.bodies, bodies...)
}

// complain notes what no receiver would take.
func (k *taken) complain(format string, args ...any) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.wrong = append(k.wrong, fmt.Sprintf(format, args...))
}

func (k *taken) want(t *testing.T, bodies ...string) {
	t.Helper()
	redistest.Eventually(t, limit, "records", func() error {
		k.mu.Lock()
		defer k.mu.Unlock()
		if len(k.bodies) < len(bodies) {
			return fmt.Errorf("%d of %d, after %d calls; %q", len(k.bodies), len(bodies), k.calls, k.wrong)
		}
		return nil
	})
	k.mu.Lock()
	defer k.mu.Unlock()
	got := slices.Sorted(slices.Values(k.bodies))
	if diff := cmp.Diff(slices.Sorted(slices.Values(bodies)), got); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	if len(k.wrong) > 0 {
		t.Errorf("the receiver complains: %q", k.wrong)
	}
}

// ship follows a file with the lines until the test is over.
func ship(t *testing.T, address string, sink resource.LogsSink, lines ...string) *logs.Builder {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "app.log")
	if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	b := logs.NewBuilder(log, logs.Options{Getenv: func(name string) string {
		return map[string]string{"POD_NAME": "web-0", "POD_NAMESPACE": "shop"}[name]
	}})
	c := newCluster(address)
	run(t, b, &resource.LogsFilter{
		Sources:   []resource.LogsSource{{Name: "app", Paths: []string{file}, Parse: parse.Options{Format: parse.JSON}}},
		Positions: filepath.Join(dir, "positions"), MaxLine: 4096, MaxFiles: 10, Rest: time.Second,
		BatchBytes: 1 << 20, BatchRecords: 1000, BatchInterval: 10 * time.Millisecond, Sink: sink,
	}, filters.Context{Listener: "shop/app", Clusters: c, Secrets: secrets{"token": "t0ken\n", "pass/word": "pa55"}, Log: log})
	return b
}

// run builds a filter and has it work until the test is over.
func run(t *testing.T, b *logs.Builder, config *resource.LogsFilter, ctx filters.Context) {
	t.Helper()
	f, err := b.Build(config, ctx)
	if err != nil {
		t.Fatal(err)
	}
	starter, ok := f.(filters.Starter)
	if !ok {
		t.Fatal("it cannot be started")
	}
	starter.Start()
	t.Cleanup(func() {
		done := make(chan struct{})
		f.Retire(filters.Retirement{Cut: true, Done: func() { close(done) }})
		<-done
	})
}

func peer(path string, gz bool) resource.LogsPeer {
	return resource.LogsPeer{Cluster: "receiver", Host: "receiver.example", Path: path, Timeout: 10 * time.Second, Gzip: gz, Headers: map[string]string{"X-Team": "shop"}}
}

// body reads a request's.
func body(r *http.Request) ([]byte, error) {
	if r.Header.Get("Content-Encoding") != "gzip" {
		return io.ReadAll(r.Body)
	}
	zr, err := gzip.NewReader(r.Body)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(zr)
}

func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}
