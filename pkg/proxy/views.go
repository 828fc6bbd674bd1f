package proxy

import (
	"fmt"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dragoman-mesh/dragoman/pkg/listener"
	"github.com/dragoman-mesh/dragoman/pkg/proxy/admin"
	"github.com/dragoman-mesh/dragoman/pkg/upstream"
)

// slowLogger and keyCounter are filters with something to show.
type (
	slowLogger interface{ SlowLog() any }
	keyCounter interface{ HotKeys() any }
)

func (p *Proxy) adminOptions() admin.Options {
	o := admin.Options{
		Ready:          p.Ready,
		ConfigDump:     p.dump,
		Resources:      p.resources,
		Clusters:       func() admin.View { return clustersView(p.clusters.Snapshot()) },
		Listeners:      func() admin.View { return listenersView(p.listeners.Status()) },
		DrainListeners: p.stopAccepting,
		Quit:           p.Quit,
		Answered:       p.pages.touched,
		Level:          p.opts.Level,
		Gatherer:       p.registry,
		Log:            p.log,
	}
	for _, b := range p.filters.Builders() {
		if s, ok := b.(slowLogger); ok {
			o.SlowLog = s.SlowLog
		}
		if k, ok := b.(keyCounter); ok {
			o.HotKeys = k.HotKeys
		}
	}
	return o
}

func (p *Proxy) stopAccepting() {
	p.log.Info("listeners are closed on request")
	p.state.drain()
	p.listeners.StopAccepting()
}

// clustersView has Envoy's line format: cluster::address::what::value.
func clustersView(list []upstream.ClusterView) admin.View {
	var b strings.Builder
	for _, c := range list {
		line := func(format string, args ...any) { fmt.Fprintf(&b, c.Name+"::"+format+"\n", args...) }
		line("discovery::%s", c.Discovery)
		line("policy::%s", c.Policy)
		line("table_version::%d", c.Version)
		if c.Slots > 0 {
			line("slots::%d", c.Slots)
		}
		if c.LastError != "" {
			line("last_error::%s", c.LastError)
		}
		for i := range c.Endpoints {
			e := &c.Endpoints[i]
			at := func(what string, value any) { line("%s::%s::%v", e.Address, what, value) }
			at("hostname", e.Hostname)
			at("shard", e.Shard)
			at("role", e.Role)
			if e.ReadOnly {
				at("read_only", true)
			}
			if e.Timeline > 0 {
				at("timeline", e.Timeline)
			}
			if e.Sessions > 0 {
				at("sessions", e.Sessions)
			}
			at("zone", e.Zone)
			at("weight", e.Weight)
			at("health_flags", healthFlags(e))
			if e.LastError != "" {
				at("last_error", e.LastError)
			}
		}
	}
	return admin.View{JSON: clusterStatuses(list), Text: b.String()}
}

// healthFlags are Envoy's words.
func healthFlags(e *upstream.EndpointView) string {
	var flags []string
	if e.CheckFailing {
		flags = append(flags, "/failed_active_hc")
	}
	if !e.Healthy && !e.CheckFailing {
		flags = append(flags, "/failed_outlier_check")
	}
	if len(flags) == 0 {
		return "healthy"
	}
	return strings.Join(flags, "")
}

func listenersView(list []listener.Status) admin.View {
	var b strings.Builder
	for _, s := range list {
		fmt.Fprintf(&b, "%s::%s\n", s.Name, s.Address)
	}
	return admin.View{JSON: listenerStatuses(list), Text: b.String()}
}

// listenerMetrics exports what listeners hold.
type listenerMetrics struct {
	set         *listener.Set
	connections *prometheus.Desc
	info        *prometheus.Desc
}

func newListenerMetrics(s *listener.Set) *listenerMetrics {
	return &listenerMetrics{
		set: s,
		connections: prometheus.NewDesc("dragoman_listener_connections",
			"Accepted connections that are open.", []string{"listener"}, nil),
		info: prometheus.NewDesc("dragoman_listener_info",
			"Address and environment of a listener.", []string{"listener", "address", "environment"}, nil),
	}
}

// Describe implements prometheus.Collector.
func (m *listenerMetrics) Describe(ch chan<- *prometheus.Desc) {
	ch <- m.connections
	ch <- m.info
}

// Collect implements prometheus.Collector.
func (m *listenerMetrics) Collect(ch chan<- prometheus.Metric) {
	for _, s := range m.set.Status() {
		ch <- prometheus.MustNewConstMetric(m.connections, prometheus.GaugeValue, float64(s.Connections), s.Name)
		ch <- prometheus.MustNewConstMetric(m.info, prometheus.GaugeValue, 1, s.Name, s.Address, s.Environment)
	}
}
