package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/internal/filetest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// shipped are the records on a proxy's standard output: what the Adapter says of itself, and the line.
func (p *Proxy) shipped() []string {
	var out []string
	for line := range strings.Lines(string(p.Output())) {
		var r struct {
			Body     string
			Resource map[string]string
		}
		if json.Unmarshal([]byte(line), &r) == nil && r.Resource["version"] != "" {
			out = append(out, r.Resource["version"]+" "+filepath.Base(r.Resource["log.file.path"])+" "+r.Body)
		}
	}
	return out
}

func (p *Proxy) awaitShipped(want ...string) {
	p.t.Helper()
	redistest.Eventually(p.t, readyLimit, fmt.Sprintf("%d records", len(want)), func() error {
		if n := len(p.shipped()); n < len(want) {
			return fmt.Errorf("there are %d", n)
		}
		return nil
	})
	if diff := cmp.Diff(want, p.shipped()); diff != "" {
		p.t.Errorf("records (-want +got):\n%s", diff)
	}
}

func appendLine(t *testing.T, file, line string) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(line + "\n"); err != nil {
		t.Fatal(err)
	}
}

// TestLogsComeAndGo gives a running proxy, which has no logs to ship, an Adapter of logs by a file; changes it; takes it away, and gives it back. Each line comes
// once, by the Adapter that is there then, and what is written while there is none comes later.
func TestLogsComeAndGo(t *testing.T) {
	t.Parallel()
	documents, dir := t.TempDir(), t.TempDir()
	one, two, adapter := filepath.Join(dir, "one.log"), filepath.Join(dir, "two.log"), filepath.Join(documents, "logs.yaml")
	write := func(version int, paths ...string) {
		filetest.Put(t, adapter, fmt.Sprintf(`apiVersion: mesh.dragoman.io/v1alpha1
kind: Adapter
metadata: {name: app}
spec:
  logs:
    sources: [{name: app, paths: [%s]}]
    resource: {version: "v%d"}
    batch: {interval: 20ms}
    sink: {stdout: {}}
`, strings.Join(paths, ", "), version))
	}
	node := startShards(t, 1, 0)
	filetest.Put(t, filepath.Join(documents, "cache.yaml"), mesh{port: redistest.Port(t), env: shards(node...)}.YAML())
	appendLine(t, one, "before the adapter")
	p := launch(t, nil, "run", "-f", documents)
	p.awaitReady()

	write(1, one)
	p.awaitShipped("v1 one.log before the adapter")
	appendLine(t, one, "with it")
	appendLine(t, two, "elsewhere")
	p.awaitShipped("v1 one.log before the adapter", "v1 one.log with it")

	write(2, one, two)
	p.awaitShipped("v1 one.log before the adapter", "v1 one.log with it", "v2 two.log elsewhere")
	appendLine(t, one, "after the change")
	p.awaitShipped("v1 one.log before the adapter", "v1 one.log with it", "v2 two.log elsewhere", "v2 one.log after the change")

	if err := os.Remove(adapter); err != nil {
		t.Fatal(err)
	}
	redistest.Eventually(t, readyLimit, "the adapter to be gone", func() error {
		if strings.Contains(p.Get("/stats/prometheus"), `dragoman_logs_lag_bytes{adapter="`) {
			return errors.New("it still runs")
		}
		return nil
	})
	appendLine(t, one, "without it")
	write(3, one, two)
	p.awaitShipped("v1 one.log before the adapter", "v1 one.log with it", "v2 two.log elsewhere", "v2 one.log after the change", "v3 one.log without it")
}
