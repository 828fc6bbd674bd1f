package postgres

import (
	"bytes"
	"slices"

	"github.com/dragoman-mesh/dragoman/pkg/pgproto"
)

// takeBack undoes what the session and the connection would have by messages that
// an error has made the server skip, the first of which has failed. instead is an
// error that takes the place of the server's.
func (s *poolServer) takeBack(skipped []answer, state string) (instead string) {
	t, c := &s.g.statements, s.client
	for i, a := range slices.Backward(skipped) {
		switch {
		case a.act == replace && i == 0:
			instead = a.undo.instead
		case a.undo != nil && a.undo.anonym:
			s.takeBackUnnamed(a, i == 0)
		case a.undo != nil && a.undo.executed != "":
			if delete(s.executed, a.undo.executed); a.undo.meant != nil && s.executed != nil { // it was to be closed
				s.executed[a.undo.executed] = a.undo.meant
			}
		case a.kind == pgproto.TypeParse && a.act != own && a.act != clash:
			s.statements.remove(t, a.stmt)
		case a.undo != nil && a.undo.rubbish != "":
			s.rubbish = append(s.rubbish, a.undo.rubbish)
		}
		if a.undo != nil && a.undo.name != "" && c != nil {
			c.mean(a.undo.name, a.undo.meant)
		}
	}
	if len(skipped) > 0 && skipped[0].stmt != nil {
		s.doubt(&skipped[0], state)
	}
	return instead
}

// takeBackUnnamed is takeBack for the unnamed statement, which a Parse that fails
// has removed.
func (s *poolServer) takeBackUnnamed(a answer, failed bool) {
	failed = failed && a.kind == pgproto.TypeParse
	if s.unnamed = a.undo.atServer; failed {
		s.unnamed = 0
	}
	if c := s.client; c != nil && a.act == pass {
		if c.unnamed = a.undo.unnamed; failed {
			c.unnamed = nil
		}
	}
}

// doubt is a statement's error that may be about the statement itself.
func (s *poolServer) doubt(a *answer, state string) {
	switch state {
	case "42P01", "42703", "42883", "3F000": // there is no such table, column, function, schema
		if s.client != nil && a.act != clash {
			s.client.doubtName(a)
		}
	}
	if a.kind == pgproto.TypeParse {
		return
	}
	p := s.statements.of[a.stmt]
	switch {
	case p == nil:
	case state == "26000": // the session has deallocated it by other ways
		s.statements.remove(&s.g.statements, a.stmt)
	case state == pgproto.StateFeatureNotSupported: // cached plan must not change result type
		p.epoch = stale
		s.g.p.epoch++
	}
}

// doubtName notes that a server of one's own might have refused to prepare what the
// session has been told is prepared: it may be tried again under the same name.
func (c *poolClient) doubtName(a *answer) {
	if n := c.named([]byte(a.as)); n.statement == a.stmt && n.statement != nil {
		n.doubtful = true
		c.names[a.as] = n
	}
}

// inOwnWords puts the session's name of a statement into an error that speaks of
// it, empty if none does.
func (a *answer) inOwnWords(payload []byte) string {
	at := bytes.Index(payload, []byte(`"`+a.stmt.name))
	if len(payload) == maxError || at < 0 {
		return ""
	}
	end := bytes.IndexByte(payload[at+1:], '"')
	if end < 0 {
		return ""
	}
	payload = bytes.ReplaceAll(payload, payload[at:at+end+2], []byte(`"`+a.as+`"`))
	return string(pgproto.AppendMessage(nil, pgproto.TypeErrorResponse, payload))
}
