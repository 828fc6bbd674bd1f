package client

import (
	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the descriptions of what a Client exports.
type metrics struct {
	connected, connects, reconnects, disk, contact *prometheus.Desc
	messages, resources, held, acks, nacks         *prometheus.Desc
	ignored                                        *prometheus.Desc
	timeouts, waits, applies, failures, unknown    *prometheus.Desc
}

func newMetrics() *metrics {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("dragoman_xds_"+name, help, labels, nil)
	}
	return &metrics{
		connected:  desc("connected", "Whether a stream to a control plane is open (1) or not (0)."),
		connects:   desc("connects_total", "Streams that were opened."),
		reconnects: desc("disconnects_total", "Open streams that ended."),
		disk:       desc("from_disk", "Whether the running set, or part of it, is from the file and unconfirmed (1) or not (0)."),
		contact:    desc("last_contact_timestamp_seconds", "When a control plane last sent something."),
		messages:   desc("responses_total", "Responses by type.", "type"),
		resources:  desc("resources_received_total", "Resources in responses by type.", "type"),
		held:       desc("resources", "Resources of the running set by type.", "type"),
		acks:       desc("acks_total", "Responses that were accepted.", "type"),
		nacks:      desc("nacks_total", "Responses that were refused.", "type"),
		timeouts:   desc("resource_timeouts_total", "Resources that were asked for and did not come in time.", "type"),
		waits:      desc("resources_awaited", "Resources that others need and that are not there, given up or not.", "type"),
		applies:    desc("applies_total", "Sets that were tried."),
		failures:   desc("apply_failures_total", "Sets that could not be made to run."),
		ignored:    desc("unknown_fields_total", "Resources that came with fields which this version does not know, and ignores.", "type"),
		unknown:    desc("unknown_responses_total", "Responses of a type that nobody asked for."),
	}
}

// Describe implements prometheus.Collector.
func (c *Client) Describe(ch chan<- *prometheus.Desc) {
	m := newMetrics()
	for _, d := range []*prometheus.Desc{
		m.connected, m.connects, m.reconnects, m.disk, m.contact, m.messages, m.resources, m.held,
		m.acks, m.nacks, m.timeouts, m.waits, m.applies, m.failures, m.unknown, m.ignored,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *Client) Collect(ch chan<- prometheus.Metric) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := newMetrics()
	count := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	e := &c.machine.events
	gauge(m.connected, number(c.link != nil))
	gauge(m.disk, number(c.machine.applied.disk))
	count(m.connects, c.connects)
	count(m.reconnects, c.breaks)
	if !e.lastContact.IsZero() {
		gauge(m.contact, float64(e.lastContact.UnixNano())/1e9)
	}
	held, waits := c.machine.counts()
	for k := range numKinds {
		name := k.label()
		count(m.messages, e.messages[k], name)
		count(m.resources, e.resources[k], name)
		count(m.acks, e.acks[k], name)
		count(m.nacks, e.nacks[k], name)
		count(m.timeouts, e.timeouts[k], name)
		count(m.ignored, e.ignored[k], name)
		gauge(m.held, float64(held[k]), name)
		gauge(m.waits, float64(waits[k]), name)
	}
	count(m.applies, e.applies)
	count(m.failures, e.failures)
	count(m.unknown, e.unknown)
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// counts are the resources of the running set, and those awaited, by kind.
func (m *machine) counts() (held, waits [numKinds]int) {
	m.each(func(e *entry) {
		if e.running != nil {
			held[e.key.kind]++
		}
	})
	for k := range m.waits {
		waits[k.kind]++
	}
	return held, waits
}
