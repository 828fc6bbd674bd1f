package proxy

import (
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dragoman-mesh/dragoman/pkg/mesh"
	"github.com/dragoman-mesh/dragoman/pkg/xds/snapshot"
)

// state is what the process knows of its own configuration.
type state struct {
	mu sync.Mutex // guards below

	accepted *snapshot.Snapshot // nil before the first
	at       time.Time          // when it was accepted
	facts    mesh.NodeFacts     // that it was made with

	refused   []string // errors of the last attempt, if it was refused
	refusedAt time.Time

	reloads, failures uint64
	draining          bool
}

func (s *state) accept(snap *snapshot.Snapshot, facts mesh.NodeFacts, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.accepted != snap {
		s.at = now
	}
	s.accepted, s.facts, s.refused = snap, facts, nil
	s.reloads++
}

func (s *state) refuse(err error, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused, s.refusedAt = strings.Split(err.Error(), "\n"), now
	s.reloads++
	s.failures++
}

func (s *state) current() *snapshot.Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.accepted
}

func (s *state) drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining = true
}

// initializing is why a process that has no configuration yet is not ready.
const initializing = "INITIALIZING"

// ready says whether the process serves. A refused change is no reason not to:
// what was accepted goes on.
func (s *state) ready() (ok bool, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.draining:
		return false, "DRAINING"
	case s.accepted == nil:
		return false, initializing
	default:
		return true, ""
	}
}

// configMetrics exports a state.
type configMetrics struct {
	state *state

	reloads, failures, successful, accepted, info *prometheus.Desc
}

func newConfigMetrics(s *state) *configMetrics {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("dragoman_config_"+name, help, labels, nil)
	}
	return &configMetrics{
		state:      s,
		reloads:    desc("reloads_total", "Attempts to take a configuration."),
		failures:   desc("reload_failures_total", "Attempts that were refused."),
		successful: desc("last_reload_successful", "Whether the last attempt was accepted (1) or refused (0)."),
		accepted:   desc("last_accepted_timestamp_seconds", "When the running configuration was accepted."),
		info:       desc("info", "Version of the running configuration.", "version"),
	}
}

// Describe implements prometheus.Collector.
func (m *configMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.reloads, m.failures, m.successful, m.accepted, m.info} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m *configMetrics) Collect(ch chan<- prometheus.Metric) {
	s := m.state
	s.mu.Lock()
	defer s.mu.Unlock()
	send := func(d *prometheus.Desc, t prometheus.ValueType, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, t, v, labels...)
	}
	send(m.reloads, prometheus.CounterValue, float64(s.reloads))
	send(m.failures, prometheus.CounterValue, float64(s.failures))
	good := 1.0
	if s.refused != nil {
		good = 0
	}
	send(m.successful, prometheus.GaugeValue, good)
	if s.accepted != nil {
		send(m.accepted, prometheus.GaugeValue, float64(s.at.UnixNano())/1e9)
		send(m.info, prometheus.GaugeValue, 1, s.accepted.Version)
	}
}
