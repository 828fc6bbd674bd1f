package redis

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/netloop"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// metric is the value of one counter or gauge, or the count of a histogram.
func metric(t *testing.T, b *Builder, name string, labels ...string) float64 {
	t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(b)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	total := 0.0
	for _, f := range families {
		if f.GetName() != "dragoman_redis_"+name {
			continue
		}
		for _, m := range f.GetMetric() {
			found := 0
			for _, l := range m.GetLabel() {
				if slices.Contains(labels, l.GetName()+"="+l.GetValue()) {
					found++
				}
			}
			if found == len(labels) {
				total += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return total
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	f := fourShards(t, nil)
	c, other := f.dial(), f.dial()
	k := f.onEach("k")
	for range 10 {
		check(t, c, "SET "+k[0]+" 1", "+OK")
	}
	check(t, c,
		fmt.Sprintf("MGET %s %s %s %s", k[0], k[1], k[2], k[3]), "*4 $1 1 $-1 $-1 $-1",
		"LPUSH "+k[0]+" x", "-WRONGTYPE Operation against a key holding the wrong kind of value",
		"LPUSH "+k[0], "-ERR wrong number of arguments for 'lpush' command",
		"NOSUCH", "-ERR unknown command 'NOSUCH', with args beginning with: ", "DBSIZE", ":1", "PING", "+PONG",
		"CONFIG GET nope", "*0", "CONFIG GET nope", "*0", "AUTH a b", "-"+errWrongPass,
		"MULTI", "+OK", "SET "+k[0]+" 2", "+QUEUED", "EXEC", "*1 +OK",
	)
	other.Send(redistest.Command("SUBSCRIBE", k[0], k[1], k[2]))
	heard(other, 3)
	check(t, c, "PUBLISH "+k[0]+" x", ":1")
	other.ReadFrame()
	other.Send("*x\r\n")
	heard(other, 1)
	wantEnd(t, other)
	for _, tc := range []struct {
		want   float64
		name   string
		labels []string
	}{
		{11, "commands_total", []string{"listener=test/redis", "command=set"}},
		{11, "command_duration_seconds", []string{"command=set"}},
		{0, "command_errors_total", []string{"command=set"}},
		{1, "commands_total", []string{"command=mget"}},
		{2, "commands_total", []string{"command=lpush"}},
		{2, "command_errors_total", []string{"command=lpush"}},
		{1, "commands_total", []string{"command=dbsize"}},
		{2, "commands_total", []string{"command=config"}},
		{1, "commands_total", []string{"command=subscribe"}},
		{2, "commands_total", []string{"command=unknown"}}, // NOSUCH and *x
		{2, "downstream_connections_total", nil},
		{1, "downstream_connections", nil},
		{1, "protocol_errors_total", nil},
		{1, "pubsub_messages_total", nil},
		{1, "login_failures_total", nil}, // AUTH a b
		{0, "redirections_total", nil},
		// 10 SET, LPUSH and its error, DBSIZE, two CONFIG, SET and EXEC, PUBLISH, MGET
		{18, "upstream_requests_total", []string{"shard=s1"}},
		{18, "upstream_request_duration_seconds", []string{"shard=s1"}},
		{1, "upstream_request_errors_total", []string{"shard=s1"}},
		{4, "upstream_requests_total", []string{"shard=s2"}},
		{0, "upstream_connect_failures_total", nil},
	} {
		if got := metric(t, f.builder, tc.name, tc.labels...); got != tc.want {
			t.Errorf("%s%v: got %v, want %v", tc.name, tc.labels, got, tc.want)
		}
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(f.builder)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}

func TestMetricsWithoutHistograms(t *testing.T) {
	t.Parallel()
	cfg := defaults()
	cfg.CommandStats = false
	f := start(t, cfg, newCluster("main", servers(t, 1)...))
	check(t, f.dial(), "GET k", "$-1")
	if n := metric(t, f.builder, "command_duration_seconds"); n != 0 {
		t.Errorf("%v durations", n)
	}
	if n := metric(t, f.builder, "commands_total", "command=get"); n != 1 {
		t.Errorf("%v commands", n)
	}
}

func TestSlowLog(t *testing.T) {
	t.Parallel()
	cfg := defaults()
	cfg.SlowLog = resource.SlowLog{Threshold: 50 * time.Millisecond, MaxLen: 3}
	f := start(t, cfg, newCluster("main", redistest.Server(t, redistest.WithConfig("enable-debug-command yes"))))
	c := f.dial()
	check(t, c, "CLIENT SETNAME worker", "+OK", "SET k secret", "+OK", "BLPOP nope 0.1", "*-1")
	for i := range 5 {
		script := "local t = redis.call('TIME'); local e = t[1]*1000000+t[2]+60000; repeat t = redis.call('TIME') until t[1]*1000000+t[2] > e"
		if i == 4 {
			script += "; return redis.error_reply('ERR secret')"
		}
		c.Do("EVAL", script, "1", "key-of-a-slow-script", "secret")
	}
	entries, ok := f.builder.SlowLog().([]SlowEntry)
	if !ok || len(entries) != 3 {
		t.Fatalf("%+v", f.builder.SlowLog())
	}
	for i, e := range entries {
		if e.Command != "eval" || e.Name != "worker" || e.Listener != "test/redis" || e.Duration < 50*time.Millisecond ||
			e.Duration > 10*time.Second || e.Failed != (i == 0) || time.Since(e.Time) > time.Minute || e.Client == "" {
			t.Errorf("%+v", e)
		}
		if i > 0 && e.Time.After(entries[i-1].Time) {
			t.Error("the latest does not come first")
		}
	}
	text, err := json.Marshal(entries)
	if err != nil || strings.Contains(string(text), "secret") {
		t.Errorf("%s, %v", text, err)
	}
}

func TestSlowRing(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		limits []int // one for each of entries 1, 2, 3...
		want   []int64
	}{
		"has room":           {[]int{3, 3}, []int64{1, 2}},
		"is full":            {[]int{3, 3, 3}, []int64{1, 2, 3}},
		"forgets the oldest": {[]int{3, 3, 3, 3, 3, 3, 3, 3}, []int64{6, 7, 8}},
		"gets more room":     {[]int{3, 3, 3, 3, 5, 5, 5}, []int64{3, 4, 5, 6, 7}},
		"gets less room":     {[]int{4, 4, 4, 4, 4, 2, 2}, []int64{6, 7}},
		"gets less at once":  {[]int{4, 4, 4, 4, 4, 2}, []int64{5, 6}},
		"is switched off":    {[]int{3, 3, 3, 3, 0, 0}, nil},
		"is switched on":     {[]int{0, 0, 2, 2}, []int64{3, 4}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var r slowRing
			for i, limit := range tt.limits {
				r.add(slowCommand{SlowEntry: SlowEntry{Duration: time.Duration(i + 1)}}, limit)
			}
			var got []int64
			for _, e := range r.latest(len(r.entries)) {
				got = append(got, int64(e.Duration))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestHotKeys(t *testing.T) {
	t.Parallel()
	cfg := defaults()
	cfg.HotKeys = resource.HotKeys{SampleRate: 4, Top: 3}
	f := start(t, cfg, newCluster("main", servers(t, 2)...))
	c := f.dial()
	var script strings.Builder
	n := 0
	for i := range 300 {
		script.WriteString(redistest.Command("GET", "hottest") + redistest.Command("SET", "hot", "value") + redistest.Command("GET", fmt.Sprintf("rare%d", i)))
		n += 3
		if i%2 == 0 {
			script.WriteString(redistest.Command("MGET", "hottest", "\xff\xfe"))
			n++
		}
	}
	c.Send(script.String())
	for range n {
		c.ReadFrame()
	}
	keys, ok := f.builder.HotKeys().([]HotKey)
	if !ok || len(keys) != 3 {
		t.Fatalf("%+v", f.builder.HotKeys())
	}
	if keys[0].Key != "hottest" || keys[1].Key != "hot" || keys[2].Key != "\ufffd" {
		t.Errorf("%+v", keys)
	}
	if got := keys[0].Requests; got < 200 || got > 800 {
		t.Errorf("an estimate of %d for 450", got)
	}
}

// TestLogsHoldNoValues goes through what is logged, and looks for values,
// passwords and keys.
func TestLogsHoldNoValues(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var log bytes.Buffer
	nodes := servers(t, 2)
	main := newCluster("main", nodes...)
	f := start(t, defaults(), main)
	f.onLoop(func(w *worker) {
		w.b.log = slog.New(slog.NewJSONHandler(lockedWriter{&mu, &log}, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	c, sub := f.dial(), f.dial()
	c.Do("SET", "secret-key", "secret-value")
	c.Do("AUTH", "secret-user", "secret-password")
	c.Do("NOSUCH", "secret-argument")
	c.Do("HELLO", "3", "AUTH", "secret-user", "secret-password")
	sub.Do("SUBSCRIBE", "secret-channel")
	nodes[0].Kill()
	nodes[1].Kill()
	c.Do("SET", "secret-key", "secret-value")
	wantEnd(t, sub)
	c.Send("*1\r\n$13\r\nsecret-broken\r\n*1\r\n$x\r\nsecret\r\n")
	for {
		if _, err := c.TryReadFrame(); err != nil {
			break
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if log.Len() == 0 {
		t.Error("nothing was logged")
	}
	if strings.Contains(log.String(), "secret") {
		t.Errorf("logged: %s", log.String())
	}
}

type lockedWriter struct {
	mu *sync.Mutex
	b  *bytes.Buffer
}

func (w lockedWriter) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.Write(b)
}

var _ netloop.Driver = (*client)(nil)
