package postgres

import (
	"bytes"

	"github.com/dragoman-mesh/dragoman/pkg/pgproto"
)

// pin has a session keep its connection: the server has state of it that it could
// not have elsewhere.
func (s *poolServer) pin() {
	if s.client == nil || s.g.p.key.session || s.is(isPinned) {
		return
	}
	s.state |= isPinned
	s.g.p.stats.pinned.Add(1)
	s.client.s.Part.Log.Debug("a session keeps its connection: it has state there", "endpoint", s.to.Endpoint.Address)
}

// tag takes the end of a statement: what it says of state that stays.
func (s *poolServer) tag(payload []byte) {
	if len(payload) < 2 {
		return
	}
	switch payload[0] {
	case 'S':
		if s.hints&(hintSet|hintPath|hintCut) == 0 || !tagged(payload, "SET") {
			return
		}
		if c := s.client; c != nil && c.assigning != nil && !c.assigns && !c.assigning.isNone() {
			c.assigns = true
			return
		}
		if s.state |= hasSet; s.hints&(hintSet|hintCut) != 0 {
			s.state |= hasSetOther
		}
	case 'L':
		if tagged(payload, "LISTEN") || tagged(payload, "LOAD") {
			s.pin()
		}
	case 'R':
		if !s.is(isOwnQuery) && tagged(payload, "RESET") {
			s.wasReset()
		}
		if s.client != nil && tagged(payload, "ROLLBACK") {
			s.client.confused()
		}
	case 'P':
		if tagged(payload, "PREPARE") {
			s.pin()
		}
	case 'D':
		switch {
		case tagged(payload, "DISCARD ALL"):
			s.state &^= isPinned // the hints stay: they may be of what was sent behind it
			s.assigned = nil
			if s.client != nil {
				s.client.assigned, s.client.assigning = nil, nil
			}
			s.forgetStatements()
		case tagged(payload, "DO"):
			if s.hints&(hintSet|hintPath|hintCut) != 0 {
				s.pin() // it may have set something
			}
		case tagged(payload, "DEALLOCATE ALL"):
			s.forgetStatements()
		case bytes.HasPrefix(payload, []byte("DROP ")):
			s.changes()
		case tagged(payload, "DECLARE CURSOR"):
			s.mayHaveMade()
		}
	case 'A', 'C':
		switch {
		case bytes.HasPrefix(payload, []byte("ALTER ")), bytes.HasPrefix(payload, []byte("CREATE ")):
			s.changes()
			s.mayHaveMade()
		case s.client != nil && tagged(payload, "COMMIT"):
			s.client.confused() // what fails behind it takes no SET back
		}
	}
}

// wasReset is the end of RESET: of all settings, as far as that is known.
func (s *poolServer) wasReset() {
	switch c := s.client; {
	case c == nil:
	case c.assigning.isNone():
		c.assigns = true
	case s.assigned != nil || c.assigning != nil:
		c.assigning = nil
		s.pin()
	}
}

// mayHaveMade is the end of a statement that may have made something temporary, or a
// cursor that outlives the transaction. If the text was looked at, the hints know.
func (s *poolServer) mayHaveMade() {
	if s.hints&hintCut != 0 {
		s.pin()
	}
}

// pinForSet decides, at ReadyForQuery, about SET of something that is not tracked.
// Only search_path may be or not, by the server's version: what is reported comes
// before ReadyForQuery.
func (s *poolServer) pinForSet() {
	if s.is(hasSetOther) || s.is(hasSet) && !s.said {
		s.pin()
	}
	s.state &^= hasSet | hasSetOther
	s.said = false
}

func tagged(payload []byte, tag string) bool {
	return len(payload) == len(tag)+1 && string(payload[:len(tag)]) == tag
}

// forgetStatements is the end of all prepared statements of the connection, save
// those that the server has yet to prepare.
func (s *poolServer) forgetStatements() {
	t, c := &s.g.statements, s.client
	s.statements.clear(t)
	s.rubbish, s.executed = nil, nil
	if c != nil && !s.is(isOwnQuery) {
		c.forgetNames()
	}
	for _, a := range s.ledger.list[s.ledger.head:] {
		if a.undo != nil {
			a.undo.meant = nil // nothing that is skipped brings it back
		}
		switch {
		case a.stmt == nil:
		case a.kind == pgproto.TypeParse && a.act != own && a.act != clash && s.statements.of[a.stmt] == nil:
			s.statements.add(t, a.stmt, stale, false)
		}
		if a.kind == pgproto.TypeParse && a.undo != nil && a.undo.name != "" && c != nil {
			c.mean(a.undo.name, a.stmt)
		}
	}
}
