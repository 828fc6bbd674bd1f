package jolokia

import (
	dto "github.com/prometheus/client_model/go"

	"github.com/dragoman-mesh/dragoman/pkg/metrics/families"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/json/tree"
)

// jvmBean is a bean that every JVM has, or most of them.
type jvmBean struct {
	mbean      string
	attributes []string
	optional   bool
	read       func(b *families.Builder, name objectName, v tree.Value)
}

// table gives what every JVM has the names and the help of Prometheus' Java
// client.
func table() []jvmBean {
	return []jvmBean{
		{"java.lang:type=Memory", []string{"HeapMemoryUsage", "NonHeapMemoryUsage", "ObjectPendingFinalizationCount"}, false, memory},
		{"java.lang:type=MemoryPool,name=*", []string{"Usage", "CollectionUsage"}, false, pools},
		{"java.lang:type=GarbageCollector,name=*", []string{"CollectionCount", "CollectionTime"}, false, collectors},
		{"java.lang:type=Threading", []string{"ThreadCount", "DaemonThreadCount", "PeakThreadCount", "TotalStartedThreadCount"}, false, simple(
			metric{attribute: "ThreadCount", name: "jvm_threads_current", help: "Current thread count of a JVM"},
			metric{attribute: "DaemonThreadCount", name: "jvm_threads_daemon", help: "Daemon thread count of a JVM"},
			metric{attribute: "PeakThreadCount", name: "jvm_threads_peak", help: "Peak thread count of a JVM"},
			metric{attribute: "TotalStartedThreadCount", name: "jvm_threads_started_total", help: "Started thread count of a JVM", counter: true},
		)},
		{"java.lang:type=ClassLoading", []string{"LoadedClassCount", "TotalLoadedClassCount", "UnloadedClassCount"}, false, simple(
			metric{attribute: "LoadedClassCount", name: "jvm_classes_currently_loaded", help: "The number of classes that are currently loaded in the JVM"},
			metric{
				attribute: "TotalLoadedClassCount", name: "jvm_classes_loaded_total", counter: true,
				help: "The total number of classes that have been loaded since the JVM has started execution",
			},
			metric{
				attribute: "UnloadedClassCount", name: "jvm_classes_unloaded_total", counter: true,
				help: "The total number of classes that have been unloaded since the JVM has started execution",
			},
		)},
		{"java.nio:type=BufferPool,name=*", []string{"MemoryUsed", "TotalCapacity", "Count"}, true, buffers},
		{"java.lang:type=Compilation", []string{"TotalCompilationTime"}, true, simple(metric{
			attribute: "TotalCompilationTime", name: "jvm_compilation_time_seconds_total", counter: true, per: 1e3,
			help: "The total time in seconds taken for HotSpot class compilation",
		})},
		{"java.lang:type=OperatingSystem", []string{"ProcessCpuTime", "OpenFileDescriptorCount", "MaxFileDescriptorCount"}, true, simple(
			metric{
				attribute: "ProcessCpuTime", name: "process_cpu_seconds_total", counter: true, per: 1e9,
				help: "Total user and system CPU time spent in seconds.",
			},
			metric{attribute: "OpenFileDescriptorCount", name: "process_open_fds", help: "Number of open file descriptors."},
			metric{attribute: "MaxFileDescriptorCount", name: "process_max_fds", help: "Maximum number of open file descriptors."},
		)},
		{"java.lang:type=Runtime", []string{"StartTime", "VmName", "VmVendor", "VmVersion", "SpecVersion"}, false, runtime},
	}
}

// metric is one attribute.
type metric struct {
	attribute, name, help string
	per                   float64 // how many make one; 0: 1
	counter               bool
}

func (m *metric) add(b *families.Builder, v tree.Value, labels ...string) {
	f, ok := number(v, m.attribute)
	if !ok {
		return
	}
	if m.per != 0 {
		f /= m.per
	}
	if m.counter {
		b.Counter(m.name, m.help, f, labels...)
	} else {
		b.Gauge(m.name, m.help, f, labels...)
	}
}

