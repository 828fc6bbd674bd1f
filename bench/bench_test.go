package main

import (
	"errors"
	"io"
	"net"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/bench/gauge"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
)

func TestParseLoad(t *testing.T) {
	t.Parallel()
	const titles = `"test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms","p95_latency_ms","p99_latency_ms","max_latency_ms"` + "\n"
	tests := []struct {
		name, text string
		want       sample
		wantErr    string
	}{
		{
			"GET", titles + `"GET","50000.00","0.747","0.288","0.607","1.023","1.031","1.031"` + "\n",
			sample{Throughput: 50000, P50: 0.607, P99: 1.031},
			"",
		},
		{
			"warning first", "WARNING: Could not fetch server CONFIG\n" + titles + `"MGET a b","7.5","1","1","2","3","4","5"` + "\n",
			sample{Throughput: 7.5, P50: 2, P99: 4},
			"",
		},
		{"error reply", titles + "Error from server: WRONGTYPE\n", sample{}, "WRONGTYPE"},
		{"nothing", "", sample{}, "0 lines"},
		{
			"two tests", titles + `"SET","1","1","1","1","1","1","1"` + "\n" + `"GET","1","1","1","1","1","1","1"` + "\n",
			sample{},
			"3 lines",
		},
		{"no number", titles + `"GET","x","1","1","1","1","1","1"` + "\n", sample{}, "column rps"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := parseLoad(tt.text)
			if tt.wantErr != "" {
				if !errors.Is(err, errLoad) || !strings.Contains(err.Error(), tt.wantErr) {
					t.Fatalf("got error %v, want one with %q", err, tt.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("sample (-want +got):\n%s", diff)
			}
		})
	}
}

func TestLoadArgs(t *testing.T) {
	t.Parallel()
	got := strings.Join(loadArgs(1234, shape{command: "SET", clients: 5, pipeline: 16, size: large}, 99), " ")
	if want := "-h 127.0.0.1 -p 1234 --csv -c 5 -P 16 -n 99 -r 100 -d 262144 -t set"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	got = strings.Join(loadArgs(1, shape{command: "MGET", clients: 1, pipeline: 1, size: small}, 1), " ")
	if want := "-d 64 MGET" + strings.Repeat(" key:__rand_int__", 10); !strings.HasSuffix(got, want) {
		t.Errorf("got  %s\nwant ... %s", got, want)
	}
}

func TestGoals(t *testing.T) {
	t.Parallel()
	tests := []struct {
		s    shape
		want goals
	}{
		{shape{command: "GET", pipeline: 1, size: small}, goals{1.05, 0.8, 0.9, 1}},
		{shape{command: "SET", pipeline: 16, size: medium}, goals{1.9, 0.3, 0.45, 1}},
		{shape{command: "GET", pipeline: 100, size: small}, goals{4, 0.1, 0.2, 1}},
		{shape{command: "SET", pipeline: 1, size: large}, goals{1, 1, 0, 1}},
		{shape{command: "MGET", pipeline: 1, size: small}, goals{1.05, 0.5, 0.9, 1}},
		{shape{command: "MGET", pipeline: 16, size: small}, goals{1.9, 0.3, 0.45, 1}},
	}
	for _, tt := range tests {
		if got := tt.s.goals(); got != tt.want {
			t.Errorf("goals of %v = %+v, want %+v", tt.s, got, tt.want)
		}
	}
}

func TestSelectShapes(t *testing.T) {
	t.Parallel()
	all := selectShapes(regexp.MustCompile(""), false)
	if len(all) != len(shapes()) {
		t.Errorf("%d of %d shapes", len(all), len(shapes()))
	}
	seen := map[string]bool{}
	for _, s := range all {
		if seen[s.String()] {
			t.Errorf("%s is there twice", s)
		}
		seen[s.String()] = true
	}
	got := selectShapes(regexp.MustCompile("^MGET.*50 clients"), true)
	if len(got) != 1 || got[0].String() != "MGET 64 B, 50 clients, pipeline 1" {
		t.Errorf("quick MGET shapes: %v", got)
	}
}

func TestParseOptions(t *testing.T) {
	t.Parallel()
	o, err := parseOptions([]string{"-quick", "-rounds", "5"}, io.Discard)
	if err != nil || o.Rounds != 5 || o.requests != 0.4 || o.idleClients != 2000 {
		t.Errorf("quick with 5 rounds: %+v, %v", o, err)
	}
	for _, args := range [][]string{{"-contenders", "envoy"}, {"-rounds", "0"}, {"-requests", "-1"}, {"-idle-clients", "-1"}} {
		if _, err := parseOptions(args, io.Discard); err == nil {
			t.Errorf("%v: no error", args)
		}
	}
}

func TestReply(t *testing.T) {
	t.Parallel()
	tests := []struct {
		wire, want string
		ok         bool
	}{
		{"+OK\r\n", "OK", true},
		{":12\r\n", "12", true},
		{"$3\r\na\r\n\r\n", "a\r\n", true},
		{"$0\r\n\r\n", "", true},
		{"$-1\r\n", "", false},
		{"-ERR no\r\n", "", false},
		{"$x\r\n", "", false},
		{"\r\n", "", false},
		{"$9\r\nabc", "", false},
	}
	for _, tt := range tests {
		t.Run(tt.wire, func(t *testing.T) {
			t.Parallel()
			here, there := net.Pipe()
			go func() {
				_, _ = io.WriteString(there, tt.wire)
				there.Close()
			}()
			got, err := newClient(here).reply()
			if got != tt.want || (err == nil) != tt.ok {
				t.Errorf("reply = %q, %v; want %q, ok %v", got, err, tt.want, tt.ok)
			}
		})
	}
}

func TestReport(t *testing.T) {
	t.Parallel()
	s := shape{command: "GET", clients: 50, pipeline: 16, size: small}
	r := results{Rounds: 1, Shapes: []shapeResults{{Shape: s.String(), shape: s, Samples: map[string][]sample{
		dragoman:        {{Throughput: 200, P50: 1, P99: 2, CPU: 1, RSS: 9}},
		nutcracker:      {{Throughput: 100, P50: 2, P99: 4, CPU: 4, RSS: 3}},
		nutcrackerTuned: {{Throughput: 150, P50: 2, P99: 3, CPU: 2, RSS: 3}},
		direct:          {{Throughput: 300, P50: 1, P99: 1}},
	}}}}
	r.Memory = []footprint{{Contender: dragoman, Idle: 10 << 20, IdleClients: 1000, Before: 5 << 20, With: 6 << 20, AfterLoad: 50 << 20}}
	var b strings.Builder
	if err := r.write(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| 2.00 (>= 1.9) ok | 0.50 (<= 1) ok | 0.25 (<= 0.3) ok | 0.50 (<= 0.45) no | no |",
		"| dragoman | 10.0 (<= 20) | 1000 | 1049 (<= 1024) | 50.0 (<= 40) | no |",
		"| direct | 300 | 1.00 | 1.00 | - | - | 3.00 | 0.25 | - |",
	} {
		if !strings.Contains(strings.Join(strings.Fields(b.String()), " "), want) {
			t.Errorf("no line with\n%s\nin\n%s", want, b.String())
		}
	}
}

// TestEndToEnd measures a few requests through real servers and makes sure that
// none is left behind.
func TestEndToEnd(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"redis-server", "redis-benchmark", "nutcracker", "haproxy"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatalf("%s is not installed: run make test-servers", program)
		}
	}
	tb, err := newTestbed(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tb.close)
	for _, name := range []string{nutcracker, haproxy, direct} {
		c, err := launch(t.Context(), tb, name)
		if err != nil {
			t.Fatal(err)
		}
		s := shape{command: "MGET", clients: 2, pipeline: 2, size: small}
		if err := fillAll(t.Context(), tb, []*contender{c}, s); err != nil {
			t.Fatal(err)
		}
		got, err := measure(t.Context(), c, s, 2000)
		if err != nil {
			t.Fatal(err)
		}
		if got.Throughput <= 0 || got.P99 < got.P50 || (c.proc != nil) != (got.CPU > 0 && got.RSS > 0) {
			t.Errorf("%s: %+v", name, got)
		}
	}
	procs := tb.procs
	tb.close()
	for _, p := range procs {
		if _, err := gauge.RSS(p.PID()); err == nil {
			t.Errorf("%s still runs", p.Name())
		}
	}
}

// The proxy must accept what the benchmark gives it.
func TestMeshConfig(t *testing.T) {
	t.Parallel()
	objects, errs := mesh.Decode("mesh.yaml", []byte(meshConfig(6380, []int{7001, 7002, 7003, 7004})))
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	if errs := mesh.Validate(objects); len(errs) > 0 {
		t.Fatal(errs)
	}
}
