package postgres

import (
	"slices"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/database"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/netloop"
	"github.com/dragoman-mesh/dragoman/pkg/pgproto"
)

// poolServer is a connection to a server that sessions share. It is the driver of
// it once the server has let the proxy in.
type poolServer struct {
	g       *group
	conn    *netloop.Conn
	to      database.Server
	id      cancelID          // the server's own
	client  *poolClient       // whom it works for; nil: nobody
	counted *filters.Endpoint // where it counts as a session

	// What is under way.
	tracker pgproto.Tracker
	ledger  ledger
	left    int64  // bytes of the server's message that are passed on or dropped
	said    bool   // search_path was reported
	hints   hint   // of the query under way
	instead string // an error of ours that takes the place of the server's
	unready string // the error of a statement that the query under way executes in SQL
	timer   *netloop.Timer

	// What it has.
	vars       *settings // shared once it is open
	assigned   *assignments
	statements preparedList
	rubbish    []string              // names of statements that are to be closed
	strangers  bool                  // some of statements are
	executed   map[string]*statement // names of a session that SQL's EXECUTE knows there
	changed    bool                  // the transaction under way has changed what statements speak of
	unnamed    uint64                // id of the unnamed statement; 0: none
	facts      *facts                // while it begins: what is reported

	by            database.Credentials // that it was begun with
	born, expires int64                // loop time; expires 0: never
	idleSince     int64
	cancels       int // requests to cancel that are on their way to it
	state         serverState
}

// serverState is a set of a pooled connection's flags.
type serverState uint16

const (
	isOpen       serverState = 1 << iota // its first ReadyForQuery has come
	isOwnQuery                           // it answers a query of the pool's own
	isSetting                            // that gives it a session's settings
	isFailed                             // that query has failed
	isOrphan                             // it finishes what a session has asked for that has left
	isHeldBack                           // it waits for requests to cancel to be done
	isWorn                               // is not used again
	isPinned                             // has state of its session
	isDropping                           // left is dropped
	isGone                               // closed
	isDirty                              // a session has had it to itself
	isFatal                              // it has said why it ends
	hasSet                               // a setting that is perhaps not tracked
	hasSetOther                          // one that is not: it is not search_path
	isDuePassing                         // answers of ours are due behind left
	hasServed                            // a session has used it
)

func (s *poolServer) is(f serverState) bool { return s.state&f != 0 }

// isIdle says that it is there to be taken.
func (s *poolServer) isIdle() bool {
	return s.client == nil && s.is(isOpen) && !s.is(isOwnQuery|isOrphan|isHeldBack|isGone)
}

// worn says that it has to leave when nobody uses it.
func (s *poolServer) worn() bool {
	return s.is(isWorn) || s.expires > 0 && s.g.p.key.loop.Now() >= s.expires
}

// facts are what a server reports when it lets somebody in.
type facts struct {
	params   []pgproto.Param
	settings *settings
}

func (f *facts) set(name, value string) {
	for i := range f.params {
		if f.params[i].Name == name {
			f.params[i].Value = value
			return
		}
	}
	const most = 100
	if len(f.params) < most {
		f.params = append(f.params, pgproto.Param{Name: name, Value: value})
	}
}

// same reports whether two servers have reported the same.
func (f *facts) same(other *facts) bool {
	return other != nil && *f.settings == *other.settings && slices.Equal(f.params, other.params)
}

// serve makes the connection a session's. It is false while the connection still
// has to be given the session's settings.
func (s *poolServer) serve(c *poolClient) bool {
	s.client, c.server = c, s
	c.s.To = s.to
	s.g.p.stats.active.Add(1)
	if s.g.p.key.session {
		s.state |= isDirty
	}
	if c.facts != s.g.facts {
		c.learn(s.g.facts)
	}
	if s.vars == c.vars && s.assigned == c.assigned {
		return true
	}
	sql := c.vars.appendChange(nil, s.vars)
	sql = c.assigned.appendChange(sql, s.assigned)
	if len(sql) == 0 {
		c.vars = s.vars
		return true
	}
	s.state |= isSetting
	s.query(string(sql))
	return false
}

// query asks something of the pool's own.
func (s *poolServer) query(sql string) {
	s.state = s.state&^isFailed | isOwnQuery
	s.ledger.push(answer{kind: pgproto.TypeQuery, act: swallow})
	s.tracker.Client(pgproto.TypeQuery)
	s.unnamed = 0
	s.conn.Write(pgproto.AppendQuery(nil, sql))
	s.timer = s.g.p.key.loop.After(ownQueryLimit, func() { s.close(closedFailed) })
}

// ownAnswered is the end of a query of the pool's own.
func (s *poolServer) ownAnswered() {
	was := s.state
	s.state &^= isOwnQuery | isSetting | isFailed
	s.timer.Stop()
	c := s.client
	switch {
	case was&isFailed != 0 || !s.tracker.Idle():
		if s.g.p.f != nil {
			s.g.p.f.Log.Warn("a server refuses a query of the pool's own: closing the connection", "endpoint", s.to.Endpoint.Address, "settings", was&isSetting != 0)
		}
		if c != nil && s.is(hasServed) && !s.g.p.closed { // what others have done there may be the reason: the session gets another
			s.detach()
			defer c.ready()
		}
		s.close(closedFailed)
	case was&isSetting != 0 && c != nil:
		c.vars, s.assigned = s.vars, c.assigned
		c.ready()
	case was&isSetting != 0: // whose session has gone meanwhile
		s.close(closedFailed)
	default:
		s.state &^= isPinned | isDirty
		if s.assigned != nil { // it was another query than DISCARD ALL
			s.state |= isWorn
		}
		s.settleDown()
	}
}

