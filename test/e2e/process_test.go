package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/dragoman-mesh/dragoman/internal/filetest"
	"github.com/dragoman-mesh/dragoman/internal/nettest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// command runs the proxy's program to its end and returns what it printed, and its exit code.
func command(t *testing.T, args ...string) (output string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), readyLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, proxyBinary(t), args...)
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		t.Fatalf("proxy %q hangs:\n%s", args, out)
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("proxy %q: %v", args, err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// post asks the admin server to do something.
func (p *Proxy) post(path string) {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), http.MethodPost, "http://"+p.admin+path, http.NoBody)
	if err != nil {
		p.t.Fatal(err)
	}
	resp, err := nettest.Client.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		p.t.Fatalf("POST %s: %s %v\n%s", path, resp.Status, err, body)
	}
}

// TestProcessValidate: a folder with many mistakes is reported at once, each with its place.
func TestProcessValidate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	good := mesh{port: 6380, env: `address: "127.0.0.1:6379"`}
	a := filetest.Put(t, filepath.Join(dir, "a.yaml"), strings.NewReplacer("protocol: redis", "protocol: rediss", "port: 6380", "port: 66666").Replace(good.YAML()))
	b := filetest.Put(t, filepath.Join(dir, "b.yml"), good.named("b")+"---\n"+good.named("c"))
	c := filetest.Put(t, filepath.Join(dir, "c.json"), `{"apiVersion": "mesh.dragoman.io/v1alpha1", "kind": "Ambasador"}`)
	d := filetest.Put(t, filepath.Join(dir, "d.yaml"), "apiVersion: [\n")
	out, code := command(t, "validate", "-f", dir)
	if code != 64 {
		t.Errorf("exit code: got %d, want 64", code)
	}
	for _, want := range []string{
		a + ":4:", `spec.protocol: unknown value "rediss" (did you mean "redis"?)`, "spec.listen.port", b + ":9:", "binds to the same place as default/b",
		c + ":1:", `unknown kind "Ambasador" (did you mean "Ambassador"?)`, d + ":1:", "not valid YAML",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if out, code := command(t, "run", "-f", dir, "--admin-address", "off"); code != 64 || !strings.Contains(out, `did you mean "redis"?`) {
		t.Errorf("run: exit code %d\n%s", code, out)
	}
	if out, code := command(t, "validate", "-f", filetest.Put(t, filepath.Join(t.TempDir(), "good.yaml"), good.YAML())); code != 0 {
		t.Errorf("a good document: exit code %d\n%s", code, out)
	}
}

// TestProcessStart: until every cluster has been looked at, /ready and status say that it is not ready, and nobody is let in.
func TestProcessStart(t *testing.T) {
	t.Parallel()
	node := redistest.Server(t)
	node.Freeze()
	m := mesh{port: redistest.Port(t), env: fmt.Sprintf("cluster: {seeds: [%q]}", node.Addr())}
	p := launchProxy(t, m.YAML())
	redistest.Eventually(t, readyLimit, "the admin server", func() error {
		status, body, err := p.fetch("/ready")
		if err == nil && (status != http.StatusServiceUnavailable || body != "INITIALIZING\n") {
			t.Errorf("/ready: %d %q", status, body)
		}
		return err
	})
	if out, code := command(t, "status", "--admin-address", p.admin); code != 75 || !strings.Contains(out, "INITIALIZING") {
		t.Errorf("status: exit code %d\n%s", code, out)
	}
	node.Thaw()
	if out, code := command(t, "wait", "--admin-address", p.admin); code != 0 {
		t.Errorf("wait: exit code %d\n%s", code, out)
	}
	if out, code := command(t, "status", "--admin-address", p.admin); code != 0 || !strings.Contains(out, "listener default/cache on "+m.Addr()) {
		t.Errorf("status: exit code %d\n%s", code, out)
	}
}

