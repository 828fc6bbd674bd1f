package upstream

import (
	"context"
	"crypto/tls"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/upstream/outlier"
	"github.com/dragoman-mesh/dragoman/pkg/upstream/probe"
	"github.com/dragoman-mesh/dragoman/pkg/upstream/sqlprobe"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// member is all that is known of one endpoint. It outlives the cluster it was
// made for if the next one of the same name has it too.
type member struct {
	// read-only after construction
	key    memberKey
	ep     *filters.Endpoint
	wake   chan struct{} // has room for one
	probed chan struct{} // closed after the first probe
	cancel context.CancelFunc

	settings atomic.Pointer[settings]
	askRole  atomic.Bool // a role probe is wanted now
	ejected  atomic.Bool // copy of outlier, for others to read without mu

	mu         sync.Mutex // guards below; nothing blocks while it is held
	owners     map[*cluster]struct{}
	configured resource.Health
	outlier    outlier.State
	check      checkState
	claim      claim
	lastError  string
	lastFailed time.Time
	explained  bool // the log has what a probe says of this ejection
}

// settings say how a member is judged. The latest cluster's are in force.
type settings struct {
	check     *resource.HealthCheck // nil: no active checks
	policy    outlier.Policy
	redis     bool             // it speaks the Redis protocol
	sql       *sqlprobe.Target // it is a database that is logged in at; or nil
	probeRole bool
	target    probe.Target
	limit     time.Duration // of one probe
	timing    *timing
	stats     *stats
	log       *slog.Logger
}

// checkState is the verdict of active checks.
type checkState struct {
	failing bool
	streak  uint32 // checks in a row that contradict the verdict
}

// observe counts one check and reports whether the verdict changed.
func (c *checkState) observe(ok bool, spec *resource.HealthCheck) bool {
	if ok != c.failing {
		c.streak = 0
		return false
	}
	c.streak++
	limit := spec.UnhealthyThreshold
	if c.failing {
		limit = spec.HealthyThreshold
	}
	if c.streak < limit {
		return false
	}
	c.failing, c.streak = !c.failing, 0
	return true
}

func newMember(key memberKey, cfg *tls.Config) *member {
	m := &member{
		key: key,
		ep: &filters.Endpoint{
			Network: key.network, Address: key.address, Hostname: key.hostname,
			Shard: key.shard, Zone: key.zone, Weight: key.weight, TLS: cfg,
		},
		wake:   make(chan struct{}, 1),
		probed: make(chan struct{}),
		owners: make(map[*cluster]struct{}),
	}
	m.ep.SetHealthy(true)
	return m
}

// nudge makes the monitor look at what is due.
func (m *member) nudge() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// report takes in what a filter saw.
func (m *member) report(o filters.Outcome, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch o {
	case filters.Success:
		m.outlier.Success()
	case filters.ConnectFailure:
		m.failLocked(outlier.Connect, describe(o), now)
	default:
		m.failLocked(outlier.Request, describe(o), now)
	}
}

// failLocked counts a failure, and ejects the endpoint if it is one too many.
func (m *member) failLocked(cause outlier.Cause, what string, now time.Time) {
	m.lastError, m.lastFailed = what, now
	s := m.settings.Load()
	if !m.outlier.Failure(cause, now, &s.policy) || !m.mayEjectLocked() {
		return
	}
	m.outlier.Eject(cause, now, &s.policy)
	m.ejected.Store(true)
	m.explained = false
	s.stats.ejections.Add(1)
	s.log.Warn("endpoint ejected", "endpoint", m.key.hostname, "address", m.key.address,
		"shard", m.key.shard, "cause", what)
	m.judgeLocked()
	m.nudge()
}

func (m *member) mayEjectLocked() bool {
	for c := range m.owners {
		if !c.mayEject() {
			return false
		}
	}
	return true
}

func describe(o filters.Outcome) string {
	switch o {
	case filters.ConnectFailure:
		return "requests: no connection"
	case filters.RequestTimeout:
		return "requests: no answer in time"
	case filters.Disconnect:
		return "requests: disconnected"
	case filters.ServerError:
		return "requests: server cannot serve"
	default:
		return ""
	}
}

// judgeLocked publishes the verdict on the endpoint and tells its clusters when
// it changed.
func (m *member) judgeLocked() {
	_, ejected := m.outlier.Ejected()
	ok := !ejected && !m.check.failing &&
		m.configured != resource.HealthUnhealthy && m.configured != resource.HealthDraining
	if ok == m.ep.Healthy() {
		return
	}
	m.ep.SetHealthy(ok)
	m.tellLocked(!ok)
}

func (m *member) tellLocked(suspect bool) {
	for c := range m.owners {
		c.memberChanged(suspect)
	}
}

// suspectLocked says whether the endpoint is out of use for what it did, not
// for what the configuration says.
func (m *member) suspectLocked() bool {
	_, ejected := m.outlier.Ejected()
	return ejected || m.check.failing
}

// suspect is suspectLocked for others.
func (m *member) suspect() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.suspectLocked()
}

// configure applies what the configuration says of the endpoint's health.
func (m *member) configure(h resource.Health) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.configured = h
	m.judgeLocked()
}

// wasProbed says whether the member has been asked at least once.
func (m *member) wasProbed() bool {
	select {
	case <-m.probed:
		return true
	default:
		return false
	}
}

func (m *member) currentClaim() claim {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.claim
}

// retain makes the cluster one of the owners, whose settings hold from now on.
func (m *member) retain(c *cluster, s *settings) {
	m.mu.Lock()
	m.owners[c] = struct{}{}
	if s.check == nil && m.check.failing {
		m.check = checkState{}
		m.judgeLocked()
	}
	m.mu.Unlock()
	m.settings.Store(s)
	m.nudge()
}

// release ends the member when its last owner leaves.
func (m *member) release(c *cluster) {
	m.mu.Lock()
	delete(m.owners, c)
	last := len(m.owners) == 0
	m.mu.Unlock()
	if last && m.cancel != nil {
		m.cancel()
	}
}
