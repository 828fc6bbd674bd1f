package mysql

import (
	"bytes"
	"encoding/binary"

	"github.com/dragoman-mesh/dragoman/pkg/database"
	"github.com/dragoman-mesh/dragoman/pkg/database/sqltext"
	"github.com/dragoman-mesh/dragoman/pkg/mysqlproto"
)

// slowQuery knows what a session asks for, so that it can be logged if it takes
// long, and have spans.
type slowQuery struct {
	database.QueryWatch
	preparing  []database.Prepared          // what the server has not numbered yet
	statements map[uint32]database.Prepared // by their numbers
	latest     database.Prepared            // of those
}

// watchQueries begins to look at queries, if the configuration asks for it.
func (s *session) watchQueries(namespace string) {
	if w, needed := s.Part.Watch(namespace); needed {
		s.slow = &slowQuery{QueryWatch: w, statements: map[uint32]database.Prepared{}}
		s.Queries = &s.slow.QueryWatch
	}
}

// forget is for a session that has been made as new.
func (q *slowQuery) forget() {
	q.Current = ""
	*q = slowQuery{QueryWatch: q.QueryWatch, statements: map[uint32]database.Prepared{}}
}

// wants reports whether the text of a command is of use.
func (*slowQuery) wants(first byte) bool {
	switch mysqlproto.Command(first) {
	case mysqlproto.ComQuery, mysqlproto.ComStmtPrepare, mysqlproto.ComStmtExecute, mysqlproto.ComStmtBulkExecute, mysqlproto.ComStmtClose:
		return true
	}
	return false
}

// other is a command whose text is of no use.
func (q *slowQuery) other(c mysqlproto.Command) {
	if c == mysqlproto.ComStmtSendLongData || c == mysqlproto.ComQuit { // which nothing answers
		return
	}
	if c != mysqlproto.ComStmtFetch { // which goes on with the latest query
		q.Current = c.String()
	}
	q.Spans.EndOfUnit()
}

// text takes the beginning of a command.
func (q *slowQuery) text(s *session, payload []byte) {
	switch mysqlproto.Command(payload[0]) {
	case mysqlproto.ComQuery:
		sql, _ := mysqlproto.QueryText(payload, s.agreed.down)
		sample, named := q.below(s, payload)
		if !named {
			sample = q.Spans.Sample(sql)
		}
		q.begin(s, sample, q.readable(s, sql, sample.On))
	case mysqlproto.ComStmtPrepare:
		w := database.Prepared{Sample: q.Spans.Sample(payload[1:]), Text: q.readable(s, payload[1:], true)}
		q.Current, q.latest = w.Text, w
		if len(q.preparing) < database.MaxStatements {
			q.preparing = append(q.preparing, w)
		}
		q.Spans.EndOfUnit()
	case mysqlproto.ComStmtExecute, mysqlproto.ComStmtBulkExecute:
		q.executed(s, payload)
	case mysqlproto.ComStmtClose:
		if id, ok := statementID(payload); ok {
			delete(q.statements, id)
		}
	}
}

// below decides about a command that names its parent by its attributes, as MySQL's
// clients with OpenTelemetry do.
func (q *slowQuery) below(s *session, payload []byte) (_ database.Sample, named bool) {
	if q.Spans == nil {
		return database.Sample{}, false
	}
	parent, ok := mysqlproto.Attribute(payload, s.agreed.down, "traceparent")
	if !ok {
		return database.Sample{}, false
	}
	state, _ := mysqlproto.Attribute(payload, s.agreed.down, "tracestate")
	return q.Spans.Below(parent, state)
}

// readable is a query's text for the log and for spans.
func (q *slowQuery) readable(s *session, sql []byte, needed bool) string {
	if !q.Needs(needed) {
		return ""
	}
	return withoutLiterals(sql[:min(len(sql), database.SlowText)], s.tracker.Status()&mysqlproto.StatusNoBackslash != 0)
}

// executed is the execution of a prepared statement. The parent that its text
// names is that of the first time.
func (q *slowQuery) executed(s *session, payload []byte) {
	id, _ := statementID(payload)
	w, known := q.statements[id]
	if id == mysqlproto.LatestStatement {
		w, known = q.latest, true
	}
	var sample database.Sample
	if known {
		sample = q.Execute(&w)
	}
	if below, named := q.below(s, payload); named {
		sample = below
	}
	if id == mysqlproto.LatestStatement {
		q.latest = w
	} else if known {
		q.statements[id] = w
	}
	q.begin(s, sample, w.Text)
}

func (q *slowQuery) begin(s *session, sample database.Sample, text string) {
	q.Current = text
	q.Spans.Begin(sample, text, true, s.Part.Loop.WallTime())
	q.Spans.EndOfUnit()
}

func statementID(payload []byte) (uint32, bool) {
	if len(payload) < 5 {
		return 0, false
	}
	return binary.LittleEndian.Uint32(payload[1:]), true
}

// prepared takes the first packet of the response to COM_STMT_PREPARE.
func (q *slowQuery) prepared(h mysqlproto.Head, payload []byte) {
	if len(q.preparing) == 0 {
		return
	}
	w := q.preparing[0]
	q.preparing = q.preparing[1:]
	id, ok := statementID(payload)
	if h.First == 0 && ok && len(q.statements) < database.MaxStatements {
		q.statements[id] = w
	}
}

// withoutLiterals puts a question mark in the place of strings and numbers, and
// leaves comments out. What stands in double quotes is taken for a string, which
// it is but for ANSI_QUOTES. A string that is not closed, because the text is
// cut, ends it.
func withoutLiterals(sql []byte, noBackslash bool) string {
	out := make([]byte, 0, len(sql))
	for i := 0; i < len(sql); {
		c := sql[i]
		switch {
		case c == '\'' || c == '"':
			i = sqltext.EndOfString(sql, i+1, c, !noBackslash)
			out = append(out, '?')
		case c == '`':
			end := bytes.IndexByte(sql[i+1:], '`')
			if end < 0 {
				return string(out)
			}
			out = append(out, sql[i:i+end+2]...)
			i += end + 2
		case sqltext.IsDigit(c) && (len(out) == 0 || !sqltext.IsWord(out[len(out)-1])):
			i = sqltext.EndOfNumber(sql, i)
			out = append(out, '?')
		case c == '#' || beginsComment(sql[i:]):
			i = sqltext.After(sql, i, "\n")
			out = sqltext.Part(out)
		case bytes.HasPrefix(sql[i:], []byte("/*")):
			i = sqltext.After(sql, i, "*/")
			out = sqltext.Part(out)
		default:
			out = append(out, c)
			i++
		}
	}
	return string(out)
}

// beginsComment reports whether a text begins with two dashes that begin a comment:
// others are signs.
func beginsComment(sql []byte) bool {
	return bytes.HasPrefix(sql, []byte("--")) && (len(sql) == 2 || sql[2] <= ' ' || sql[2] == 0x7f)
}
