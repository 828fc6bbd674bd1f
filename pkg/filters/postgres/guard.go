package postgres

import (
	"crypto/tls"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
)

// awaitTurn connects to an endpoint as soon as not too many others do.
func (s *session) awaitTurn(table *filters.Table, e *filters.Endpoint) {
	st := s.start
	st.turn = s.f.b.dials.Enter(s.f.loop, e, s.f.conf.Limits.MaxConnecting, func() {
		if st.hold != nil {
			st.hold.Stop()
		}
		s.dial(table, e)
	})
	if st.turn.Waiting() {
		st.hold = s.f.loop.After(s.f.conf.Limits.MaxWait-time.Duration(s.f.loop.Now()-st.since), func() {
			s.refuse(tooMany, stateTooMany, "dragoman: too many sessions begin at the database at once", "limits.maxConnecting bounds them, limits.maxWait the wait.")
		})
	}
}

// verified reports whether a handshake shows who the server is.
func verified(cfg *tls.Config) bool { return cfg.VerifyConnection != nil || !cfg.InsecureSkipVerify }
