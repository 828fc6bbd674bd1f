package postgres

import (
	"crypto/rand"
	"errors"

	"github.com/dragoman-mesh/dragoman/pkg/database"
	"github.com/dragoman-mesh/dragoman/pkg/pgproto"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// askPassword asks the app for what appAuth demands. What is said of versions comes
// before that, and no server is asked yet.
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
	out := s.negotiate(nil)
	s.start.password = auth
	s.Down.Write(auth.Start(out))
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
		s.start.password = nil
		s.proceed()
	default:
		s.Down.Write(out)
	}
	return n
}
