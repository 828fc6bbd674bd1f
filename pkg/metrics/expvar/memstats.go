package expvar

import (
	"slices"
	"strconv"

	dto "github.com/prometheus/client_model/go"

	"github.com/dragoman-mesh/dragoman/pkg/metrics/families"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/json/tree"
)

// field is a field of runtime.MemStats, and its metric in client_golang.
type field struct {
	name, metric, help string
	per                float64 // how many make one; 0: 1
	counter            bool
}

func fields() []field {
	return []field{
		{name: "Alloc", metric: "go_memstats_alloc_bytes", help: "Number of bytes allocated in heap and currently in use."},
		{name: "TotalAlloc", metric: "go_memstats_alloc_bytes_total", help: "Total number of bytes allocated in heap until now, even if released already.", counter: true},
		{name: "Sys", metric: "go_memstats_sys_bytes", help: "Number of bytes obtained from system."},
		{name: "Mallocs", metric: "go_memstats_mallocs_total", help: "Total number of heap objects allocated, both live and gc-ed.", counter: true},
		{name: "Frees", metric: "go_memstats_frees_total", help: "Total number of heap objects frees.", counter: true},
		{name: "HeapAlloc", metric: "go_memstats_heap_alloc_bytes", help: "Number of heap bytes allocated and currently in use."},
		{name: "HeapSys", metric: "go_memstats_heap_sys_bytes", help: "Number of heap bytes obtained from system."},
		{name: "HeapIdle", metric: "go_memstats_heap_idle_bytes", help: "Number of heap bytes waiting to be used."},
		{name: "HeapInuse", metric: "go_memstats_heap_inuse_bytes", help: "Number of heap bytes that are in use."},
		{name: "HeapReleased", metric: "go_memstats_heap_released_bytes", help: "Number of heap bytes released to OS."},
		{name: "HeapObjects", metric: "go_memstats_heap_objects", help: "Number of currently allocated objects."},
		{name: "StackInuse", metric: "go_memstats_stack_inuse_bytes", help: "Number of bytes obtained from system for stack allocator in non-CGO environments."},
		{name: "StackSys", metric: "go_memstats_stack_sys_bytes", help: "Number of bytes obtained from system for stack allocator."},
		{name: "MSpanInuse", metric: "go_memstats_mspan_inuse_bytes", help: "Number of bytes in use by mspan structures."},
		{name: "MSpanSys", metric: "go_memstats_mspan_sys_bytes", help: "Number of bytes used for mspan structures obtained from system."},
		{name: "MCacheInuse", metric: "go_memstats_mcache_inuse_bytes", help: "Number of bytes in use by mcache structures."},
		{name: "MCacheSys", metric: "go_memstats_mcache_sys_bytes", help: "Number of bytes used for mcache structures obtained from system."},
		{name: "BuckHashSys", metric: "go_memstats_buck_hash_sys_bytes", help: "Number of bytes used by the profiling bucket hash table."},
		{name: "GCSys", metric: "go_memstats_gc_sys_bytes", help: "Number of bytes used for garbage collection system metadata."},
		{name: "OtherSys", metric: "go_memstats_other_sys_bytes", help: "Number of bytes used for other system allocations."},
		{name: "NextGC", metric: "go_memstats_next_gc_bytes", help: "Number of heap bytes when next garbage collection will take place."},
		{name: "LastGC", metric: "go_memstats_last_gc_time_seconds", help: "Number of seconds since 1970 of last garbage collection.", per: 1e9},
	}
}

// memstats adds the numbers of runtime.MemStats.
func memstats(b *families.Builder, v tree.Value) {
	for _, f := range fields() {
		n, ok := number(v, f.name)
		if !ok {
			continue
		}
		if f.per != 0 {
			n /= f.per
		}
		if f.counter {
			b.Counter(f.metric, f.help, n)
		} else {
			b.Gauge(f.metric, f.help, n)
		}
	}
	pauses(b, v)
}

// pauses adds go_gc_duration_seconds, whose quantiles are of the latest 256
// collections, as they are in client_golang.
func pauses(b *families.Builder, v tree.Value) {
	const nano = 1e9
	count, counted := number(v, "NumGC")
	total, summed := number(v, "PauseTotalNs")
	list, listed := v.Field("PauseNs")
	if !counted || !summed || !listed || list.Kind() != tree.Array || count < 0 {
		return
	}
	var times []float64
	for c := range list.Children() {
		if ns, err := strconv.ParseFloat(c.Text(), 64); err == nil && len(times) < int(min(count, 256)) {
			times = append(times, ns/nano)
		}
	}
	slices.Sort(times)
	n, sum := uint64(count), total/nano
	summary := &dto.Summary{SampleCount: &n, SampleSum: &sum}
	for _, q := range []float64{0, 0.25, 0.5, 0.75, 1} {
		value := 0.0
		if last := len(times) - 1; last >= 0 {
			value = times[int(q*float64(last))]
		}
		summary.Quantile = append(summary.Quantile, &dto.Quantile{Quantile: &q, Value: &value})
	}
	b.Family("go_gc_duration_seconds", "A summary of the wall-time pause (stop-the-world) duration in garbage collection cycles.", dto.MetricType_SUMMARY).AddSummary(summary, nil)
}

func number(v tree.Value, name string) (float64, bool) {
	f, ok := v.Field(name)
	if !ok || f.Kind() != tree.Number {
		return 0, false
	}
	n, err := strconv.ParseFloat(f.Text(), 64)
	return n, err == nil
}
