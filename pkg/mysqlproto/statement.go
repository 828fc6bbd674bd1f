package mysqlproto

// StatementHead is how many bytes at the front of a command's payload tell which
// prepared statement it is for: the command, and the statement's number.
const StatementHead = 1 + 4

// LatestStatement is what MariaDB's clients call the statement that was prepared
// last, before they know its number.
const LatestStatement uint32 = 1<<32 - 1

// NamesStatement reports whether the command is for one prepared statement, whose
// number comes behind it.
func (c Command) NamesStatement() bool {
	switch c {
	case ComStmtExecute, ComStmtBulkExecute, ComStmtFetch, ComStmtClose, ComStmtReset, ComStmtSendLongData:
		return true
	}
	return false
}

// call is a command, and the statement that it is for.
type call struct {
	command   Command
	statement uint32
}

func callOf(h Head, payload []byte) call {
	c := call{command: Command(h.First)}
	if c.command.NamesStatement() {
		p := cursor{b: payload[:min(len(payload), h.Len)]}
		p.uint8()
		c.statement = p.uint32()
	}
	return c
}

// cursors are the statements with rows that wait for COM_STMT_FETCH.
type cursors struct {
	open    map[uint32]struct{}
	current uint32 // the statement of the command that is being answered
	latest  uint32 // that was prepared
}

// begin is a command that the server comes to now. What executes a statement, or
// puts it back, ends its cursor.
func (l *cursors) begin(c call) {
	if l.current = c.statement; c.statement == LatestStatement {
		l.current = l.latest
	}
	switch c.command {
	case ComStmtExecute, ComStmtBulkExecute, ComStmtClose:
		delete(l.open, l.current)
	}
}

// told takes the status at the end of a response, or of a part of one.
func (l *cursors) told(c Command, s Status) {
	switch {
	case c == ComStmtExecute && s&StatusCursorExists != 0:
		if l.open == nil {
			l.open = map[uint32]struct{}{}
		}
		l.open[l.current] = struct{}{}
	case c == ComStmtFetch && s&StatusLastRowSent != 0, c == ComStmtReset:
		delete(l.open, l.current)
	case c == ComResetConnection:
		clear(l.open)
	}
}

// failed takes an error in the place of a response: no more rows come.
func (l *cursors) failed(c Command) {
	if c == ComStmtFetch {
		delete(l.open, l.current)
	}
}