// TestProcessDrain: on SIGINT the port closes, idle clients are seen off, and who is in the middle of something finishes it.
func TestProcessDrain(t *testing.T) {
	t.Parallel()
	node := redistest.Server(t)
	m := mesh{port: redistest.Port(t), env: shards([]*redistest.Node{node})}
	p := startProxy(t, m.YAML(), "--drain-timeout=60s")
	idle, tx, blocked := redistest.Dial(t, m.Addr()), redistest.Dial(t, m.Addr()), redistest.Dial(t, m.Addr())
	wantReply(t, idle, "+PONG\r\n", "PING")
	wantReply(t, tx, "+OK\r\n", "MULTI")
	wantReply(t, tx, "+QUEUED\r\n", "SET", "k", "v")
	blocked.Send(redistest.Command("BLPOP", "queue", "0"))
	awaitBlocked(t, node)
	if err := p.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	p.awaitShows("/ready", "DRAINING")
	if got, err := idle.TryReadFrame(); !errors.Is(err, io.EOF) {
		t.Errorf("the idle client: got %q, %v, want the end of the connection", got, err)
	}
	redistest.Eventually(t, readyLimit, "the port to close", func() error {
		conn, err := net.Dial("tcp", m.Addr())
		if err == nil {
			_ = conn.Close()
			return errors.New("it still accepts")
		}
		return nil
	})
	wantReply(t, tx, "+QUEUED\r\n", "GET", "k")
	wantReply(t, tx, "*2\r\n+OK\r\n"+bulkOf("v"), "EXEC")
	if got, err := tx.TryReadFrame(); !errors.Is(err, io.EOF) {
		t.Errorf("after the transaction: got %q, %v, want the end of the connection", got, err)
	}
	node.Do("RPUSH", "queue", "job")
	if got, want := blocked.ReadFrame(), "*2\r\n"+bulkOf("queue")+bulkOf("job"); got != want {
		t.Errorf("BLPOP: got %q, want %q", got, want)
	}
	p.awaitEnd()
}

// TestProcessOutlivesTheApp: on SIGTERM, which app and proxy may get at the same moment, the app is served as before, on new connections too,
// until it is gone.
func TestProcessOutlivesTheApp(t *testing.T) {
	t.Parallel()
	m := mesh{port: redistest.Port(t), env: shards([]*redistest.Node{redistest.Server(t)})}
	p := startProxy(t, m.YAML(), "--drain-timeout=60s")
	pooled := redistest.Dial(t, m.Addr())
	wantReply(t, pooled, "+PONG\r\n", "PING")
	if err := p.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p.awaitShows("/ready", "DRAINING")
	last := redistest.Dial(t, m.Addr())
	wantReply(t, last, "+OK\r\n", "SET", "last", "words")
	wantReply(t, pooled, bulkOf("words"), "GET", "last")
	last.Close()
	pooled.Close()
	p.awaitEnd()
}

// TestProcessDoesNotWaitForEver: an app that outlasts the drain deadline loses its port.
func TestProcessDoesNotWaitForEver(t *testing.T) {
	t.Parallel()
	m := mesh{port: redistest.Port(t), env: shards([]*redistest.Node{redistest.Server(t)})}
	p := startProxy(t, m.YAML(), "--drain-timeout=300ms")
	pooled := redistest.Dial(t, m.Addr())
	wantReply(t, pooled, "+PONG\r\n", "PING")
	if err := p.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if got, err := pooled.TryReadFrame(); !errors.Is(err, io.EOF) {
		t.Errorf("the idle client: got %q, %v, want the end of the connection", got, err)
	}
	p.awaitEnd()
}

// awaitEnd waits for the process to end by itself, with exit code 0.
func (p *Proxy) awaitEnd() {
	p.t.Helper()
	select {
	case <-p.Done():
	case <-time.After(stopLimit):
		p.t.Fatalf("the proxy does not end although nobody is left:\n%s", p.Output())
	}
	if got := p.ExitCode(); got != 0 {
		p.t.Errorf("exit code: got %d, want 0", got)
	}
}

