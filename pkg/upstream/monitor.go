package upstream

import (
	"context"
	"fmt"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/upstream/httpprobe"
	"github.com/dragoman-mesh/dragoman/pkg/upstream/outlier"
	"github.com/dragoman-mesh/dragoman/pkg/upstream/probe"
	"github.com/dragoman-mesh/dragoman/pkg/upstream/sqlprobe"
	"github.com/dragoman-mesh/dragoman/pkg/upstream/topology"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// monitor probes one member when that is due. All its fields belong to its
// goroutine.
type monitor struct {
	m         *member
	conn      *probe.Conn // kept between probes that come regularly
	sql       *sqlprobe.Asker
	http      *httpprobe.Asker
	target    *settings // that conn, sql and http were made with
	nextCheck time.Time
	nextRole  time.Time
	retry     time.Time // next probe of a suspect
	attempts  int       // probes of a suspect so far
	started   bool
}

// never is far enough.
const never = time.Duration(1<<63 - 1)

func (m *member) run(ctx context.Context) {
	mon := &monitor{m: m}
	defer mon.hangUp()
	defer mon.announce() // nobody waits for one that is gone
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.wake:
		case <-timer.C:
		}
		for {
			pause := mon.step(ctx, time.Now())
			if ctx.Err() != nil {
				return
			}
			if pause > 0 {
				timer.Reset(pause)
				break
			}
		}
	}
}

// step probes if that is due and returns the time until the next probe.
func (mon *monitor) step(ctx context.Context, now time.Time) time.Duration {
	m, s := mon.m, mon.m.settings.Load()
	mon.begin(s, now)
	suspect := m.suspect()
	if !suspect {
		mon.attempts, mon.retry = 0, time.Time{}
	} else if mon.retry.IsZero() {
		mon.retry = now.Add(s.timing.jitter(s.timing.reprobeMin / 2))
	}
	role := s.probeRole && (m.askRole.Swap(false) || !now.Before(mon.nextRole))
	check := s.check != nil && !now.Before(mon.nextCheck)
	again := suspect && !now.Before(mon.retry)
	if role || check || again {
		mon.probe(ctx, s, check || again)
		mon.plan(s, time.Now())
	}
	return mon.pause(s, time.Now())
}

// begin spreads the first checks of a process, and starts afresh when checks
// are switched on later.
func (mon *monitor) begin(s *settings, now time.Time) {
	if mon.started || s.check == nil {
		return
	}
	mon.started = true
	mon.nextCheck = now.Add(time.Duration(s.timing.random() * float64(min(s.check.Interval, time.Second)) / 4))
}

// plan sets when the next probes are due, after one that just ended.
func (mon *monitor) plan(s *settings, now time.Time) {
	if s.check != nil && !now.Before(mon.nextCheck) {
		jitter := time.Duration(s.timing.random() * s.check.Jitter * float64(s.check.Interval))
		mon.nextCheck = now.Add(s.check.Interval + jitter)
	}
	mon.nextRole = now.Add(s.timing.jitter(s.timing.role))
	if s.sql != nil {
		mon.nextRole = mon.nextCheck // which is the same question
	}
	m := mon.m
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.suspectLocked() {
		return
	}
	mon.retry = now.Add(s.timing.backoff(mon.attempts, s.timing.reprobeMin, s.timing.reprobeMax))
	mon.attempts++
	// Only time ends an ejection whose probes are good.
	if until := m.outlier.Until(); until.After(now) && m.lastError == "" {
		mon.retry = until
	}
}

// pause returns the time until the earliest of what is planned.
func (mon *monitor) pause(s *settings, now time.Time) time.Duration {
	next := never
	consider := func(at time.Time) { next = min(next, max(at.Sub(now), 0)) }
	if s.check != nil {
		consider(mon.nextCheck)
	}
	if s.probeRole {
		consider(mon.nextRole)
	}
	if mon.m.suspect() {
		consider(mon.retry)
	}
	return next
}

// probe asks the endpoint how it is; counts says whether the answer counts as an
// active check.
func (mon *monitor) probe(ctx context.Context, s *settings, counts bool) {
	ctx, cancel := context.WithTimeout(ctx, s.limit)
	defer cancel()
	if counts {
		s.stats.checks.Add(1)
	}
	var role *word
	var err error
	switch {
	case s.sql != nil:
		role, err = mon.askDatabase(ctx, s)
	case s.redis:
		role, err = mon.ask(ctx, s)
	case s.check != nil && s.check.Kind == resource.HealthCheckHTTP:
		err = mon.askHTTP(ctx, s)
	default:
		err = touch(ctx, s.target)
	}
	if ctx.Err() == context.Canceled {
		return
	}
	if counts && err != nil {
		s.stats.checkFailures.Add(1)
	}
	mon.m.learn(s, role, err, counts, time.Now())
	mon.announce()
}

// announce the first probe, which may make an election final.
func (mon *monitor) announce() {
	m := mon.m
	if m.wasProbed() {
		return
	}
	close(m.probed)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tellLocked(false)
}

// touch makes a connection and gives it up.
func touch(ctx context.Context, t probe.Target) error {
	nc, err := probe.Connect(ctx, t)
	if err != nil {
		return err
	}
	return nc.Close()
}

