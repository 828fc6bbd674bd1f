package redis

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
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

// LATENCY HISTOGRAM counts the calls of all shards, bucket by bucket, as the servers do.
func TestShardedHistogram(t *testing.T) {
	t.Parallel()
	f := fourShards(t, nil)
	c := f.dial()
	check(t, c, "LATENCY HISTOGRAM set", "*0", "CONFIG SET latency-tracking yes", "+OK")
	for i, key := range f.onEach("k") {
		for range 10 * (i + 1) {
			c.Do("SET", key, "v")
		}
		for range i {
			c.Do("GET", key)
		}
	}
	for _, resp := range []string{"2", "3"} {
		c.Do("HELLO", resp)
		want := wantHistogram(t, f, resp, "set")
		if got := c.Do("LATENCY", "HISTOGRAM", "set"); got != want {
			t.Errorf("RESP%s: got %q, want %q", resp, got, want)
		}
		if got := redisElems(t, c.Do("LATENCY", "HISTOGRAM", "set", "get", "nope")); len(got) != 4 {
			t.Errorf("RESP%s: %d elements", resp, len(got))
		}
		seen := map[string]bool{}
		for i, e := range redisElems(t, c.Do("LATENCY", "HISTOGRAM")) {
			if i%2 == 0 && seen[string(e.Str)] {
				t.Errorf("%s is there twice", e.Str)
			}
			seen[string(e.Str)] = true
		}
		if !seen["config|set"] || !seen["get"] {
			t.Errorf("%v", seen)
		}
	}
}

// wantHistogram is the histogram of the calls of a command at all shards, of which
// each was called at every one.
func wantHistogram(t *testing.T, f *sharded, resp, name string) string {
	t.Helper()
	calls, bounds, parts := int64(0), map[int64]bool{}, [][]redisproto.Value{}
	for _, node := range f.nodes {
		h := redisElems(t, node.Do("LATENCY", "HISTOGRAM", name))[1].Elems
		calls += h[1].Int
		parts = append(parts, h[3].Elems)
		for i := 0; i < len(h[3].Elems); i += 2 {
			bounds[h[3].Elems[i].Int] = true
		}
	}
	if calls != 100 {
		t.Errorf("%d calls of %s", calls, name)
	}
	version, _ := strconv.Atoi(resp)
	b := redisproto.AppendBulkString(redisproto.AppendMap(nil, 1, version), name)
	b = redisproto.AppendInt(redisproto.AppendBulkString(redisproto.AppendMap(b, 2, version), "calls"), calls)
	b = redisproto.AppendMap(redisproto.AppendBulkString(b, "histogram_usec"), len(bounds), version)
	for _, bound := range slices.Sorted(maps.Keys(bounds)) {
		within := int64(0) // what a part says of its last bucket that ends there or before
		for _, part := range parts {
			last := int64(0)
			for i := 0; i < len(part) && part[i].Int <= bound; i += 2 {
				last = part[i+1].Int
			}
			within += last
		}
		b = redisproto.AppendInt(redisproto.AppendInt(b, bound), within)
	}
	return string(b)
}

// INFO tells of all shards what each has by itself, and LASTSAVE who saved longest ago.
func TestShardedInfo(t *testing.T) {
	t.Parallel()
	f := fourShards(t, nil)
	c := f.dial()
	for _, key := range f.onEach("k") {
		c.Do("SET", key, "v")
	}
	info := strings.Split(bulkText(c.Do("INFO", "everything")), "\r\n")
	for _, want := range []string{"rdb_changes_since_last_save:4", "loading:0", "rdb_last_bgsave_status:ok", "aof_last_write_status:ok", "total_forks:0"} {
		if !slices.Contains(info, want) {
			t.Errorf("INFO has no %q", want)
		}
	}
	if i := slices.IndexFunc(info, func(line string) bool { return strings.HasPrefix(line, "used_cpu_user:") }); i < 0 || len(strings.Split(info[i], ".")[1]) != 6 {
		t.Errorf("INFO: no used_cpu_user with six decimals")
	}
	redistest.Eventually(t, 30*time.Second, "another second to come", func() error {
		f.nodes[0].Do("SAVE")
		if f.nodes[0].Do("LASTSAVE") == f.nodes[1].Do("LASTSAVE") {
			return errors.New("it is the same")
		}
		return nil
	})
	oldest := f.nodes[0].Do("LASTSAVE")
	for _, node := range f.nodes {
		oldest = min(oldest, node.Do("LASTSAVE")) // as many digits each
	}
	check(t, c, "LASTSAVE", strings.TrimSpace(oldest))
}

func TestInfoFields(t *testing.T) {
	t.Parallel()
	texts := []string{
		"# A\r\nused_cpu_sys:0.900001\r\nloading:0\r\nrdb_last_save_time:20\r\naof_last_write_status:ok\r\nused_memory:1024\r\nused_memory_human:1.00K\r\nrole:master\r\n",
		"# A\r\nused_cpu_sys:0.200001\r\nloading:1\r\nrdb_last_save_time:10\r\naof_last_write_status:err\r\nused_memory:1024\r\nused_memory_human:1.00K\r\nrole:slave\r\n",
		"# A\r\nused_cpu_sys:0.000001\r\nloading:0\r\nrdb_last_save_time:30\r\naof_last_write_status:ok\r\nused_memory:1024\r\nused_memory_human:1.00K\r\nrole:slave\r\n",
	}
	want := "# Dragoman\r\nshards:3\r\n\r\n# A\r\nused_cpu_sys:1.100003\r\nloading:1\r\nrdb_last_save_time:10\r\naof_last_write_status:err\r\n" +
		"used_memory:3072\r\nused_memory_human:3.00K\r\nrole:master\r\n"
	if diff := cmp.Diff(want, mergeInfo(texts)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// ACL LOG has the newest entries of all shards, as many as are asked for.
func TestShardedACLLog(t *testing.T) {
	t.Parallel()
	f := fourShards(t, nil)
	c := f.dial()
	for i, n := range []int{2, 0, 3, 1} {
		for j := range n {
			f.nodes[i].Do("AUTH", fmt.Sprintf("user%d-%d", i, j), "wrong")
		}
	}
	for _, resp := range []string{"2", "3"} {
		c.Do("HELLO", resp)
		for count, want := range map[string]int{"": 6, "4": 4} {
			age := -1.0
			entries := redisElems(t, c.Do(strings.Fields("ACL LOG "+count)...))
			for i := range entries {
				a, err := strconv.ParseFloat(string(statOf(&entries[i], "age-seconds").Str), 64)
				if a < age || err != nil {
					t.Errorf("an entry of %v s behind one of %v s, %v", a, age, err)
				}
				age = a
			}
			if len(entries) != want {
				t.Errorf("ACL LOG %s: %d entries of %d", count, len(entries), want)
			}
		}
	}
	check(t, c, "ACL LOG RESET", "+OK", "ACL LOG", "*0", "ACL LOG x", "-ERR value is not an integer or out of range")
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
