package engine

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	changes      prometheus.Counter
	applying     prometheus.Histogram
	translations prometheus.Counter
	translating  prometheus.Histogram
	convergence  prometheus.Histogram
	nodes        prometheus.Gauge
	kinds        prometheus.Gauge
	variants     prometheus.Gauge
	resources    prometheus.Gauge
	barePods     *prometheus.GaugeVec
}

func newMetrics() *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "dragoman_controlplane_" + name, Help: help})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: "dragoman_controlplane_" + name, Help: help})
	}
	seconds := func(name, help string) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "dragoman_controlplane_" + name + "_seconds", Help: help,
			Buckets: []float64{.0001, .0003, .001, .003, .01, .03, .1, .3, 1, 3},
		})
	}
	return &metrics{
		changes:      counter("changes_total", "Changes of the inventory that were taken."),
		applying:     seconds("apply", "Time from taking changes until they are published and granted."),
		translations: counter("translations_total", "Objects translated, each for one environment and zone."),
		translating:  seconds("translate", "Time of one translation."),
		convergence:  seconds("convergence", "From the observation of a change to the last node's ACK of it."),
		nodes:        gauge("nodes", "Connected nodes."),
		kinds:        gauge("node_kinds", "Sets of nodes that get the same."),
		variants:     gauge("variants", "Objects in an environment that nodes need."),
		resources:    gauge("resources", "Resources that nodes need."),
		barePods: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "dragoman_controlplane_pods_without_proxy", Help: "Pods of namespaces with injection that have no proxy and have not opted out.",
		}, []string{"namespace"}),
	}
}

func (m *metrics) sizes(nodes, kinds, variants, resources int) {
	m.nodes.Set(float64(nodes))
	m.kinds.Set(float64(kinds))
	m.variants.Set(float64(variants))
	m.resources.Set(float64(resources))
}

func (m *metrics) all() []prometheus.Collector {
	return []prometheus.Collector{
		m.changes, m.applying, m.translations, m.translating, m.convergence, m.nodes, m.kinds, m.variants, m.resources, m.barePods,
	}
}

// Describe implements prometheus.Collector.
func (e *Engine) Describe(ch chan<- *prometheus.Desc) {
	for _, c := range e.metrics.all() {
		c.Describe(ch)
	}
}

// Collect implements prometheus.Collector.
func (e *Engine) Collect(ch chan<- prometheus.Metric) {
	for _, c := range e.metrics.all() {
		c.Collect(ch)
	}
}