// release takes the connection from its session, which has finished with it.
func (s *poolServer) release() {
	s.state |= hasServed
	s.detach()
	s.cleanUp()
}

// cleanUp makes the connection fit for others, if it is not.
func (s *poolServer) cleanUp() {
	s.forgetStrangers()
	if s.is(isPinned|isDirty) && !s.g.p.closed && !s.worn() {
		s.g.p.stats.resets.Add(1)
		s.query(s.g.p.conf().ResetQuery)
		return
	}
	s.settleDown()
}

// detach parts the connection and its session.
func (s *poolServer) detach() {
	c := s.client
	s.client, c.server = nil, nil
	s.hints = 0
	s.g.p.stats.active.Add(-1)
	s.conn.Resume()
}

// settleDown offers the connection to others, once no request to cancel can reach
// them that was for the session before.
func (s *poolServer) settleDown() {
	if s.cancels > 0 {
		s.state |= isHeldBack
		return
	}
	s.state &^= isHeldBack
	s.g.offer(s)
}

// orphan lets the server finish what a session has asked for that said goodbye. What
// state that leaves behind is not looked at.
func (s *poolServer) orphan() {
	s.detach()
	s.state |= isOrphan | isDirty
	s.timer = s.g.p.key.loop.After(farewellLimit, func() { s.close(closedFailed) })
}

// abort ends a connection in the middle of what it does.
func (s *poolServer) abort() {
	if s.client != nil {
		s.detach()
	}
	if !s.tracker.Settled() && s.id != (cancelID{}) {
		s.g.p.f.Stats.OwnCancels.Add(1)
		cancelAt(s.g.p.key.loop, s.to, s.id, nil)
	}
	s.close(closedDirty)
}

// close ends the connection and forgets it.
func (s *poolServer) close(why closeReason) {
	if s.is(isGone) {
		return
	}
	s.state |= isGone
	if s.timer != nil {
		s.timer.Stop()
	}
	if c := s.client; c != nil { // only while it is given settings
		s.detach()
		c.s.refuse(database.ServerRefused, pgproto.StateConnectionFailure, "dragoman: the server does not take the session's settings", "")
	}
	p := s.g.p
	p.stats.closed[why].Add(1)
	p.stats.open.Add(-1)
	if s.tracker.Settled() {
		s.conn.Write(pgproto.AppendTerminate(nil))
		s.conn.CloseAfterFlush()
	} else {
		s.conn.Close()
	}
	s.forget()
}

// forget takes the connection off the pool's books.
func (s *poolServer) forget() {
	g := s.g
	for i, other := range g.idle {
		if other == s {
			g.idle = append(g.idle[:i], g.idle[i+1:]...)
			break
		}
	}
	if s.counted != nil {
		s.counted.SessionEnded()
		s.counted = nil
	}
	s.changesEnd()
	s.statements.clear(&g.statements)
	delete(g.p.servers, s)
	g.members--
	g.p.budget.give(g.p)
}

// Drained implements netloop.Driver.
func (s *poolServer) Drained(*netloop.Conn) {
	if s.client != nil {
		s.client.mayRead()
	}
}

// EOF implements netloop.Driver.
func (s *poolServer) EOF(c *netloop.Conn) { c.Close() }

// Closed implements netloop.Driver.
func (s *poolServer) Closed(_ *netloop.Conn, err error) {
	if s.is(isGone) {
		return
	}
	g, c := s.g, s.client
	if !s.is(isOpen) {
		const state = pgproto.StateConnectionFailure
		g.refused(s, fatal(state, "dragoman: the database closed the connection during the login", ""), state)
		return
	}
	if c != nil {
		s.detach()
	}
	s.state |= isGone
	if s.timer != nil {
		s.timer.Stop()
	}
	g.p.stats.closed[closedByServer].Add(1)
	g.p.stats.open.Add(-1)
	s.forget()
	if err != nil {
		g.p.f.Log.Debug("a server's connection failed", "endpoint", s.to.Endpoint.Address, "error", err)
	}
	switch {
	case c == nil:
	case s.is(isSetting) && s.is(hasServed): // it has done nothing for the session yet: another can
		c.ready()
	default:
		c.serverGone(s)
	}
	g.grow()
}

// afterCancel is the end of a request to cancel. One that the server may still
// come to must not find another session here.
func (s *poolServer) afterCancel(late bool) {
	s.cancels--
	if late {
		s.state |= isWorn
	}
	if s.is(isHeldBack) && !s.is(isGone) {
		s.settleDown()
	}
}

// expiry is when a connection that begins now has become too old: up to a tenth
// earlier than the document says, so that not all go at once.
func expiry(now int64, age time.Duration, random uint64) int64 {
	if age <= 0 {
		return 0
	}
	tenth := uint64(age/10) + 1
	return now + int64(age) - int64(random%tenth)
}
