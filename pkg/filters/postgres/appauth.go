package postgres

import (
	"crypto/rand"
	"errors"
	"strings"

	"github.com/dragoman-mesh/dragoman/pkg/database"
	"github.com/dragoman-mesh/dragoman/pkg/pgproto"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// askPassword asks the app for what appAuth demands. Only version 3.0 is offered
// then: what a server says of versions comes before what it says of passwords,
// and none is asked yet.
func (s *session) askPassword() {
	if s.Is(database.Ended) {
		return
	}
	a := s.Part.Conf.AppAuth
	password, err := database.Secret(s.Part.Context.Secrets, a.Password)
	if err != nil {
		s.refuse(database.NoSecret, pgproto.StateCannotConnectNow, "dragoman: the password that apps have to give is not there", "")
		s.Part.Log.Error("reading the app's password", "error", err)
		return
	}
	m := &s.start.message
	conf := pgproto.AuthServerConfig{
		User: m.User(), Password: password, Doomed: a.Username != "" && a.Username != m.User(),
	}
	_, _ = rand.Read(conf.Random[:]) // never fails
	switch localOf(s.Part).filter.conf.AppAuthMethod {
	case resource.PostgresMD5:
		conf.Method = pgproto.MethodMD5
	case resource.PostgresPassword:
		conf.Method = pgproto.MethodCleartext
	case resource.PostgresSCRAM:
		conf.Method = pgproto.MethodSCRAM
		if conf.Password != "" {
			loop := s.Part.Loop
			conf.Password = localOf(s.Part).filter.verifierFor(password, func() { loop.Post(s.askPassword) })
			if conf.Password == "" {
				s.Down.Pause()
				return
			}
		}
	}
	s.Down.Resume()
	auth, err := pgproto.NewAuthServer(conf)
	if err != nil {
		s.refuse(database.BadClient, pgproto.StateInternalError, "dragoman: "+err.Error(), "")
		return
	}
	out := s.negotiateDown(nil)
	s.start.password = auth
	s.Down.Write(auth.Start(out))
}

// negotiateDown tells the client that it gets version 3.0 without options.
func (s *session) negotiateDown(dst []byte) []byte {
	m := &s.start.message
	plain, unknown := inVersion30(*m)
	if m.Version != pgproto.Version30 || len(unknown) > 0 {
		dst = pgproto.AppendNegotiateProtocolVersion(dst, pgproto.Version30, unknown)
	}
	*m = plain
	return dst
}

// inVersion30 is a start-up in version 3.0, without the options that it had.
func inVersion30(m pgproto.Startup) (plain pgproto.Startup, options []string) {
	kept := m.Params[:0:0]
	for _, p := range m.Params {
		if strings.HasPrefix(p.Name, "_pq_.") {
			options = append(options, p.Name)
			continue
		}
		kept = append(kept, p)
	}
	m.Version, m.Params = pgproto.Version30, kept
	return m, options
}

// readPassword takes the app's answers.
func (s *session) readPassword(b []byte) int {
	lim := loginLimits()
	typ, payload, n, err := pgproto.ParseMessage(b, &lim)
	switch {
	case errors.Is(err, pgproto.ErrIncomplete):
		return 0
	case err == nil && typ != pgproto.TypePassword:
		err = &pgproto.ProtocolError{Reason: "a password was expected"}
	}
	if err != nil {
		s.refuse(database.BadClient, pgproto.StateProtocolViolation, "dragoman: "+reasonOf(err), "")
		return len(b)
	}
	out, done, err := s.start.password.Step(nil, payload)
	switch {
	case errors.Is(err, pgproto.ErrAuthFailed):
		s.refuse(database.BadPassword, pgproto.StateInvalidPassword,
			`password authentication failed for user "`+s.start.message.User()+`"`, "dragoman asks for the password of spec.postgres.appAuth.")
	case err != nil:
		s.refuse(database.BadClient, pgproto.StateProtocolViolation, "dragoman: "+reasonOf(err), "")
	case done:
		s.Down.Write(out)
		s.start.password, s.start.told = nil, true
		s.proceed()
	default:
		s.Down.Write(out)
	}
	return n
}
