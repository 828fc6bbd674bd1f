package mysql

import (
	"bytes"

	"github.com/dragoman-mesh/dragoman/pkg/mysqlproto"
)

// tableLocks are the locks of tables that a session holds beyond its transactions. A
// server does not tell of them; but nearly all apps take them, and give them back, by
// queries. MariaDB has both be prepared since 10.6: locks that are taken so are not
// known, and a session that prepares to give some back is taken for one without.
type tableLocks struct {
	held  lockSet
	asked lockSet // by the latest command
	blind bool    // they may be given back unseen
}

type lockSet uint8

const (
	lockTables lockSet = 1 << iota // LOCK TABLES, up to the next transaction
	lockFlush                      // FLUSH TABLES WITH READ LOCK, or FOR EXPORT
)

// note takes what is there of a query. Of several statements the first counts, unless
// locks are given back behind it.
func (l *tableLocks) note(payload []byte, caps mysqlproto.Capabilities) {
	l.asked = 0
	text, _ := mysqlproto.QueryText(payload, caps)
	if len(text) == 0 || bytes.IndexByte([]byte("lLfFuUbBsS/-# \t\r\n"), text[0]) < 0 {
		return
	}
	first, rest := cutWord(text)
	second, _ := cutWord(rest)
	tables := bytes.EqualFold(second, []byte("tables")) || bytes.EqualFold(second, []byte("table"))
	switch {
	case bytes.EqualFold(first, []byte("lock")) && tables:
		l.asked = lockTables
	case bytes.EqualFold(first, []byte("flush")) && flushLocks(rest):
		l.asked = lockFlush
	case bytes.EqualFold(first, []byte("unlock")) && tables:
		l.held = 0
	case bytes.EqualFold(first, []byte("begin")), bytes.EqualFold(first, []byte("start")) && bytes.EqualFold(second, []byte("transaction")):
		l.held &^= lockTables
	}
	if l.asked != 0 && bytes.Contains(bytes.ToLower(rest), []byte("unlock")) {
		l.asked, l.held = 0, 0
	}
	if !l.blind {
		l.held |= l.asked
	}
}

// notePrepare takes what is there of a statement that is to be prepared.
func (l *tableLocks) notePrepare(payload []byte) {
	if first, _ := cutWord(payload[min(1, len(payload)):]); bytes.EqualFold(first, []byte("unlock")) {
		l.held, l.blind = 0, true
	}
}

// failed is an error in the place of the answer to the latest command.
func (l *tableLocks) failed() { l.held &^= l.asked }

// flushLocks reports whether what follows FLUSH takes locks.
func flushLocks(rest []byte) bool {
	rest = bytes.ToLower(bytes.TrimRight(rest, "; \t\r\n"))
	return bytes.HasSuffix(rest, []byte("read lock")) || bytes.HasSuffix(rest, []byte("for export"))
}

// cutWord returns the first word of a text, without comments before it.
func cutWord(text []byte) (word, rest []byte) {
	text = withoutLeadingComments(text)
	n := bytes.IndexAny(text, " \t\r\n;/`")
	if n < 0 {
		n = len(text)
	}
	return text[:n], text[n:]
}
