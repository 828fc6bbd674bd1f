package redis

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// descs are the metrics of the filter. Names and labels are part of its
// interface; see README.md.
type descs struct {
	commands, commandErrors, commandSeconds                    *prometheus.Desc
	connections, active, clientErrors, protocolErrors          *prometheus.Desc
	slowClients, redirections, messages, loginFailures, denied *prometheus.Desc
	idleClients                                                *prometheus.Desc
	requests, requestErrors, requestSeconds, timeouts          *prometheus.Desc
	refused, overflows, connects, connectFailures, disconnects *prometheus.Desc
	upstreamActive                                             *prometheus.Desc
}

func newDescs() *descs {
	l := []string{"listener"}
	lc := []string{"listener", "command"}
	e := []string{"cluster", "endpoint", "shard"}
	d := func(name, help string, labels []string) *prometheus.Desc {
		return prometheus.NewDesc("dragoman_redis_"+name, help, labels, nil)
	}
	return &descs{
		commands:       d("commands_total", "Commands answered.", lc),
		commandErrors:  d("command_errors_total", "Commands answered with an error.", lc),
		commandSeconds: d("command_duration_seconds", "Time from a command's arrival to its reply.", lc),
		connections:    d("downstream_connections_total", "Client connections accepted.", l),
		active:         d("downstream_connections", "Client connections open.", l),
		clientErrors:   d("downstream_errors_total", "Client connections that ended with an error.", l),
		protocolErrors: d("protocol_errors_total", "Client connections closed for malformed input.", l),
		slowClients:    d("slow_clients_closed_total", "Client connections closed for not reading their replies.", l),
		idleClients:    d("idle_clients_closed_total", "Client connections closed because nothing went on.", l),
		redirections:   d("redirections_total", "MOVED and ASK redirections followed.", l),
		messages:       d("pubsub_messages_total", "Messages passed on to subscribers.", l),
		loginFailures:  d("login_failures_total", "AUTH or HELLO with a wrong user or password.", l),
		denied:         d("denied_commands_total", "Commands refused because the user may not run them.", l),
		requests:       d("upstream_requests_total", "Requests answered by an endpoint.", e),
		requestErrors:  d("upstream_request_errors_total", "Requests that an endpoint answered with an error.", e),
		requestSeconds: d("upstream_request_duration_seconds", "Time from sending a request to its reply.", e),
		timeouts:       d("upstream_timeouts_total", "Requests that an endpoint did not answer in time.", e),
		refused:        d("upstream_refused_total", "Requests not sent because the endpoint is down.", e),
		overflows:      d("upstream_overflows_total", "Requests not sent because a limit was reached.", e),
		connects:       d("upstream_connects_total", "Connections begun.", e),
		connectFailures: d("upstream_connect_failures_total",
			"Connections that were not established or not accepted.", e),
		disconnects:    d("upstream_disconnects_total", "Connections lost with requests outstanding.", e),
		upstreamActive: d("upstream_connections", "Connections open.", e),
	}
}

const scrapeTimeout = 2 * time.Second

// Collect adds up the counters of all loops.
func (b *Builder) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	listeners := map[string]*listenerStats{}
	endpoints := map[endpointKey]*endpointStats{}
	for _, w := range b.allWorkers() {
		_ = w.loop.Call(ctx, func() {
			for name, s := range w.listeners {
				if listeners[name] == nil {
					listeners[name] = &listenerStats{commands: make([]commandStats, len(b.commands.all))}
				}
				listeners[name].add(s)
			}
			for key, s := range w.endpoints {
				if endpoints[key] == nil {
					endpoints[key] = &endpointStats{}
				}
				endpoints[key].add(s)
			}
		})
	}
	d := newDescs()
	for name, s := range listeners {
		b.collectListener(ch, d, name, s)
	}
	for key, s := range endpoints {
		collectEndpoint(ch, d, key, s)
	}
}

func (b *Builder) collectListener(ch chan<- prometheus.Metric, d *descs, name string, s *listenerStats) {
	counter := func(desc *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(v), append([]string{name}, labels...)...)
	}
	counter(d.connections, s.connections)
	counter(d.clientErrors, s.clientErrors)
	counter(d.protocolErrors, s.protocolErrors)
	counter(d.slowClients, s.slowClients)
	counter(d.idleClients, s.idleClients)
	counter(d.redirections, s.redirections)
	counter(d.messages, s.messages)
	counter(d.loginFailures, s.loginFailures)
	counter(d.denied, s.denied)
	ch <- prometheus.MustNewConstMetric(d.active, prometheus.GaugeValue, float64(s.active), name)
	for i := range s.commands {
		c := &s.commands[i]
		if c.count == 0 {
			continue
		}
		command := b.commands.all[i].name
		counter(d.commands, c.count, command)
		counter(d.commandErrors, c.errors, command)
		if s.histograms {
			ch <- c.latency.metric(d.commandSeconds, c.count, c.sum, name, command)
		}
	}
}

func collectEndpoint(ch chan<- prometheus.Metric, d *descs, key endpointKey, s *endpointStats) {
	counter := func(desc *prometheus.Desc, v uint64) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(v), key.cluster, key.address, key.shard)
	}
	counter(d.requests, s.requests)
	counter(d.requestErrors, s.errors)
	counter(d.timeouts, s.timeouts)
	counter(d.refused, s.refused)
	counter(d.overflows, s.overflows)
	counter(d.connects, s.connects)
	counter(d.connectFailures, s.connectFailures)
	counter(d.disconnects, s.disconnects)
	ch <- prometheus.MustNewConstMetric(d.upstreamActive, prometheus.GaugeValue, float64(s.active),
		key.cluster, key.address, key.shard)
	ch <- s.latency.metric(d.requestSeconds, s.requests, s.sum, key.cluster, key.address, key.shard)
}

// metric makes a Prometheus histogram; sum is in ns.
func (h *histogram) metric(d *prometheus.Desc, count, sum uint64, labels ...string) prometheus.Metric {
	buckets := make(map[float64]uint64, histogramBuckets)
	total := uint64(0)
	for i := range histogramBuckets {
		total += h[i]
		buckets[bound(i)] = total
	}
	return prometheus.MustNewConstHistogram(d, count, float64(sum)/1e9, buckets, labels...)
}

func (h *histogram) add(o *histogram) {
	for i := range h {
		h[i] += o[i]
	}
}

func (s *listenerStats) add(o *listenerStats) {
	for i := range s.commands {
		c, oc := &s.commands[i], &o.commands[i]
		c.count += oc.count
		c.errors += oc.errors
		c.sum += oc.sum
		c.latency.add(&oc.latency)
	}
	s.connections += o.connections
	s.clientErrors += o.clientErrors
	s.protocolErrors += o.protocolErrors
	s.slowClients += o.slowClients
	s.idleClients += o.idleClients
	s.histograms = s.histograms || o.histograms
	s.redirections += o.redirections
	s.messages += o.messages
	s.loginFailures += o.loginFailures
	s.denied += o.denied
	s.active += o.active
}

func (s *endpointStats) add(o *endpointStats) {
	s.requests += o.requests
	s.errors += o.errors
	s.timeouts += o.timeouts
	s.refused += o.refused
	s.overflows += o.overflows
	s.connects += o.connects
	s.connectFailures += o.connectFailures
	s.disconnects += o.disconnects
	s.active += o.active
	s.sum += o.sum
	s.latency.add(&o.latency)
}
