package statsdexporter

import (
	"runtime"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dragoman-mesh/dragoman/pkg/metrics/statsd"
	"github.com/dragoman-mesh/dragoman/pkg/statsdproto"
)

// about shows what the process has done, under statsd_exporter's names.
type about struct{ server *Server }

// Describe implements prometheus.Collector: what there is depends on what has
// happened.
func (*about) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (a *about) Collect(out chan<- prometheus.Metric) {
	st := a.server.source.Stats()
	e := emitter{out: out}
	e.build(a.server.options.Version)
	e.counter("events_unmapped_total", "The total number of StatsD events no mapping was found for.", st.Unmapped)
	e.counter("udp_packets_total", "The total number of StatsD packets received over UDP.", st.Datagrams)
	e.counter("udp_packet_drops_total", "The total number of StatsD packets that the kernel dropped, since a socket's buffer was full.", st.KernelDrops)
	e.counter("tcp_connections_total", "The total number of TCP connections handled.", st.Connections)
	e.counter("tcp_connection_errors_total", "The number of errors encountered reading from TCP.", st.TCPErrors)
	e.counter("tcp_too_long_lines_total", "The number of lines discarded due to being too long.", st.LongLines)
	e.counter("unixgram_packets_total", "The total number of StatsD packets received over Unixgram.", st.UnixDatagrams)
	e.counter("lines_total", "The total number of StatsD lines received.", st.Lines)
	e.counter("samples_total", "The total number of StatsD samples received.", st.Samples)
	e.counter("tags_total", "The total number of DogStatsD tags processed.", st.Tagged)
	e.counter("tag_errors_total", "The number of errors parsing DogStatsD tags.", st.BadTags)
	e.counter("expired_series_total", "The number of series that were removed when their time was over.", st.Expired)
	e.counter("tcp_refused_connections_total", "The number of TCP connections above the limit.", st.Refused)
	e.gauge("loaded_mappings", "The current number of configured metric mappings.", st.Mappings)
	a.labelled(&e, &st)
	if r, ok := a.server.source.RelayStats(); ok {
		target := a.server.options.Source.Relay.Target
		e.counter("relay_packets_total", "The number of StatsD packets relayed.", r.Packets, "target", target)
		e.counter("relay_long_lines_total", "The number lines that were too long to relay.", r.Long, "target", target)
		e.counter("relay_lines_relayed_total", "The number of lines that were buffered to be relayed.", r.Lines, "target", target)
		e.counter("relay_lines_dropped_total", "The number of lines that could not be sent soon enough.", r.Dropped, "target", target)
	}
}

// labelled are the families with labels.
func (a *about) labelled(e *emitter, st *statsd.Stats) {
	for i, n := range st.Events {
		e.counter("events_total", "The total number of StatsD events seen.", n, "type", statsd.Event(i).String())
	}
	for c, n := range a.server.source.Conflicts() {
		e.counter("events_conflict_total", "The total number of StatsD events with conflicting names.", n, "type", c.Event.String(), "metric_name", c.Name)
	}
	for reason, n := range map[string]uint64{
		"empty_metric_name": st.EmptyNames, "illegal_negative_counter": st.NegativeCounters, "illegal_number": st.IllegalNumbers, "series_limit": st.OverLimit,
	} {
		e.counter("events_error_total", "The total number of StatsD events discarded due to errors.", n, "reason", reason)
	}
	e.counter("events_actions_total", "The total number of StatsD events by action.", st.Mapped, "action", "map")
	e.counter("events_actions_total", "The total number of StatsD events by action.", st.Dropped, "action", "drop")
	for r, n := range st.Problems {
		if r > 0 {
			e.counter("sample_errors_total", "The total number of errors parsing StatsD samples.", n, "reason", statsdproto.Reason(r).String())
		}
	}
	e.counter("sample_errors_total", "The total number of errors parsing StatsD samples.", st.Truncated, "reason", "truncated_packet")
	e.counter("config_reloads_total", "The number of configuration reloads.", a.server.reloaded.Load(), "outcome", "success")
	e.counter("config_reloads_total", "The number of configuration reloads.", a.server.refused.Load(), "outcome", "failure")
	for i, n := range st.Families {
		e.gauge("metrics_total", "The total number of metrics.", n, "type", statsd.Kind(i).String())
	}
	for i, n := range st.Series {
		e.gauge("series", "The number of time series.", n, "type", statsd.Kind(i).String())
	}
}

// emitter makes metrics of numbers.
type emitter struct{ out chan<- prometheus.Metric }

const prefix = "statsd_exporter_"

func (e *emitter) counter(name, help string, n uint64, labels ...string) {
	e.emit(prometheus.CounterValue, name, help, float64(n), labels)
}

func (e *emitter) gauge(name, help string, n int, labels ...string) {
	e.emit(prometheus.GaugeValue, name, help, float64(n), labels)
}

// emit takes labels as names and values in turn.
func (e *emitter) emit(typ prometheus.ValueType, name, help string, v float64, labels []string) {
	var names, values []string
	for i := 0; i+1 < len(labels); i += 2 {
		names, values = append(names, labels[i]), append(values, labels[i+1])
	}
	e.out <- prometheus.MustNewConstMetric(prometheus.NewDesc(prefix+name, help, names, nil), typ, v, values...)
}

func (e *emitter) build(version string) {
	e.emit(prometheus.GaugeValue, "build_info",
		"A metric with a constant '1' value labeled by version, revision, branch, goversion from which statsd_exporter was built, and the goos and goarch for the build.", 1,
		[]string{
			"branch", "", "goarch", runtime.GOARCH, "goos", runtime.GOOS, "goversion", runtime.Version(), "revision", "", "tags", "dragoman",
			"version", strings.ToValidUTF8(version, "?"),
		})
}
