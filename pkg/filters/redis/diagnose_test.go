package redis

import (
	"strings"
	"testing"

	"github.com/dragoman-mesh/dragoman/pkg/redisproto"
)

// What servers tell of themselves is of all shards.
func TestShardedDiagnosis(t *testing.T) {
	t.Parallel()
	f := fourShards(t, nil)
	c := f.dial()
	keys := f.onEach("k")
	c.Do("CONFIG", "SET", "latency-tracking", "yes")
	c.Do("CONFIG", "SET", "slowlog-log-slower-than", "0")
	for i, key := range keys {
		for range i + 1 {
			c.Do("SET", key, "v")
		}
		c.Do("INCR", key)
	}
	c.Do("CONFIG", "SET", "slowlog-log-slower-than", "-1")
	for count, want := range map[string]int{"": 10, "3": 3, "-1": 4 + 10 + 4} {
		if got := redisElems(t, c.Do(strings.Fields("SLOWLOG GET "+count)...)); len(got) != want {
			t.Errorf("SLOWLOG GET %s: %d entries of %d", count, len(got), want)
		}
	}
	info := c.Do("INFO", "everything")
	for _, want := range []string{"\r\ncmdstat_set:calls=10,", "\r\nerrorstat_ERR:count=4\r\n", "\r\nlatency_percentiles_usec_set:p50="} {
		if strings.Count(info, want) != 1 {
			t.Errorf("INFO has no %q, or several: %q", want, info)
		}
	}
	stats := redisElems(t, c.Do("MEMORY", "STATS"))
	for i := 0; i+1 < len(stats); i += 2 {
		if string(stats[i].Str) == "keys.count" && stats[i+1].Int != 4 {
			t.Errorf("MEMORY STATS: %d keys", stats[i+1].Int)
		}
	}
	for _, request := range []string{"MEMORY DOCTOR", "MEMORY MALLOC-STATS", "LATENCY DOCTOR"} {
		if got := c.Do(words(request)...); strings.Count(got, "# shard \"s") != 4 {
			t.Errorf("%s: %.200q", request, got)
		}
	}
	c.Do("HELLO", "3")
	if got := c.Do("MEMORY", "STATS"); got[0] != '%' {
		t.Errorf("MEMORY STATS in RESP3: %.50q", got)
	}
	if _, n, err := redisproto.ParseValue([]byte(c.Do("MEMORY", "STATS")), &replyLimits); err != nil || n == 0 {
		t.Error(err)
	}
	f.quiet()
}

func redisElems(t *testing.T, frame string) []redisproto.Value {
	t.Helper()
	v, _, err := redisproto.ParseValue([]byte(frame), &replyLimits)
	if err != nil || v.IsError() {
		t.Fatalf("%.100q: %v", frame, err)
	}
	return v.Elems
}

// Latencies are those of all shards: each event once, its history in order.
func TestShardedLatency(t *testing.T) {
	t.Parallel()
	f := fourShards(t, nil)
	c := f.dial()
	check(t, c, "LATENCY LATEST", "*0", "LATENCY HISTORY command", "*0", "LATENCY RESET", ":0",
		"LATENCY GRAPH command", "-ERR No samples available for event 'command'",
		"CONFIG SET latency-monitor-threshold 1", "+OK")
	for _, node := range f.nodes[1:] {
		node.Do("EVAL", "for i = 1, 3000000 do end", "0") // more than a millisecond
	}
	seen, longest := map[string]int{}, int64(0)
	for _, e := range redisElems(t, c.Do("LATENCY", "LATEST")) {
		seen[string(e.Elems[0].Str)]++
		longest = max(longest, e.Elems[3].Int)
	}
	if seen["command"] != 1 || longest == 0 {
		t.Errorf("LATENCY LATEST: %v", seen)
	}
	history := redisElems(t, c.Do("LATENCY", "HISTORY", "command"))
	if len(history) < 3 {
		t.Errorf("LATENCY HISTORY: %v", history)
	}
	for i := 1; i < len(history); i++ {
		if history[i].Elems[0].Int < history[i-1].Elems[0].Int {
			t.Errorf("LATENCY HISTORY: %v", history)
		}
	}
	if got := c.Do("LATENCY", "GRAPH", "command"); !strings.Contains(got, "command - high ") {
		t.Errorf("LATENCY GRAPH: %q", got)
	}
}

// Client-side caching is off over several shards, and may be said to be.
func TestShardedTracking(t *testing.T) {
	t.Parallel()
	f := fourShards(t, nil)
	c := f.dial()
	direct := f.nodes[0].Client()
	for _, resp := range []string{"2", "3"} {
		c.Do("HELLO", resp)
		direct.Do("HELLO", resp)
		for _, request := range []string{
			"CLIENT TRACKING OFF", "CLIENT TRACKING OFF BCAST", "CLIENT TRACKING FOO", "CLIENT TRACKING", "CLIENT TRACKINGINFO",
			"CLIENT GETREDIR", "CLIENT CACHING YES", "CLIENT CACHING FOO", "MODULE LIST", "CLIENT NO-EVICT ON", "CLIENT NO-EVICT x",
			"ACL LOG", "ACL LOG RESET", "ACL LOAD", "FUNCTION STATS", "MODULE HELP",
		} {
			if got, want := c.Do(words(request)...), direct.Do(words(request)...); got != want {
				t.Errorf("%s: got %q, want %q", request, got, want)
			}
		}
	}
}
