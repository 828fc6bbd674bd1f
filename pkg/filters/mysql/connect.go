package mysql

import (
	"errors"
	"slices"
	"strconv"

	"github.com/dragoman-mesh/dragoman/pkg/database"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/mysqlproto"
)

// noAnswer is said where a server lets a login wait for too long.
const noAnswer = "dragoman: the database does not answer"

// loginStep is a session that logs in at its server.
type loginStep session

// Dial implements database.Login.
func (s *session) Dial() {
	s.by = s.start.By
	s.start.login = s.b.dial(s.Part.Loop, &s.To, s.by, (*loginStep)(s))
}

// Drop implements database.Login.
func (s *session) Drop() {
	if l := s.start.login; l != nil {
		l.forgo(s.b, s.Part.Rotation)
		s.start.login = nil
	}
	if s.Up != nil {
		database.Forsake(s.Up)
		s.Up, s.tracker, s.own = nil, nil, nil
		s.fromUp = mysqlproto.Framer{}
	}
}

// Underway implements database.Login. A client that has had a greeting keeps to
// what that said.
func (s *session) Underway() bool {
	l := s.start.login
	return l != nil && !l.dropped || s.Up != nil
}

// Refuse implements database.Login.
func (s *session) Refuse(r database.Refusal) {
	errno, state := errnoUnreachable, mysqlproto.StateLinkFailure
	if r.Why == database.TooMany {
		errno, state = mysqlproto.ErrnoTooManyConnections, mysqlproto.StateTooMany
	}
	if r.Limit != "" {
		r.Message += " (" + r.Limit + ", limits.maxWait)"
	}
	s.refuse(r.Why, errno, state, r.Message)
}

// introduced implements loginOwner.
func (d *loginStep) introduced() {
	s := (*session)(d)
	l := s.start.login
	if !s.start.answered {
		s.start.AwaitClient()
	}
	s.thread = l.greeting.ThreadID
	s.agreed.upPlugin, s.agreed.mariaDB = l.greeting.AuthPlugin, l.greeting.MariaDB()
	if s.start.seq == 0 {
		s.greet(&l.greeting)
		return
	}
	s.keepThread(s.told)
	s.enter()
}

// entered implements loginOwner: the server lets us in.
func (d *loginStep) entered(payload []byte) {
	s := (*session)(d)
	l := s.start.login
	s.start.LeaveTurn()
	ok, err := mysqlproto.ParseOK(payload)
	if err != nil {
		l.conn.Close()
		s.loginFailed("dragoman: the server does not speak MySQL's protocol", err)
		return
	}
	s.Up = l.conn
	copy(s.agreed.upScramble[:], l.scramble)
	s.tracker = mysqlproto.NewTracker(s.agreed.up, ok.Status)
	s.Up.SetDriver((*upstream)(s))
	s.start.timer = s.Part.Loop.After(s.b.loginLimit, func() {
		s.Part.Report(s.To.Endpoint, filters.RequestTimeout)
		s.refuse(database.ConnectFailed, errnoUnreachable, mysqlproto.StateLinkFailure, noAnswer)
	})
	saved := append([]byte(nil), payload...)
	s.setUp(func(e *mysqlproto.ServerError) {
		if e != nil {
			s.loginFailed("dragoman: the server refuses a setting of the session: "+e.Message, e)
			return
		}
		s.letIn(saved)
	})
}

// letIn is the end of the login. ok is what the server has said at the end of
// ours.
func (s *session) letIn(ok []byte) {
	st := s.start
	st.stop(s.b, s.Part.Rotation)
	st.Accept()
	s.LetIn()
	s.start = nil
	s.watchQueries(st.response.Database)
	s.writeOK(st.seq, st.fast, ok)
	s.Down.SetDriver((*downstream)(s))
	s.Down.SetHangupNotice(false)
	s.Down.Resume()
}

// writeOK tells the client that it is let in.
func (s *session) writeOK(seq byte, fast bool, ok []byte) {
	var out []byte
	if fast {
		out = mysqlproto.AppendPacket(out, seq, mysqlproto.AppendFastAuthOK(nil))
		seq++
	}
	s.Down.Write(mysqlproto.AppendPacket(out, seq, ok))
}