// askHTTP has the endpoint answer a request.
func (mon *monitor) askHTTP(ctx context.Context, s *settings) error {
	if mon.target != s {
		mon.hangUp()
	}
	if mon.http == nil {
		mon.http, mon.target = httpprobe.New(s.target, mon.m.key.hostname, s.check.HTTP), s
	}
	return mon.http.Ask(ctx)
}

// ask questions a Redis server. A connection that was kept from last time may
// have been closed for being idle; that alone says nothing of the server.
func (mon *monitor) ask(ctx context.Context, s *settings) (*word, error) {
	if mon.target != s {
		mon.hangUp()
	}
	kept := mon.conn != nil
	role, err := mon.question(ctx, s)
	if err != nil && mon.conn == nil && kept && ctx.Err() == nil {
		role, err = mon.question(ctx, s)
	}
	if s.check == nil && !s.probeRole {
		mon.hangUp() // nothing regular: do not hold a connection
	}
	return role, err
}

func (mon *monitor) question(ctx context.Context, s *settings) (*word, error) {
	if mon.conn == nil {
		conn, err := probe.Dial(ctx, s.target)
		if err != nil {
			return nil, err
		}
		mon.conn, mon.target = conn, s
	}
	role, err := question(ctx, mon.conn, s)
	if err != nil && !probe.IsReply(err) {
		mon.hangUp()
	}
	return role, err
}

func question(ctx context.Context, c *probe.Conn, s *settings) (*word, error) {
	err := c.Ping(ctx)
	if err == nil && s.check != nil && s.check.Kind == resource.HealthCheckRedis && s.check.Key != "" {
		err = c.Absent(ctx, s.check.Key)
	}
	if !s.probeRole || err != nil && !probe.IsReply(err) {
		return nil, err
	}
	// A server that is loading or has lost its primary still knows its role.
	v, roleErr := c.Role(ctx)
	if roleErr != nil {
		return nil, firstError(err, roleErr)
	}
	role, roleErr := topology.ParseRole(v)
	if roleErr != nil {
		return nil, firstError(err, roleErr)
	}
	return &word{Role: role}, err
}

// firstError prefers the check's error; a ROLE that is refused (NOPERM) does not
// make an endpoint unhealthy.
func firstError(err, roleErr error) error {
	if err != nil || probe.IsReply(roleErr) {
		return err
	}
	return fmt.Errorf("asking for its role: %w", roleErr)
}

func (mon *monitor) hangUp() {
	if mon.conn != nil {
		mon.conn.Close()
		mon.conn = nil
	}
	if mon.sql != nil {
		mon.sql.Close()
		mon.sql = nil
	}
	if mon.http != nil {
		mon.http.Close()
		mon.http = nil
	}
}

// learn takes in the result of a probe.
func (m *member) learn(s *settings, role *word, err error, counts bool, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := m.claim
	m.claim.fresh = role != nil
	if role != nil {
		m.claim = claim{word: *role, known: true, fresh: true, at: now}.follows(&before)
		m.ep.SetReadOnly(role.Primary && role.readOnly)
	}
	if counts && s.check != nil && m.check.observe(err == nil, s.check) {
		m.logChecked(s, err)
	}
	if err != nil && m.ejected.Load() && !m.explained {
		// Filters only know that there was no connection.
		m.explained = true
		s.log.Warn("endpoint stays ejected", "endpoint", m.key.hostname, "address", m.key.address, "shard", m.key.shard, "error", err)
	}
	switch {
	case err == nil:
		m.lastError = ""
		m.restoreLocked(s, now)
	case s.check == nil:
		// Nobody but this probe for its role looks at the endpoint regularly.
		m.failLocked(outlier.Connect, errorText(err), now)
	default:
		m.lastError, m.lastFailed = errorText(err), now
	}
	m.judgeLocked()
	if s.probeRole && before.differs(m.claim) {
		m.tellLocked(false)
	}
}

// logChecked tells of health that has changed.
func (m *member) logChecked(s *settings, err error) {
	attrs := []any{"endpoint", m.key.hostname, "address", m.key.address, "shard", m.key.shard, "healthy", err == nil}
	if err != nil {
		attrs = append(attrs, "error", err)
	}
	s.log.Info("endpoint checked", attrs...)
}

// restoreLocked ends an ejection, unless it has to last longer.
func (m *member) restoreLocked(s *settings, now time.Time) {
	if !m.outlier.Probed(now) {
		return
	}
	m.ejected.Store(false)
	s.log.Info("endpoint restored", "endpoint", m.key.hostname, "address", m.key.address, "shard", m.key.shard)
}

// differs says whether the change could matter to an election.
func (c *claim) differs(next claim) bool {
	return c.known != next.known || c.fresh != next.fresh || c.Primary != next.Primary ||
		c.Replicas != next.Replicas || c.timeline != next.timeline || c.readOnly != next.readOnly
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// role says what the member is by its own word.
func (c *claim) role() filters.Role {
	switch {
	case !c.known:
		return filters.RoleUnknown
	case c.Primary:
		return filters.RolePrimary
	default:
		return filters.RoleReplica
	}
}
