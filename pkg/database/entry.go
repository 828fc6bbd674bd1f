package database

import (
	"strconv"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/netloop"
	"github.com/dragoman-mesh/dragoman/pkg/sqlroute"
)

// Entry is a session's way to its server: it waits for its turn at the gate, for
// credentials, for an endpoint and for its turn to connect, and tries again where
// that may help. The login itself is the protocol's.
type Entry struct {
	Accepted int64        // loop time, ns
	Since    int64        // loop time since which the client waits, ns
	Waiting  bool         // the client has done its part, as far as it comes before the server's
	OnBehalf bool         // of clients that wait themselves, and are to hear the server's error before their time is over
	By       *Credentials // of the latest attempt
	Then     func()       // called when the gate lets the session in; nil: [Entry.Connect]

	s       *Session
	login   Login
	hold    *netloop.Timer // until the next look at what is waited for
	tried   []*filters.Endpoint
	failed  bool   // an attempt has
	failure string // why the latest has
	turn    *Turn
	denied  func() // tells the client that the server refuses the credentials; nil: it has not
	insists bool   // it has waited for long enough for others to find out whether it still does
}

// Login is how a session logs in at a server.
type Login interface {
	// Dial begins at Session.To, with Entry.By.
	Dial()
	// Drop gives up what was begun at a server, if anything was.
	Drop()
	// Underway reports whether something was, and nothing of it is the client's to
	// know: it may as well begin elsewhere.
	Underway() bool
	// Refuse ends the session.
	Refuse(Refusal)
}

// Refusal is why a session is not let in, for the protocol to put into its words.
type Refusal struct {
	Why     Reason
	Message string
	Limit   string // that is reached, by its name in documents; "": none
	Waited  bool   // limits.maxWait was too short for what is missing
}

// Begin makes the session one that is beginning, since now.
func (e *Entry) Begin(s *Session, login Login) {
	now := s.Part.Loop.Now()
	e.s, e.login, e.Accepted, e.Since = s, login, now, now
	s.Entry = e
}

func (e *Entry) stop() {
	e.LeaveTurn()
	e.stopHold()
}

func (e *Entry) stopHold() {
	if e.hold != nil {
		e.hold.Stop()
	}
}

// LeaveTurn lets others connect.
func (e *Entry) LeaveTurn() { e.turn.Leave() }

// AwaitClient says that the login goes on when the client has said something. If it
// does not do so at once, others may connect meanwhile: it may never do so.
func (e *Entry) AwaitClient() {
	e.hold = e.s.Part.Loop.After(e.s.Part.b.Patience, e.turn.Leave)
}

// GoOn has the login go on once it is the session's turn, which it still may be.
func (e *Entry) GoOn(then func()) {
	e.stopHold()
	if e.turn.Held() {
		then()
		return
	}
	t := e.turnAt(e.s.To.Endpoint, then)
	e.turn = t
	t.EnterFirst()
	e.boundWait(t)
}

func (e *Entry) turnAt(at *filters.Endpoint, then func()) *Turn {
	f := e.s.Part
	return f.b.Dials.Turn(f.Loop, at, f.Conf.Limits.MaxConnecting, func() {
		e.stopHold()
		then()
	})
}

// boundWait refuses a session that has waited for its turn for too long.
func (e *Entry) boundWait(t *Turn) {
	if !t.Waiting() {
		return
	}
	f := e.s.Part
	e.hold = f.Loop.After(f.Conf.Limits.MaxWait-time.Duration(f.Loop.Now()-e.Since), func() {
		e.login.Refuse(Refusal{Why: TooMany, Message: "dragoman: too many sessions begin at the database at once", Limit: "limits.maxConnecting"})
	})
}

// Queue has the session wait for its turn at the gate.
func (e *Entry) Queue() {
	s, limits := e.s, &e.s.Part.Conf.Limits
	e.Waiting = true
	place := &Waiter{Loop: s.Part.Loop}
	place.Entered = func() {
		if s.place == place { // and it has not begun anew elsewhere since it was let in
			e.enter()
		}
	}
	s.place = place
	switch s.Part.gate.Enter(place, int(limits.MaxWaiting)) {
	case Entered:
		e.enter()
	case Queued:
		s.Part.Stats.Queued.Add(1)
		e.hold = s.Part.Loop.After(limits.MaxWait, func() {
			all := strconv.FormatUint(uint64(s.Part.Conf.Limits.MaxSessions), 10)
			e.login.Refuse(Refusal{Why: TooMany, Message: "dragoman: all " + all + " connections of this listener are in use", Limit: "limits.maxConnections"})
		})
	case Refused:
		s.place = nil
		e.login.Refuse(Refusal{Why: TooMany, Message: "dragoman: too many clients wait for a connection already"})
	}
}

// enter is the session's turn.
func (e *Entry) enter() {
	if e.s.Is(Ended) {
		return // Settle gives the place back
	}
	e.stopHold()
	if e.Then != nil {
		e.Then()
		return
	}
	e.Connect()
}

