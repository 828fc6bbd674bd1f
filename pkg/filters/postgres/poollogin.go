package postgres

import (
	"crypto/rand"
	"encoding/binary"
	"slices"

	"github.com/dragoman-mesh/dragoman/pkg/database"
	"github.com/dragoman-mesh/dragoman/pkg/pgproto"
)

// open begins a connection to a server. The login is that of a session without a
// client.
func (g *group) open() {
	p := g.p
	s := &poolServer{g: g, vars: &settings{}, facts: &facts{}}
	p.servers[s] = struct{}{}
	g.opening++
	g.members++
	p.watch()
	errand := &session{b: p.b, errand: s}
	p.f.Errand(&errand.Session, errand)
	errand.start = &startup{message: g.message}
	e := &errand.start.Entry
	e.Begin(&errand.Session, errand)
	e.Waiting, e.OnBehalf = true, true
	e.Connect()
}

// loggedIn has the connection of a login for the pool go on as one of the pool.
func (s *poolServer) loggedIn(errand *session) {
	s.conn, s.to, s.by = errand.Up, errand.To, *errand.start.By
	s.timer = s.g.p.key.loop.After(s.g.p.b.loginLimit, func() {
		const state = pgproto.StateConnectionFailure
		s.g.refused(s, fatal(state, "dragoman: the database does not answer", ""), state)
	})
	s.counted = errand.HandOver()
	errand.start = nil
	s.conn.SetDriver(s)
}

// opened is the first ReadyForQuery: who has waited for a server to tell its
// settings is let in.
func (s *poolServer) opened() {
	g := s.g
	p := g.p
	s.state |= isOpen
	s.timer.Stop()
	s.timer = nil
	s.vars = p.shared(s.vars)
	s.facts.settings = s.vars
	if !s.facts.same(g.facts) { // one copy serves all connections, and their sessions
		g.facts = s.facts
		p.budget.tell(g.key, g.facts)
	}
	s.facts = nil
	g.opening--
	g.failed = 0
	now := p.key.loop.Now()
	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails
	s.born, s.expires = now, expiry(now, p.conf().MaxAge, binary.BigEndian.Uint64(random[:]))
	p.stats.opened.Add(1)
	p.stats.open.Add(1)
	greeted := g.greeted
	g.greeted = nil
	for _, c := range greeted {
		c.state &^= isQueued
		c.welcome(g.facts)
	}
	g.offer(s)
}

// refused is a login that did not come to its end. Who waits is told, unless
// there are other connections.
func (g *group) refused(s *poolServer, reply []byte, state string) {
	if s.is(isGone) {
		return
	}
	s.state |= isGone
	if s.timer != nil {
		s.timer.Stop()
	}
	if s.conn != nil {
		s.conn.Close()
	}
	s.forget()
	g.opening--
	g.failed = g.p.key.loop.Now()
	g.p.stats.failed.Add(1)
	if g.members > 0 {
		g.p.watch()
		return
	}
	g.facts = nil
	g.p.budget.tell(g.key, nil)
	waiting := append(g.waiting, g.greeted...)
	g.waiting, g.greeted = nil, nil
	for _, c := range waiting {
		c.state &^= isQueued
		c.turnAway(reply, state)
	}
}

// join makes a session one of the pool's: it is let in as soon as it is known
// what servers report.
func (s *session) joinPool() {
	p := localOf(s.Part).pooling()
	startup, _ := withoutOptions(s.start.message) // others share the connections that are begun with it
	startup.Version = pgproto.Version30
	c := &poolClient{s: s, p: p, startup: startup, since: s.Part.Loop.Now(), vars: &settings{}}
	s.pool = c
	s.State |= database.Shared
	c.g = p.group(c)
	if c.g.facts != nil {
		c.welcome(c.g.facts)
		return
	}
	c.state |= isQueued
	c.g.greeted = append(c.g.greeted, c)
	p.watchWaiting()
	c.g.grow()
}

// welcome lets the session in, with what servers report, and a key for requests
// to cancel that is the pool's own: which server works for it changes.
func (c *poolClient) welcome(f *facts) {
	s := c.s
	st := s.start
	out := s.negotiate(nil)
	st.stop()
	s.Part.Stats.Wait.Observe(s.Part.Loop.Now() - st.Since)
	s.LetIn()
	s.start = nil
	s.watchQueries(c.startup.Database())
	name, _ := c.startup.Get(settingName(applicationName))
	c.vars = c.p.shared(f.settings.with(applicationName, name))
	c.facts = f
	out = pgproto.AppendAuthentication(out, pgproto.AuthOK, nil)
	for _, param := range f.params {
		if i := settingOf(param.Name); i >= 0 {
			param.Value = c.vars.values[i]
		}
		out = pgproto.AppendParameterStatus(out, param.Name, param.Value)
	}
	c.id = newCancelID(st.message.Version)
	s.b.cancels.lend(c.id, c)
	out = pgproto.AppendBackendKeyData(out, c.id.pid, []byte(c.id.key))
	s.Down.Write(pgproto.AppendReadyForQuery(out, pgproto.TxIdle))
	s.Down.SetDriver(c)
	s.Down.SetHangupNotice(false)
	s.Down.Resume()
}

// learn tells the client what servers report by now, as far as it is not the
// session's own to choose: another environment may have another version.
func (c *poolClient) learn(f *facts) {
	told := c.facts
	if c.facts = f; told == nil || f == nil {
		return
	}
	if own := c.vars.values[readOnlyDefault] != told.settings.values[readOnlyDefault]; !own && f.settings.known[readOnlyDefault] {
		c.follow(readOnlyDefault, f.settings.values[readOnlyDefault])
	}
	for _, p := range f.params {
		if settingOf(p.Name) >= 0 || slices.Contains(told.params, p) {
			continue
		}
		c.s.Down.Write(pgproto.AppendParameterStatus(nil, p.Name, p.Value))
	}
}

// follow gives the session what is now the server's for a setting, which the session
// has not chosen. For most, what it was told once goes on; but not where that would
// be a right to write.
func (c *poolClient) follow(i int, value string) {
	if c.vars.known[i] && c.vars.values[i] == value {
		return
	}
	c.vars = c.p.shared(c.vars.with(i, value))
	c.s.Down.Write(pgproto.AppendParameterStatus(nil, settingName(i), value))
}

// turnAway ends a session with an error that the server has for the pool.
func (c *poolClient) turnAway(reply []byte, state string) {
	s := c.s
	if s.Is(database.Ended) {
		return
	}
	s.Part.Stats.Failed(errorKind(state))
	s.Part.Stats.Refused[database.ServerRefused].Add(1)
	s.Down.Write(reply)
	s.Finish()
}

// newCancelID returns what no server has told, with a key as long as servers of the
// version make it.
func newCancelID(version pgproto.Version) cancelID {
	var random [4 + 32]byte
	_, _ = rand.Read(random[:]) // never fails
	key := random[4:8]
	if version >= pgproto.Version32 {
		key = random[4:]
	}
	const positive = 1<<31 - 1 // some drivers take the process id for signed
	return cancelID{binary.BigEndian.Uint32(random[:])&positive | 1<<30, string(key)}
}
