package metrics

import "github.com/prometheus/client_golang/prometheus"

// counters are the filter's own metrics.
type counters struct {
	scrapes *prometheus.CounterVec
	bytes   *prometheus.CounterVec
	seconds *prometheus.HistogramVec
}

// listenerCounters are those of one listener.
type listenerCounters struct {
	answered, failed, refused prometheus.Counter
	bytes                     prometheus.Counter
	seconds                   prometheus.Observer
}

func newCounters() *counters {
	return &counters{
		scrapes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "dragoman_metrics_scrapes_total", Help: "Scrapes of adapters, by result.",
		}, []string{"listener", "result"}),
		bytes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "dragoman_metrics_scraped_bytes_total", Help: "Bytes of answers to scrapes, as sent.",
		}, []string{"listener"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "dragoman_metrics_scrape_duration_seconds", Help: "Time from a scrape's request to its answer.",
			Buckets: []float64{0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10},
		}, []string{"listener"}),
	}
}

func (c *counters) of(listener string) *listenerCounters {
	return &listenerCounters{
		answered: c.scrapes.WithLabelValues(listener, "answered"),
		failed:   c.scrapes.WithLabelValues(listener, "failed"),
		refused:  c.scrapes.WithLabelValues(listener, "refused"),
		bytes:    c.bytes.WithLabelValues(listener),
		seconds:  c.seconds.WithLabelValues(listener),
	}
}

// Describe implements prometheus.Collector.
func (c *counters) Describe(ch chan<- *prometheus.Desc) {
	c.scrapes.Describe(ch)
	c.bytes.Describe(ch)
	c.seconds.Describe(ch)
}

// Collect implements prometheus.Collector.
func (c *counters) Collect(ch chan<- prometheus.Metric) {
	c.scrapes.Collect(ch)
	c.bytes.Collect(ch)
	c.seconds.Collect(ch)
}
