package postgres

import (
	"bytes"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/dragoman-mesh/dragoman/pkg/database/sqltext"
	"github.com/dragoman-mesh/dragoman/pkg/pgproto"
)

// assignment is a setting that servers do not report, as a session has set it by a
// query that was nothing else: it can be said again at another connection.
type assignment struct {
	name string // in lower case
	text string // the whole statement, without a semicolon
}

// assignments are those of a session, in the order of their names. They are not
// changed once they are shared; nil are none.
type assignments struct {
	list []assignment
	key  string
}

// Bounds of what is remembered; a session that goes beyond them keeps its
// connection.
const (
	maxAssignment  = 256 // bytes of a statement
	maxAssignments = 32
)

// plainSet returns the assignment that a text is, if it is one and nothing else. How
// servers read it must not depend on client_encoding or standard_conforming_strings:
// where it is said again, a connection reads it by those it had before.
func plainSet(sql []byte) (a assignment, ok bool) {
	sql = bytes.TrimRight(bytes.TrimSpace(sql), "; \t\r\n")
	if len(sql) > maxAssignment || bytes.ContainsAny(sql, ";$\\\x00") || mayHaveComment(sql) || !isASCII(sql) {
		return assignment{}, false
	}
	word, rest := nextWord(sql)
	if !is(word, "set") || len(sql)-len(rest) != len(word) {
		return assignment{}, false
	}
	if word, rest = nextWord(rest); is(word, "session") {
		if isolation(rest) { // which drivers do not say in another way
			return assignment{"default_transaction_isolation", string(sql)}, true
		}
		word, rest = nextWord(rest)
	}
	for len(rest) > 0 && rest[0] == '.' { // of an extension
		more, after := nextWord(rest)
		word, rest = append(append(bytes.Clone(word), '.'), more...), after
	}
	sign := bytes.TrimLeft(rest, " \t\r\n")
	to, _ := nextWord(sign)
	if len(word) == 0 || len(sign) == 0 || sign[0] != '=' && (!is(to, "to") || !sqltext.IsWord(sign[0])) {
		return assignment{}, false
	}
	name := strings.ToLower(string(word))
	if name == "role" || name == "session_authorization" || name == "seed" || ofTransaction(word) || settingOf(name) >= 0 && settingOf(name) != searchPath {
		return assignment{}, false
	}
	return assignment{name, string(sql)}, true
}

func isASCII(sql []byte) bool {
	for _, c := range sql {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// with returns assignments with one more, or another; false if there are too many.
func (l *assignments) with(a assignment) (*assignments, bool) {
	var list []assignment
	if l != nil {
		list = slices.Clone(l.list)
	}
	i, found := slices.BinarySearchFunc(list, a.name, func(x assignment, name string) int { return strings.Compare(x.name, name) })
	switch {
	case found:
		list[i] = a
	case len(list) >= maxAssignments:
		return l, false
	default:
		list = slices.Insert(list, i, a)
	}
	var key strings.Builder
	for _, x := range list {
		key.WriteString(x.text + "\x00")
	}
	return &assignments{list, key.String()}, true
}

// same returns the one copy of equal assignments, so that pointers can be
// compared.
func (p *pool) same(l *assignments) *assignments {
	if known := p.assigned[l.key]; known != nil {
		return known
	}
	if len(p.assigned) >= maxSettings {
		clear(p.assigned) // others that are equal are said again
	}
	p.assigned[l.key] = l
	return l
}

func (l *assignments) text(name string) string {
	if l != nil {
		for _, a := range l.list {
			if a.name == name {
				return a.text
			}
		}
	}
	return ""
}

// appendChange appends the statements that make a server's assignments those of a
// session.
func (l *assignments) appendChange(dst []byte, server *assignments) []byte {
	if l == server {
		return dst
	}
	if server != nil {
		for _, a := range server.list {
			if l.text(a.name) == "" {
				dst = append(append(append(dst, "RESET "...), a.name...), ';')
			}
		}
	}
	if l != nil {
		for _, a := range l.list {
			if server.text(a.name) != a.text {
				dst = append(append(dst, a.text...), ';')
			}
		}
	}
	return dst
}

// remember has a session's assignment go with it to other connections, if the
// query, the first of a transaction, succeeds. What is only prepared yet has to be
// executed besides.
func (c *poolClient) remember(sql []byte, executed bool) bool {
	a, ok := plainSet(bytes.TrimRight(sql, "\x00"))
	if !ok || !c.isFirst() {
		return false
	}
	next, ok := c.assigned.with(a)
	if !ok {
		return false
	}
	c.assigning, c.assigns = c.p.same(next), executed
	return true
}

// confused is another SET beside one that is to be remembered, where a tag does not tell
// of which it is, or an end of a transaction, whose status then is none of the SET's.
func (c *poolClient) confused() {
	if c.assigning != nil && c.assigns {
		c.server.pin()
	}
	c.assigning = nil
}

// rememberNone has a session's assignments be over when the text, the first of a
// transaction, is executed, if that takes back all settings.
func (c *poolClient) rememberNone(sql []byte) {
	if c.assigned != nil && c.isFirst() && resetsAll(sql) {
		c.assigning, c.assigns = &assignments{}, false
	}
}

// isNone reports that all settings are taken back.
func (l *assignments) isNone() bool { return l != nil && len(l.list) == 0 }

// resetsAll reports whether a text has RESET ALL, for certain, as drivers say it with
// other things that make a session as new.
func resetsAll(sql []byte) bool {
	sql, _, _ = bytes.Cut(sql, []byte{0})
	if bytes.ContainsAny(sql, "'\"$") || mayHaveComment(sql) {
		return false
	}
	for part := range bytes.SplitSeq(sql, []byte(";")) {
		if words := bytes.Fields(part); len(words) == 2 && is(words[0], "reset") && is(words[1], "all") {
			return true
		}
	}
	return false
}

// isFirst reports that what comes is the first of a transaction: nothing is under way
// but to close what is not needed.
func (c *poolClient) isFirst() bool {
	s := c.server
	if c.is(hasBegun) || s.tracker.Status() != pgproto.TxIdle || s.tracker.Outstanding() > 0 {
		return false
	}
	for _, a := range s.ledger.list[s.ledger.head:] {
		if a.kind != pgproto.TypeClose {
			return false
		}
	}
	return true
}

// assign is the end of what was remembered, with the status of the transaction: in
// one that has begun meanwhile it is not certain yet.
func (c *poolClient) assign(status pgproto.TxStatus) {
	switch {
	case !c.assigns || c.server == nil:
	case status == pgproto.TxIdle && c.assigning.isNone():
		c.assigned, c.server.assigned = nil, nil
	case status == pgproto.TxIdle:
		c.assigned, c.server.assigned = c.assigning, c.assigning
	default:
		c.server.pin()
	}
	c.assigning = nil
}

// isolation returns whether a text is that of the level of isolation, behind SET
// SESSION.
func isolation(sql []byte) bool {
	words := bytes.Fields(bytes.ToLower(sql))
	switch string(bytes.Join(words, []byte(" "))) {
	case "characteristics as transaction isolation level serializable", "characteristics as transaction isolation level repeatable read",
		"characteristics as transaction isolation level read committed", "characteristics as transaction isolation level read uncommitted":
		return true
	}
	return false
}