func simple(list ...metric) func(*families.Builder, objectName, tree.Value) {
	return func(b *families.Builder, _ objectName, v tree.Value) {
		for i := range list {
			list[i].add(b, v)
		}
	}
}

// usage adds a java.lang.management.MemoryUsage.
func usage(b *families.Builder, prefix string, help [4]string, v tree.Value, attribute, label, value string) {
	u, ok := v.Field(attribute)
	if !ok || u.Kind() != tree.Object {
		return // a pool without collections has none
	}
	for i, field := range []string{"used", "committed", "max", "init"} {
		m := metric{attribute: field, name: prefix + field + "_bytes", help: help[i]}
		m.add(b, u, label, value)
	}
}

func memory(b *families.Builder, _ objectName, v tree.Value) {
	help := [4]string{
		"Used bytes of a given JVM memory area.", "Committed (bytes) of a given JVM memory area.",
		"Max (bytes) of a given JVM memory area.", "Initial bytes of a given JVM memory area.",
	}
	usage(b, "jvm_memory_", help, v, "HeapMemoryUsage", "area", "heap")
	usage(b, "jvm_memory_", help, v, "NonHeapMemoryUsage", "area", "nonheap")
	pending := metric{
		attribute: "ObjectPendingFinalizationCount", name: "jvm_memory_objects_pending_finalization",
		help: "The number of objects waiting in the finalizer queue.",
	}
	pending.add(b, v)
}

func pools(b *families.Builder, name objectName, v tree.Value) {
	pool, _ := name.get("name")
	usage(b, "jvm_memory_pool_", [4]string{
		"Used bytes of a given JVM memory pool.", "Committed bytes of a given JVM memory pool.",
		"Max bytes of a given JVM memory pool.", "Initial bytes of a given JVM memory pool.",
	}, v, "Usage", "pool", pool)
	usage(b, "jvm_memory_pool_collection_", [4]string{
		"Used bytes after last collection of a given JVM memory pool.", "Committed after last collection bytes of a given JVM memory pool.",
		"Max bytes after last collection of a given JVM memory pool.", "Initial after last collection bytes of a given JVM memory pool.",
	}, v, "CollectionUsage", "pool", pool)
}

// collectors adds a summary, as the Java client does: how often, and how long.
func collectors(b *families.Builder, name objectName, v tree.Value) {
	count, counted := number(v, "CollectionCount")
	millis, timed := number(v, "CollectionTime")
	if !counted || !timed || count < 0 { // -1 is: not known
		return
	}
	gc, _ := name.get("name")
	n, sum := uint64(count), millis/1e3
	b.Family("jvm_gc_collection_seconds", "Time spent in a given JVM garbage collector in seconds.", dto.MetricType_SUMMARY).
		AddSummary(&dto.Summary{SampleCount: &n, SampleSum: &sum}, families.Labels("gc", gc))
}

func buffers(b *families.Builder, name objectName, v tree.Value) {
	pool, _ := name.get("name")
	for _, m := range []metric{
		{attribute: "MemoryUsed", name: "jvm_buffer_pool_used_bytes", help: "Used bytes of a given JVM buffer pool."},
		{attribute: "TotalCapacity", name: "jvm_buffer_pool_capacity_bytes", help: "Bytes capacity of a given JVM buffer pool."},
		{attribute: "Count", name: "jvm_buffer_pool_used_buffers", help: "Used buffers of a given JVM buffer pool."},
	} {
		m.add(b, v, "pool", pool)
	}
}

func runtime(b *families.Builder, _ objectName, v tree.Value) {
	start := metric{
		attribute: "StartTime", name: "process_start_time_seconds", per: 1e3,
		help: "Start time of the process since unix epoch in seconds.",
	}
	start.add(b, v)
	text := func(name string) string {
		if f, ok := v.Field(name); ok && f.Kind() == tree.String {
			return f.Text()
		}
		return "unknown"
	}
	b.Gauge("jvm_runtime_info", "JVM runtime info", 1, "runtime", text("VmName"), "vendor", text("VmVendor"), "version", text("VmVersion"))
}
