package mysql

import (
	"bytes"
	"strings"

	"github.com/dragoman-mesh/dragoman/pkg/database"
	"github.com/dragoman-mesh/dragoman/pkg/database/sqltext"
	"github.com/dragoman-mesh/dragoman/pkg/mysqlproto"
)

// namedLocks are those that a session has by GET_LOCK, as far as its queries and
// prepared statements show. What a stored routine does is not seen.
type namedLocks struct {
	counted
	statements map[uint32]lockCall // those of the session's prepared statements that have some
	latest     lockCall            // of the statement that was prepared last
	preparing  bool                // the server has not numbered that
	tells      bool                // the answer to the latest command may have a row that tells whether it did what it asks for
}

// lockCall is what a statement does to named locks.
type lockCall struct {
	gets, releases int
	all            bool // RELEASE_ALL_LOCKS
}

// lockText is how much of a statement is looked at for them, bytes.
const lockText = 1 << 10

// note takes a statement that the server is asked to execute. alone says that nothing
// else is under way: then it is heard what becomes of it.
func (n *namedLocks) note(c lockCall, alone bool) {
	n.tells = alone && c.gets+c.releases == 1
	if c.all {
		n.ask(-n.held)
		return
	}
	n.ask(c.gets - c.releases)
}

// prepare takes a statement that is to be prepared.
func (n *namedLocks) prepare(c lockCall, alone bool) {
	n.latest, n.preparing = c, alone && c != lockCall{}
}

// prepared takes the first packet of the answer to that.
func (n *namedLocks) prepared(h mysqlproto.Head, payload []byte) {
	n.preparing = false
	if id, ok := statementID(payload); ok && h.First == 0 && len(n.statements) < database.MaxStatements {
		if n.statements == nil {
			n.statements = map[uint32]lockCall{}
		}
		n.statements[id] = n.latest
	}
}

// execute takes the execution of a prepared statement.
func (n *namedLocks) execute(payload []byte, alone bool) {
	id, _ := statementID(payload)
	c := n.statements[id]
	if id == mysqlproto.LatestStatement {
		c = n.latest
	}
	n.note(c, alone)
}

func (n *namedLocks) forget(payload []byte) {
	if id, ok := statementID(payload); ok {
		delete(n.statements, id)
	}
}

// maxTelling is the longest row that has nothing but the answer, bytes.
const maxTelling = 10

// row takes a row of the answer: GET_LOCK and RELEASE_LOCK say 1 if they did it, and 0
// or NULL if not.
func (n *namedLocks) row(h mysqlproto.Head, payload []byte) {
	n.tells = false
	text, binary := h.Len == 2 && payload[0] == 1, h.Len == maxTelling || h.Len == maxTelling-4
	switch {
	case h.Len == 1, h.Len == 2 && payload[0] == 0, // NULL, as a text and in the binary protocol
		text && payload[1] == '0', binary && payload[0] == 0 && payload[2] == 0:
		n.back()
	}
}

// lockCallOf finds the calls of functions for named locks in a statement, but for
// those in literals and comments. Statements that only store or define are left out.
func lockCallOf(text []byte, noBackslash bool) (c lockCall) {
	text = text[:min(len(text), lockText)]
	if !mayLock(text) {
		return c
	}
	sql := strings.ToLower(withoutLiterals(text, noBackslash))
	switch first, _ := cutWord([]byte(strings.TrimLeft(sql, " \t\r\n("))); string(first) {
	case "select", "do", "set", "values", "with":
	default:
		return c
	}
	return lockCall{calls(sql, "get_lock"), calls(sql, "release_lock"), calls(sql, "release_all_locks") > 0}
}

// mayLock reports whether a text has anything that looks like these functions.
func mayLock(text []byte) bool {
	for {
		i := bytes.IndexByte(text, '_')
		if i < 0 {
			return false
		}
		before, behind := text[:i], text[i+1:]
		if hasSuffixFold(before, "get") && hasPrefixFold(behind, "lock") || hasSuffixFold(before, "release") {
			return true
		}
		text = behind
	}
}

func hasPrefixFold(b []byte, s string) bool {
	return len(b) >= len(s) && bytes.EqualFold(b[:len(s)], []byte(s))
}

func hasSuffixFold(b []byte, s string) bool {
	return len(b) >= len(s) && bytes.EqualFold(b[len(b)-len(s):], []byte(s))
}

// calls counts the calls of a function.
func calls(sql, name string) (n int) {
	for {
		at := strings.Index(sql, name)
		if at < 0 {
			return n
		}
		rest := sql[at+len(name):]
		if (at == 0 || !sqltext.IsWord(sql[at-1])) && strings.HasPrefix(strings.TrimLeft(rest, " \t\r\n"), "(") {
			n++
		}
		sql = rest
	}
}
