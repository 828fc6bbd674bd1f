package http

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/dragoman-mesh/dragoman/pkg/filters/http/pool"
)

// upstreamMetrics are those of clusters.
type upstreamMetrics struct {
	counts    []count
	gauges    []gauge
	responses *prometheus.Desc
}

type count struct {
	desc *prometheus.Desc
	read func(*pool.Cluster) uint64
}

type gauge struct {
	desc *prometheus.Desc
	read func(*pool.Cluster) int64
}

func newUpstreamMetrics() *upstreamMetrics {
	m := &upstreamMetrics{}
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("dragoman_http_upstream_"+name, help, append([]string{"cluster"}, labels...), nil)
	}
	counter := func(name, help string, read func(*pool.Cluster) uint64) {
		m.counts = append(m.counts, count{desc(name, help), read})
	}
	now := func(name, help string, read func(*pool.Cluster) int64) {
		m.gauges = append(m.gauges, gauge{desc(name, help), read})
	}
	m.responses = desc("responses_total", "Responses received, by the class of their status.", "class")
	counter("requests_total", "Requests sent, without retries.", func(k *pool.Cluster) uint64 { return k.Requests.Load() })
	counter("retries_total", "Requests sent again.", func(k *pool.Cluster) uint64 { return k.Retries.Load() })
	counter("retries_refused_total", "Retries that the budget did not allow.", func(k *pool.Cluster) uint64 { return k.RetriesRefused.Load() })
	counter("connects_total", "Connections dialled.", func(k *pool.Cluster) uint64 { return k.Connects.Load() })
	counter("connect_failures_total", "Connects that failed.", func(k *pool.Cluster) uint64 { return k.ConnectFailures.Load() })
	counter("overflows_total", "Requests that a circuit breaker has refused.", func(k *pool.Cluster) uint64 { return k.Overflows.Load() })
	counter("resets_total", "Requests that lost their connection.", func(k *pool.Cluster) uint64 { return k.Resets.Load() })
	counter("timeouts_total", "Requests without a response in time.", func(k *pool.Cluster) uint64 { return k.Timeouts.Load() })
	now("requests_active", "Requests under way.", func(k *pool.Cluster) int64 { return k.Active.Load() })
	now("connections", "Connections open.", func(k *pool.Cluster) int64 { return k.Open.Load() })
	now("requests_pending", "Requests that wait for a connection.", func(k *pool.Cluster) int64 { return k.Pending.Load() })
	return m
}

func (m *upstreamMetrics) describe(ch chan<- *prometheus.Desc) {
	ch <- m.responses
	for i := range m.counts {
		ch <- m.counts[i].desc
	}
	for i := range m.gauges {
		ch <- m.gauges[i].desc
	}
}

func (m *upstreamMetrics) collect(ch chan<- prometheus.Metric, clusters []*pool.Cluster) {
	for _, k := range clusters {
		for i := range m.counts {
			ch <- prometheus.MustNewConstMetric(m.counts[i].desc, prometheus.CounterValue, float64(m.counts[i].read(k)), k.Name())
		}
		for i := range m.gauges {
			ch <- prometheus.MustNewConstMetric(m.gauges[i].desc, prometheus.GaugeValue, float64(m.gauges[i].read(k)), k.Name())
		}
		for class := 1; class < len(k.Classes); class++ {
			ch <- prometheus.MustNewConstMetric(m.responses, prometheus.CounterValue, float64(k.Classes[class].Load()),
				k.Name(), string(rune('0'+class))+"xx")
		}
	}
}
