package e2e

import (
	"bytes"
	"context"
	"encoding/csv"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// topologies are what an app may have behind its one address. Clients must not notice which.
var topologies = []struct {
	name  string
	start func(t *testing.T) (addr string)
}{
	{"one shard", func(t *testing.T) string {
		t.Helper()
		m := mesh{port: redistest.Port(t), env: shards([]*redistest.Node{redistest.Server(t)})}
		startProxy(t, m.YAML())
		return m.Addr()
	}},
	{"four shards with replicas", func(t *testing.T) string {
		t.Helper()
		m := mesh{port: redistest.Port(t), redis: `hashTag: "{}"`, env: shards(startShards(t, 4, 1)...)}
		startProxy(t, m.YAML())
		return m.Addr()
	}},
	{"redis cluster", func(t *testing.T) string {
		t.Helper()
		m := mesh{port: redistest.Port(t), redis: "distribution: slots", env: clusterEnv(redistest.Cluster(t, 3, 1))}
		startProxy(t, m.YAML())
		return m.Addr()
	}},
}

// onEachTopology runs a client's tests against every topology.
func onEachTopology(t *testing.T, run func(t *testing.T, addr string)) {
	t.Helper()
	for _, topology := range topologies {
		t.Run(topology.name, func(t *testing.T) {
			t.Parallel()
			run(t, topology.start(t))
		})
	}
}

func TestRedisCLI(t *testing.T) {
	t.Parallel()
	onEachTopology(t, func(t *testing.T, addr string) {
		tests := []struct {
			name  string
			input string
			args  []string
			want  string
		}{
			{"set", "", []string{"set", "k", "v"}, "OK\n"},
			{"get", "", []string{"get", "k"}, "v\n"},
			{"resp3", "", []string{"-3", "hgetall", "missing"}, "\n"},
			{"error", "", []string{"lpush", "k", "x"}, "WRONGTYPE Operation against a key holding the wrong kind of value\n\n"},
			{"value from stdin", "from stdin", []string{"-x", "set", "stdin"}, "OK\n"},
			{"commands from stdin", "set a 1\nincr a\nmget a missing\n", nil, "OK\n2\n2\n\n"},
			{"csv", "", []string{"--csv", "mget", "k", "missing"}, "\"v\",NULL\n"},
			{"repeated", "", []string{"-r", "3", "incr", "counter"}, "1\n2\n3\n"},
			{"scan", "", []string{"--scan", "--pattern", "count*"}, "counter\n"},
			{"transaction", "multi\nset {t}a 1\nincr {t}a\nexec\n", nil, "OK\nQUEUED\nQUEUED\nOK\n2\n"},
			{
				"pipe", redistest.Command("SET", "p1", "1") + redistest.Command("SET", "p2", "2"),
				[]string{"--pipe"},
				"All data transferred. Waiting for the last reply...\nLast reply received from server.\nerrors: 0, replies: 2\n",
			},
		}
		for _, tt := range tests {
			if diff := cmp.Diff(tt.want, redisCLI(t, addr, tt.input, tt.args...)); diff != "" {
				t.Errorf("%s: redis-cli %q (-want +got):\n%s", tt.name, tt.args, diff)
			}
		}
		script := filepath.Join(t.TempDir(), "s.lua")
		if err := os.WriteFile(script, []byte("return {KEYS[1], ARGV[1]}"), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, want := redisCLI(t, addr, "", "--eval", script, "k", ",", "x"), "k\nx\n"; got != want {
			t.Errorf("--eval: got %q, want %q", got, want)
		}
		if got := redisCLI(t, addr, "", "--bigkeys"); !strings.Contains(got, "Sampled 7 keys in the keyspace!") {
			t.Errorf("--bigkeys: got %s", got)
		}
		if got := redisCLI(t, addr, "", "info", "server"); !strings.Contains(got, "redis_version:") {
			t.Errorf("info: got %.200s", got)
		}
	})
}

// redisCLI runs redis-cli and returns what it printed on standard output.
func redisCLI(t *testing.T, addr, input string, args ...string) string {
	t.Helper()
	out, _ := runClient(t, input, "redis-cli", append(hostPort(addr), args...)...)
	return out
}

func TestRedisBenchmark(t *testing.T) {
	t.Parallel()
	onEachTopology(t, func(t *testing.T, addr string) {
		for _, extra := range [][]string{{"-c", "20"}, {"-c", "50", "-P", "16", "-r", "1000", "-d", "100"}} {
			args := append(append(hostPort(addr), "-n", "2000", "--csv"), extra...)
			out, stderr := runClient(t, "", "redis-benchmark", args...)
			rows, err := csv.NewReader(strings.NewReader(out)).ReadAll()
			if err != nil {
				t.Fatalf("redis-benchmark %q: %v\n%s%s", extra, err, out, stderr)
			}
			var names []string
			for _, row := range rows[1:] {
				names = append(names, row[0])
				if rps, err := strconv.ParseFloat(row[1], 64); err != nil || rps <= 0 {
					t.Errorf("%s: %s requests a second", row[0], row[1])
				}
			}
			// LRANGE of four lengths, and whatever else a newer redis-benchmark measures.
			for _, want := range []string{"PING_INLINE", "PING_MBULK", "SET", "GET", "INCR", "LPUSH", "SPOP", "ZADD", "MSET (10 keys)"} {
				if !slices.Contains(names, want) {
					t.Errorf("redis-benchmark %q measured no %s: %q\n%s", extra, want, names, stderr)
				}
			}
			if strings.Contains(strings.ToLower(stderr), "error") {
				t.Errorf("redis-benchmark %q: %s", extra, stderr)
			}
		}
	})
}

// nodeModules is a folder with the Node clients, installed once for the whole test binary.
var nodeModules struct {
	once sync.Once
	dir  string
	err  error
}

func TestNodeClients(t *testing.T) {
	t.Parallel()
	dir := installNodeClients(t)
	for _, script := range []string{"ioredis.mjs", "node-redis.mjs"} {
		t.Run(script, func(t *testing.T) {
			t.Parallel()
			onEachTopology(t, func(t *testing.T, addr string) {
				host, port, _ := strings.Cut(addr, ":")
				out, stderr := runClient(t, "", "node", filepath.Join(dir, script), host, port)
				if !strings.HasSuffix(out, "all passed\n") {
					t.Errorf("%s:\n%s%s", script, out, stderr)
				}
			})
		})
	}
}

// installNodeClients copies node/ and installs what its lock file names into the copy, so that the work tree stays as it is.
func installNodeClients(t *testing.T) string {
	t.Helper()
	npm := redistest.Binary(t, "npm")
	nodeModules.once.Do(func() { nodeModules.dir, nodeModules.err = copyAndInstall(npm) })
	if nodeModules.err != nil {
		t.Fatal(nodeModules.err)
	}
	return nodeModules.dir
}

func copyAndInstall(npm string) (dir string, err error) {
	if dir, err = os.MkdirTemp("", "node"); err != nil {
		return "", err
	}
	if err := os.CopyFS(dir, os.DirFS("node")); err != nil {
		return dir, fmt.Errorf("copying the Node scripts: %w", err)
	}
	cmd := exec.Command(npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return dir, fmt.Errorf("%v: %w\n%s", cmd, err, out)
	}
	return dir, nil
}

// runClient runs a client program to its end and returns what it printed. A client that hangs is killed and fails the test.
func runClient(t *testing.T, input, name string, args ...string) (stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, redistest.Binary(t, name), args...)
	cmd.Stdin = strings.NewReader(input)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil && ctx.Err() != nil {
		t.Errorf("%s %.200q hangs\n%s%s", name, args, out.Bytes(), errs.Bytes())
	} else if err != nil {
		t.Logf("%s %.200q: %v\n%s", name, args, err, errs.Bytes())
	}
	return out.String(), errs.String()
}

func hostPort(addr string) []string {
	host, port, _ := strings.Cut(addr, ":")
	return []string{"-h", host, "-p", port}
}
