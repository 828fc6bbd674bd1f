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
	s.client.s.f.log.Debug("a session keeps its connection: it has state there", "endpoint", s.to.endpoint.Address)
}

// tag takes the end of a statement: what it says of state that stays.
func (s *poolServer) tag(payload []byte) {
	said := s.said
	s.said = false
	if len(payload) < 4 {
		return
	}
	switch payload[0] {
	case 'S':
		if s.hints&(hintSet|hintCut) != 0 && !said && tagged(payload, "SET") {
			s.pin()
		}
	case 'L':
		if tagged(payload, "LISTEN") || tagged(payload, "LOAD") {
			s.pin()
		}
	case 'P':
		if tagged(payload, "PREPARE") {
			s.pin()
		}
	case 'D':
		switch {
		case tagged(payload, "DISCARD ALL"):
			s.state &^= isPinned
			s.hints = 0
			s.forgetStatements()
		case tagged(payload, "DEALLOCATE ALL"):
			s.forgetStatements()
		case bytes.HasPrefix(payload, []byte("DROP ")):
			s.g.p.epoch++
		}
	case 'A', 'C':
		if payload[1] == 'L' || payload[1] == 'R' { // ALTER, CREATE
			s.g.p.epoch++
		}
	}
}

func tagged(payload []byte, tag string) bool {
	return len(payload) == len(tag)+1 && string(payload[:len(tag)]) == tag
}

// forgetStatements is the end of all prepared statements of the connection, save
// those that the server has yet to prepare.
func (s *poolServer) forgetStatements() {
	t, c := &s.g.p.statements, s.client
	s.statements.clear(t)
	if c != nil && !s.is(isOwnQuery) {
		c.forgetNames()
	}
	for _, a := range s.ledger.list[s.ledger.head:] {
		if a.kind != pgproto.TypeParse || a.stmt == nil {
			continue
		}
		if a.act != own {
			s.statements.add(t, a.stmt, s.g.p.epoch)
		}
		if a.name != "" && c != nil {
			c.mean(a.name, a.stmt)
		}
	}
}
