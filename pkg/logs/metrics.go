package logs

import "github.com/prometheus/client_golang/prometheus"

// Counters are the metrics of one adapter. They outlive its pipelines.
type Counters struct {
	Lines, Bytes, Cut, Unparsed *prometheus.CounterVec // by source
	Dropped                     *prometheus.CounterVec // by source, reason
	Lost                        *prometheus.CounterVec // bytes by source, reason
	Records, SentBytes, Retries prometheus.Counter
	SinkErrors                  *prometheus.CounterVec // by reason
	PositionErrors              prometheus.Counter
	SendTime                    prometheus.Histogram
}

// NewCounters makes those of one adapter.
func NewCounters(adapter string) *Counters {
	labels := prometheus.Labels{"adapter": adapter}
	vec := func(name, help string, names ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "dragoman_logs_" + name, Help: help, ConstLabels: labels}, names)
	}
	one := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "dragoman_logs_" + name, Help: help, ConstLabels: labels})
	}
	return &Counters{
		Lines:    vec("lines_total", "Lines read.", "source"),
		Bytes:    vec("bytes_total", "Bytes of the lines read.", "source"),
		Cut:      vec("truncated_lines_total", "Lines longer than maxLine.", "source"),
		Unparsed: vec("unparsed_lines_total", "Lines that were not of their format.", "source"),
		Dropped: vec("dropped_total", "Records dropped: too_long, unparsable (both only where the document says so), "+
			"refused (by the receiver; source is empty).", "source", "reason"),
		Lost: vec("lost_bytes_total", "Bytes that were gone before they could be read: truncated (and no copy is there), "+
			"gone (deleted while the adapter was away).", "source", "reason"),
		Records:        one("records_total", "Records that the receiver has taken."),
		SentBytes:      one("sent_bytes_total", "Bytes of those records as they were sent, before compression."),
		Retries:        one("retries_total", "Batches sent again."),
		SinkErrors:     vec("sink_errors_total", "Attempts to send that failed.", "reason"),
		PositionErrors: one("position_errors_total", "Failures to read or write the file of positions."),
		SendTime: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "dragoman_logs_send_seconds", Help: "Time that an attempt to send took.", ConstLabels: labels,
			Buckets: []float64{.001, .005, .025, .1, .5, 2.5, 10},
		}),
	}
}

func (c *Counters) all() []prometheus.Collector {
	return []prometheus.Collector{
		c.Lines, c.Bytes, c.Cut, c.Unparsed, c.Dropped, c.Lost, c.Records, c.SentBytes, c.Retries, c.SinkErrors, c.PositionErrors, c.SendTime,
	}
}

// Describe implements prometheus.Collector.
func (c *Counters) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range c.all() {
		m.Describe(ch)
	}
}

// Collect implements prometheus.Collector.
func (c *Counters) Collect(ch chan<- prometheus.Metric) {
	for _, m := range c.all() {
		m.Collect(ch)
	}
}
