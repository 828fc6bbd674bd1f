package mysql

import (
	"bytes"

	"github.com/dragoman-mesh/dragoman/pkg/mysqlproto"
)

// tableLocks are the locks of tables that a session holds beyond its transactions. A
// server does not tell of them; but they are taken and given back by queries alone,
// since neither can be prepared.
type tableLocks struct {
	held  lockSet
	asked lockSet // by the latest command
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
	l.held |= l.asked
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