func awaitBlocked(t *testing.T, node *redistest.Node) {
	t.Helper()
	redistest.Eventually(t, readyLimit, "a client to block", func() error {
		if got := node.Info("blocked_clients"); got != "1" {
			return fmt.Errorf("%s clients are blocked", got)
		}
		return nil
	})
}

// TestProcessDrainDeadline: nobody holds up the end for longer than the deadline. It is also the end that /quitquitquit brings.
func TestProcessDrainDeadline(t *testing.T) {
	t.Parallel()
	node := redistest.Server(t)
	m := mesh{port: redistest.Port(t), env: shards([]*redistest.Node{node})}
	p := startProxy(t, m.YAML(), "--drain-timeout=300ms")
	blocked := redistest.Dial(t, m.Addr())
	blocked.Send(redistest.Command("BLPOP", "queue", "0"))
	awaitBlocked(t, node)
	p.post("/quitquitquit")
	if got, err := blocked.TryReadFrame(); !errors.Is(err, io.EOF) {
		t.Errorf("BLPOP: got %q, %v, want the end of the connection", got, err)
	}
	p.awaitEnd()
	if got := node.Do("LPUSH", "queue", "job"); got != ":1\r\n" {
		t.Errorf("LPUSH afterwards: got %q: the job went to a client that is gone", got)
	}
}

// TestProcessDrainListeners closes the ports only: who is connected may stay.
func TestProcessDrainListeners(t *testing.T) {
	t.Parallel()
	m := mesh{port: redistest.Port(t), env: shards([]*redistest.Node{redistest.Server(t)})}
	p := startProxy(t, m.YAML())
	client := redistest.Dial(t, m.Addr())
	wantReply(t, client, "+OK\r\n", "SET", "k", "v")
	if status, _, err := p.fetch("/drain_listeners"); err != nil || status != http.StatusMethodNotAllowed {
		t.Errorf("GET /drain_listeners: %d, %v", status, err)
	}
	p.post("/drain_listeners")
	if err := answers(m.Addr()); err == nil {
		t.Error("a new client got in")
	}
	if status, body, err := p.fetch("/ready"); err != nil || status != http.StatusServiceUnavailable {
		t.Errorf("/ready: %d %s %v", status, body, err)
	}
	wantReply(t, client, bulkOf("v"), "GET", "k")
}

// TestProcessPages checks what can be seen from outside against what was done.
func TestProcessPages(t *testing.T) {
	t.Parallel()
	nodes := startShards(t, 2, 1, redistest.WithPassword("upstream-secret"))
	password := filetest.Put(t, filepath.Join(t.TempDir(), "password"), "upstream-secret\n")
	m := mesh{
		port:  redistest.Port(t),
		redis: "hash: md5, slowLog: {threshold: 0s, maxLen: 1000}, hotKeys: {sampleRate: 1, top: 3}",
		env:   shards(nodes...) + fmt.Sprintf(", credentials: {passwordFile: %q}", password),
	}
	p := startProxy(t, m.YAML(), "--log-level=debug")
	c := redistest.Dial(t, m.Addr())
	c.Do("CLIENT", "SETNAME", "the-app")
	for i := range 20 {
		c.Do("SET", fmt.Sprint("k", i), "value-secret")
		c.Do("GET", "hottest")
	}
	c.Do("LPUSH", "k0", "value-secret")
	c.Do("MGET", "k0", "k1", "k2", "k3", "k4", "k5", "k6", "k7")
	c.Do("NOSUCH", "value-secret")
	c.Do("AUTH", "guess-secret")
	c.Do("EVAL", "return 'value-secret'", "0")

	wantMetrics(t, p)
	var slow []struct{ Command, Client, Name string }
	if err := json.Unmarshal([]byte(p.Get("/slowlog")), &slow); err != nil || len(slow) < 42 || slow[0].Name != "the-app" {
		t.Errorf("/slowlog: %d entries, %v", len(slow), err)
	}
	var hot []struct {
		Key      string
		Requests int `json:"requests_estimate"`
	}
	if err := json.Unmarshal([]byte(p.Get("/hotkeys")), &hot); err != nil || len(hot) != 3 || hot[0].Key != "hottest" || hot[0].Requests < 20 {
		t.Errorf("/hotkeys: %+v, %v", hot, err)
	}
	for path, want := range map[string]string{
		"/clusters":       nodes[1][1].Addr() + "::role::replica",
		"/listeners":      "default/cache::" + m.Addr(),
		"/stats":          `dragoman_redis_commands_total{command="get",listener="default/cache"}: 20`,
		"/help":           "/config_dump",
		"/debug/pprof/":   "goroutine",
		"/config_dump":    `"version"`,
		"/clusters?x":     "healthy",
		"/stats?filter=k": "dragoman_",
	} {
		if err := p.shows(path, want); err != nil {
			t.Error(err)
		}
	}
	p.post("/logging?level=warn")
	wantNoSecret(t, p, "upstream-secret", "value-secret", "guess-secret")
}