// denied implements loginOwner. An error about the password may be about one
// that has been changed meanwhile.
func (d *loginStep) denied(e *mysqlproto.ServerError, payload []byte) {
	s := (*session)(d)
	if e.Errno == mysqlproto.ErrnoServerShutdown && s.Part.Route.ByRole() {
		s.Part.Report(s.To.Endpoint, filters.ConnectFailure) // a probe will tell when it lets somebody in
		s.start.Again(reasonOf(e))
		return
	}
	if e.NoRoom() && s.start.Elsewhere(reasonOf(e)) {
		return
	}
	x := &denial{e, slices.Clone(payload)}
	if e.Errno != mysqlproto.ErrnoAccessDenied {
		s.passDenial(x)
		return
	}
	s.start.Deny(true, func() { s.passDenial(x) })
}

// denial is a server's error at the end of a login.
type denial struct {
	err     *mysqlproto.ServerError
	payload []byte
}

// passDenial ends the session with the server's error.
func (s *session) passDenial(x *denial) {
	e := x.err
	s.failed(e.Errno, e.State)
	s.Part.Stats.Refused[database.ServerRefused].Add(1)
	s.logDenied(e)
	s.Down.Write(mysqlproto.AppendPacket(nil, s.start.seq, x.payload))
	s.Finish()
}

func (s *session) logDenied(e *mysqlproto.ServerError) {
	hint := ""
	switch e.Errno {
	case errnoNoDatabase, errnoDatabaseDenied:
		hint = s.Part.NoDatabase()
	case mysqlproto.ErrnoAccessDenied:
		hint = "these are the environment's credentials in the document, not the app's: check them, and the user's host and grants"
	}
	s.Part.Log.Warn("the server refuses a session", database.Given("error", e.Errno, "sqlstate", e.State, "message", e.Message, "user", s.by.User,
		"endpoint", s.To.Endpoint.Address, "hint", hint)...)
}

// broken implements loginOwner.
func (d *loginStep) broken(err error) {
	s := (*session)(d)
	st := s.start
	if s.Is(database.Ended) {
		return
	}
	s.Uncount()
	began := st.login.stage != connecting && !s.Part.Route.ByRole()
	switch {
	case errors.Is(err, errTimeout):
		s.Part.Report(s.To.Endpoint, filters.RequestTimeout)
		s.refuse(database.ConnectFailed, errnoUnreachable, mysqlproto.StateLinkFailure, noAnswer)
	case !errors.Is(err, errGone):
		s.loginFailed("dragoman: the proxy does not log in at this server: "+reasonOf(err), err)
	default:
		s.Part.Stats.ConnectFailures.Add(1)
		s.Part.Report(s.To.Endpoint, filters.ConnectFailure)
		s.Part.Log.Warn("connecting to the database failed", "endpoint", s.To.Endpoint.Address, "error", err)
		st.Failed(reasonOf(err))
		if began {
			s.refuse(database.ConnectFailed, errnoUnreachable, mysqlproto.StateLinkFailure, "dragoman: the connection to the database ended during the login: "+reasonOf(err))
			return
		}
		st.Connect()
	}
}

// loginFailed ends a session because of what the server did, or is.
func (s *session) loginFailed(message string, err error) {
	s.Part.Log.Error("logging in at the database", "endpoint", s.To.Endpoint.Address, "message", message, "error", err)
	s.refuse(database.LoginError, mysqlproto.ErrnoAccessDenied, mysqlproto.StateAccessDenied, message)
}

// statements are those that make a session what the document says.
func (s *session) statements() []string {
	var all []string
	if d := s.Part.Conf.StatementTimeout; d != nil {
		if s.agreed.mariaDB {
			all = append(all, "SET SESSION max_statement_time="+strconv.FormatFloat(d.Seconds(), 'f', 3, 64))
		} else {
			all = append(all, "SET SESSION max_execution_time="+strconv.FormatInt(d.Milliseconds(), 10))
		}
	}
	if s.Part.Conf.ReadOnly {
		all = append(all, "SET SESSION TRANSACTION READ ONLY")
	}
	return all
}
