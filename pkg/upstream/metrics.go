package upstream

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
)

// metrics are the descriptions of what a Set exports.
type metrics struct {
	endpoints       *prometheus.Desc
	healthy         *prometheus.Desc
	checks          *prometheus.Desc
	checkFailures   *prometheus.Desc
	ejections       *prometheus.Desc
	refreshes       *prometheus.Desc
	refreshFailures *prometheus.Desc
	dnsFailures     *prometheus.Desc
	primaryChanges  *prometheus.Desc
}

func newMetrics() metrics {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("dragoman_cluster_"+name, help, append([]string{"cluster"}, labels...), nil)
	}
	return metrics{
		endpoints:       desc("endpoints", "Endpoints in the routing table."),
		healthy:         desc("endpoint_healthy", "1 if the endpoint may be used, else 0.", "endpoint", "shard", "role"),
		checks:          desc("health_checks_total", "Probes of endpoints, by active checks or after an ejection."),
		checkFailures:   desc("health_check_failures_total", "Probes that failed."),
		ejections:       desc("ejections_total", "Endpoints taken out of use because of failed requests."),
		refreshes:       desc("topology_refreshes_total", "Questions to a Redis Cluster or to Sentinels for the topology."),
		refreshFailures: desc("topology_refresh_failures_total", "Questions for the topology without a good answer."),
		dnsFailures:     desc("dns_failures_total", "Resolutions of host names that failed."),
		primaryChanges:  desc("primary_changes_total", "Times that another endpoint became the primary of its shard, where servers are asked for their roles."),
	}
}

// Describe implements prometheus.Collector.
func (s *Set) Describe(ch chan<- *prometheus.Desc) {
	m := newMetrics()
	for _, d := range []*prometheus.Desc{
		m.endpoints, m.healthy, m.checks, m.checkFailures,
		m.ejections, m.refreshes, m.refreshFailures, m.dnsFailures, m.primaryChanges,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (s *Set) Collect(ch chan<- prometheus.Metric) {
	m := newMetrics()
	for _, c := range s.sorted() {
		c.collect(ch, &m)
	}
}

func (c *cluster) collect(ch chan<- prometheus.Metric, m *metrics) {
	name := c.Name()
	count := func(d *prometheus.Desc, v uint64) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), name)
	}
	count(m.checks, c.stats.checks.Load())
	count(m.checkFailures, c.stats.checkFailures.Load())
	count(m.ejections, c.stats.ejections.Load())
	count(m.refreshes, c.stats.refreshes.Load())
	count(m.refreshFailures, c.stats.refreshFailures.Load())
	count(m.dnsFailures, c.stats.dnsFailures.Load())
	count(m.primaryChanges, c.stats.primaryChanges.Load())

	type labels struct{ endpoint, shard, role string }
	endpoints := 0
	healthy := make(map[labels]float64) // two that differ in nothing else are one series
	c.eachEndpoint(c.table.Load(), func(mem *member, role filters.Role) {
		endpoints++
		l := labels{mem.key.address, mem.key.shard, role.String()}
		up := 0.0
		if mem.ep.Healthy() {
			up = 1
		}
		if before, ok := healthy[l]; !ok || up < before {
			healthy[l] = up
		}
	})
	ch <- prometheus.MustNewConstMetric(m.endpoints, prometheus.GaugeValue, float64(endpoints), name)
	for l, up := range healthy {
		ch <- prometheus.MustNewConstMetric(m.healthy, prometheus.GaugeValue, up, name, l.endpoint, l.shard, l.role)
	}
}