// Connect begins to log in at an endpoint, as soon as there are one and
// credentials.
func (e *Entry) Connect() {
	s, f := e.s, e.s.Part
	if s.Is(Ended) {
		return
	}
	e.LeaveTurn() // of an attempt that has failed, or the wish for one to go on with it
	e.stopHold()
	by, err := f.Credentials()
	if err != nil {
		f.Log.Debug("reading credentials", "error", err)
		e.wait(NoSecret, "dragoman: the credentials for the database are not there")
		return
	}
	if e.heldBack(*by) {
		return
	}
	table := f.Cluster.Table()
	at := f.Route.Next(table, e.tried, e.failed)
	if at == nil && f.Route.ByRole() {
		e.tried = nil
	}
	const unreachable = "dragoman: no server of the database can be reached: "
	switch {
	case at == nil && len(e.tried) == 0 && e.failed:
		e.wait(ConnectFailed, unreachable+e.failure+"; "+f.Route.Missing(table))
		return
	case at == nil && len(e.tried) == 0:
		e.wait(NoEndpoint, "dragoman: "+f.Route.Missing(table))
		return
	case at == nil:
		e.login.Refuse(Refusal{Why: ConnectFailed, Message: unreachable + e.failure})
		return
	}
	e.tried = append(e.tried, at)
	e.awaitTurn(table, at)
}

// awaitTurn connects to an endpoint as soon as not too many others do, unless one of
// those is refused meanwhile.
func (e *Entry) awaitTurn(table *filters.Table, at *filters.Endpoint) {
	s, f := e.s, e.s.Part
	t := e.turnAt(at, func() {
		by, err := f.Credentials() // which may have become others meanwhile
		if err != nil || !e.insists && !f.Rotation.Try(*by, e.deniedWith(*by), time.Now()) {
			e.untry()
			e.Connect()
			return
		}
		s.countAt(at)
		s.To = serverAt(table, at, f.Conf.TLSOptional)
		s.State &^= UpClosed
		e.By = by
		e.login.Dial()
	})
	e.turn = t
	t.Enter()
	e.boundWait(t)
}

// wait looks again soon for what is missing, until the client has waited long
// enough.
func (e *Entry) wait(why Reason, message string) {
	f := e.s.Part
	if time.Duration(f.Loop.Now()-e.Since)+LookEvery > f.Conf.Limits.MaxWait {
		e.login.Refuse(Refusal{Why: why, Message: message, Waited: true})
		return
	}
	e.hold = f.Loop.After(LookEvery, e.Connect)
}

// Failed notes why an attempt has failed, for who tries again.
func (e *Entry) Failed(why string) { e.failed, e.failure = true, why }

// Again gives up an attempt and begins another.
func (e *Entry) Again(why string) {
	e.Failed(why)
	e.drop()
	e.Connect()
}

// Elsewhere is for a server that has no room: it begins at another, if there is one
// that is well.
func (e *Entry) Elsewhere(why string) bool {
	f := e.s.Part
	e.s.To.Endpoint.NoteRefusal()
	if !f.Route.Beside(f.Cluster.Table(), e.s.To.Endpoint, e.tried) {
		return false
	}
	e.Again(why)
	return true
}

// drop gives up what was begun at a server.
func (e *Entry) drop() {
	e.LeaveTurn()
	e.s.Uncount()
	e.login.Drop()
}

// reconsider gives up a login at a server that is not the right one any more, or
// is not well while another is.
func (e *Entry) reconsider() {
	f := e.s.Part
	if e.Waiting && e.login.Underway() && f.Route.Better(f.Cluster.Table(), e.s.To.Endpoint) {
		e.Again(sqlroute.ErrElsewhere.Error())
	}
}

// beginAt has the session go on under another configuration. What was begun at a
// server is given up.
func (e *Entry) beginAt(next *Part) {
	if !e.Waiting {
		e.s.takenOver(next)
		return
	}
	e.stopHold()
	e.drop()
	e.s.leavePlace()
	e.tried, e.denied = nil, nil
	e.s.takenOver(next)
	e.Queue()
}

// Accept notes that the server has taken the credentials.
func (e *Entry) Accept() {
	f := e.s.Part
	f.letIn(e.s.To.Endpoint)
	f.Rotation.Accepted(*e.By, e.s.To.Endpoint.Address)
}

// Deny is the server's refusal of the credentials, for their password or otherwise.
// The session logs in again as soon as there are others, or somebody was let in with
// the same: the password may have been changed at the server first, or last. If that
// is not so in time, pass tells the client.
func (e *Entry) Deny(wrongPassword bool, pass func()) {
	r := e.s.Part.Rotation
	e.drop()
	e.untry()
	e.denied = pass
	if r.other(*e.By) == nil { // a session that began with older ones asks nobody for what is there
		r.Refused(*e.By, time.Now())
		if wrongPassword {
			r.WrongPassword(*e.By, e.s.To.Endpoint.Address)
		}
	}
	e.Connect()
}

// untry makes the latest endpoint one that is not tried yet.
func (e *Entry) untry() { e.tried = e.tried[:len(e.tried)-1] }

// deniedWith reports whether these are the credentials that the session was refused
// with.
func (e *Entry) deniedWith(by Credentials) bool { return e.denied != nil && *e.By == by }

// heldBack reports whether the session has to wait before it logs in, or has come to
// its end, since a server refuses the credentials.
func (e *Entry) heldBack(by Credentials) bool {
	f, itself := e.s.Part, e.deniedWith(by)
	ok, left := f.Rotation.MayTry(by, itself, time.Now())
	if ok {
		if e.denied != nil && !itself {
			f.Log.Info("the server refuses the credentials, and others are there by now: trying those")
		}
		return false
	}
	most := f.Conf.Limits.MaxWait
	if e.OnBehalf {
		most -= most / 4
	}
	left = min(left, most-time.Duration(f.Loop.Now()-e.Since))
	switch {
	case left > 0:
		e.hold = f.Loop.After(min(LookEvery, left), e.Connect)
	case e.denied != nil:
		e.denied()
	default:
		e.insists = true // to hear what the server says
		return false
	}
	return true
}