// wantMetrics parses the metrics, has them judged by Prometheus's own rules, and compares some with what was done.
func wantMetrics(t *testing.T, p *Proxy) {
	t.Helper()
	page := p.Get("/metrics")
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.New(bytes.NewReader([]byte(page))).Lint()
	if err != nil {
		t.Error(err)
	}
	for _, problem := range problems {
		t.Errorf("%s: %s", problem.Metric, problem.Text)
	}
	for _, tt := range []struct {
		name, label, value string
		want               float64
	}{
		{"dragoman_redis_commands_total", "command", "set", 20},
		{"dragoman_redis_commands_total", "command", "get", 20},
		{"dragoman_redis_commands_total", "command", "mget", 1},
		{"dragoman_redis_command_errors_total", "command", "lpush", 1},
		{"dragoman_redis_command_duration_seconds", "command", "set", 20},
		{"dragoman_redis_downstream_connections", "listener", "default/cache", 1},
		{"dragoman_listener_connections", "listener", "default/cache", 1},
		{"dragoman_cluster_endpoints", "cluster", "default/cache/test", 4},
	} {
		if got := sumOf(families[tt.name], tt.label, tt.value); got != tt.want {
			t.Errorf("%s{%s=%q}: got %v, want %v", tt.name, tt.label, tt.value, got, tt.want)
		}
	}
	for _, shard := range []string{"s1", "s2"} {
		if got := sumOf(families["dragoman_redis_upstream_requests_total"], "shard", shard); got < 1 {
			t.Errorf("requests to shard %s: %v", shard, got)
		}
	}
}

// sumOf adds up the values, or the counts of histograms, that have a label.
func sumOf(f *dto.MetricFamily, label, value string) float64 {
	sum := 0.0
	for _, m := range f.GetMetric() {
		for _, l := range m.GetLabel() {
			if l.GetName() == label && l.GetValue() == value {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return sum
}

// TestProcessHangup: the log says so when a file can't be read any more, and what runs goes on.
func TestProcessFileGone(t *testing.T) {
	t.Parallel()
	m := mesh{port: redistest.Port(t), env: shards([]*redistest.Node{redistest.Server(t)})}
	p := startProxy(t, m.YAML())
	if err := os.Remove(p.file); err != nil {
		t.Fatal(err)
	}
	p.awaitLog("no such file or directory")
	if err := answers(m.Addr()); err != nil {
		t.Error(err)
	}
	p.Rewrite(m.YAML())
	redistest.Eventually(t, readyLimit, "the file to be accepted again", func() error {
		if page := p.Get("/config_dump"); strings.Contains(page, `"refused"`) {
			return errors.New(page)
		}
		return nil
	})
}
