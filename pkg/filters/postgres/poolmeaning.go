package postgres

import (
	"bytes"

	"github.com/dragoman-mesh/dragoman/pkg/database/sqltext"
)

// strange reports whether names of tables, types and functions may mean something
// else at the server than the session's settings say, by which statements are
// shared: the search_path or the role is another for a while, something temporary
// hides what is there, or the transaction under way has changed it, perhaps in vain.
// What is prepared now has the types of that.
func (s *poolServer) strange() bool {
	return s.changed || s.is(isPinned) || s.client != nil && s.client.assigning != nil || s.hints&(hintMeaning|hintTemp|hintConfig) != 0
}

// estrange notes a statement that others must not find at the server, if what it has
// just been prepared by is not what its settings say.
func (s *poolServer) estrange(p *prepared) {
	if c := s.client; s.strange() || !s.g.statements.fits(p.stmt, c.vars, c.assigned) {
		p.strange, s.strangers = true, true
	}
}

// forgetStrangers has statements be closed that others must not find.
func (s *poolServer) forgetStrangers() {
	if !s.strangers {
		return
	}
	s.strangers = false
	for st, p := range s.statements.of {
		if p.strange {
			s.unprepare(st)
		}
	}
}

// changes notes that the transaction under way changes what statements speak of, for
// others at its end, if at all.
func (s *poolServer) changes() {
	s.changed = true
	s.g.p.epoch++
}

// changesEnd is the end of a transaction.
func (s *poolServer) changesEnd() {
	if s.changed {
		s.changed = false
		s.g.p.epoch++
	}
}

// decidesMeaning reports whether names and operators are understood by a setting.
func decidesMeaning(setting []byte) bool {
	for _, name := range []string{"search_path", "schema", "role", "session", "session_authorization", "transform_null_equals"} {
		if is(setting, name) {
			return true
		}
	}
	return false
}

// hintOfCall looks at the arguments of set_config.
func hintOfCall(call []byte) hint {
	if !endsWithTrue(call) {
		return hintConfig
	}
	first := bytes.TrimLeft(call, "( \t\r\n")
	if len(first) == 0 || first[0] != '\'' {
		return hintMeaning // it may be any setting
	}
	name, _ := nextWord(first)
	if decidesMeaning(name) {
		return hintMeaning
	}
	return 0
}

func nextWord(b []byte) (word, rest []byte) {
	for len(b) > 0 && !sqltext.IsWord(b[0]) {
		b = b[1:]
	}
	n := 0
	for n < len(b) && sqltext.IsWord(b[n]) {
		n++
	}
	return b[:n], b[n:]
}
