package mysql

import "bytes"

// locks are those that a session holds beyond its transactions. A server does not
// tell of them; but nearly all apps take them, and give them back, by queries. MariaDB
// has LOCK TABLES and UNLOCK TABLES be prepared since 10.6: locks that are taken so are
// not known, and a session that prepares to give some back is taken for one without.
type locks struct {
	held     lockSet
	asked    lockSet // by the latest command
	blind    bool    // they may be given back unseen
	named    namedLocks
	handlers counted // that are open
}

// counted is a number of things that a session holds.
type counted struct {
	held  int
	asked int // what the latest command adds
}

// ask is a command that adds n, which may be less than nothing.
func (c *counted) ask(n int) {
	c.asked = max(n, -c.held)
	c.held += c.asked
}

// back is the server's word that it did not.
func (c *counted) back() {
	c.held -= c.asked
	c.asked = 0
}

// none reports whether nothing is held.
func (l *locks) none() bool { return l.held == 0 && l.named.held == 0 && l.handlers.held == 0 }

type lockSet uint8

const (
	lockTables lockSet = 1 << iota // LOCK TABLES, up to the next transaction
	lockFlush                      // FLUSH TABLES WITH READ LOCK, or FOR EXPORT
)

// other is a command that takes no locks.
func (l *locks) other() { l.asked, l.named.asked, l.named.tells, l.handlers.asked = 0, 0, false, 0 }

// note takes what is there of a query. Of several statements the first counts, unless
// locks are given back behind it. alone says that nothing else is under way.
func (l *locks) note(text []byte, noBackslash, alone bool) {
	l.other()
	if len(text) == 0 || bytes.IndexByte([]byte("lLfFuUbBsSdDhHvVwW(/-# \t\r\n"), text[0]) < 0 {
		return
	}
	l.named.note(lockCallOf(text, noBackslash), alone)
	first, rest := cutWord(text)
	second, _ := cutWord(rest)
	tables := bytes.EqualFold(second, []byte("tables")) || bytes.EqualFold(second, []byte("table"))
	switch {
	case bytes.EqualFold(first, []byte("lock")) && tables:
		l.asked = lockTables
	case bytes.EqualFold(first, []byte("flush")) && flushLocks(rest):
		l.asked = lockFlush
	case bytes.EqualFold(first, []byte("handler")):
		l.handlers.ask(handlerOpens(rest))
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
func (l *locks) notePrepare(text []byte, noBackslash, alone bool) {
	l.other()
	l.named.prepare(lockCallOf(text, noBackslash), alone)
	if first, _ := cutWord(text); bytes.EqualFold(first, []byte("unlock")) {
		l.held, l.blind = 0, true
	}
}

// noteExecute takes the execution of a prepared statement.
func (l *locks) noteExecute(payload []byte, alone bool) {
	l.other()
	l.named.execute(payload, alone)
}

// failed is an error in the place of the answer to the latest command.
func (l *locks) failed() {
	l.held &^= l.asked
	l.named.back()
	l.handlers.back()
}

// handlerOpens is how many handlers what follows HANDLER opens, less those that it
// closes.
func handlerOpens(rest []byte) int {
	words := bytes.Fields(bytes.TrimRight(rest, "; \t\r\n"))
	switch {
	case len(words) < 2:
	case bytes.EqualFold(words[1], []byte("open")):
		return 1
	case bytes.EqualFold(words[1], []byte("close")):
		return -1
	}
	return 0
}

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
