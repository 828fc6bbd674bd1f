package mysql

import (
	"bytes"
	"encoding/binary"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/database"
	"github.com/dragoman-mesh/dragoman/pkg/mysqlproto"
)

const (
	// slowText is how much of a query is kept for the log, in bytes.
	slowText = 1 << 10
	// maxStatements bounds how many prepared statements of a session are known.
	maxStatements = 64
	// latestStatement is what MariaDB's clients call the statement that they have
	// just prepared, before they know its number.
	latestStatement = 1<<32 - 1
)

// slowQuery knows what a session asks for, so that it can be logged if it takes
// long, and have spans: the text without literals, and no parameters.
type slowQuery struct {
	logs       bool
	spans      *database.Spans    // nil: none
	current    string             // the latest query; "" if nobody needs it
	preparing  []watched          // what the server has not numbered yet
	statements map[uint32]watched // prepared ones
	latest     watched            // of those
}

// watched is a prepared statement.
type watched struct {
	text   string
	sample database.Sample // for the first time that it is executed
	used   bool
}

// watchQueries begins to look at queries, if the configuration asks for it.
func (s *session) watchQueries(namespace string) {
	conf := s.f.conf
	if conf.Login.Database != "" {
		namespace = conf.Login.Database
	}
	q := &slowQuery{logs: conf.SlowQuery >= 0, spans: s.f.tracing.Session(namespace), statements: map[uint32]watched{}}
	if q.logs || q.spans != nil {
		s.slow = q
	}
}

// forget is for a session that has been made as new.
func (q *slowQuery) forget() {
	*q = slowQuery{logs: q.logs, spans: q.spans, statements: map[uint32]watched{}}
}

// wants reports whether the text of a command is of use.
func (*slowQuery) wants(first byte) bool {
	switch mysqlproto.Command(first) {
	case mysqlproto.ComQuery, mysqlproto.ComStmtPrepare, mysqlproto.ComStmtExecute, mysqlproto.ComStmtBulkExecute, mysqlproto.ComStmtClose:
		return true
	}
	return false
}

// reach is how much of a command is looked at, bytes.
func (q *slowQuery) reach() int {
	if q.spans != nil {
		return database.TraceText
	}
	return slowText
}

// other is a command whose text is of no use.
func (q *slowQuery) other(c mysqlproto.Command) {
	if c != mysqlproto.ComStmtSendLongData && c != mysqlproto.ComQuit { // which nothing answers
		q.spans.EndOfUnit()
	}
}

// text takes the beginning of a command.
func (q *slowQuery) text(s *session, payload []byte) {
	switch mysqlproto.Command(payload[0]) {
	case mysqlproto.ComQuery:
		sql := s.agreed.queryText(payload)
		sample := q.spans.Sample(sql)
		q.begin(s, sample, q.readable(s, sql, sample.On))
	case mysqlproto.ComStmtPrepare:
		w := watched{sample: q.spans.Sample(payload[1:]), text: q.readable(s, payload[1:], true)}
		q.current, q.latest = w.text, w
		if len(q.preparing) < maxStatements {
			q.preparing = append(q.preparing, w)
		}
		q.spans.EndOfUnit()
	case mysqlproto.ComStmtExecute, mysqlproto.ComStmtBulkExecute:
		q.executed(s, payload)
	case mysqlproto.ComStmtClose:
		if id, ok := statementID(payload); ok {
			delete(q.statements, id)
		}
	}
}

// readable is a query's text for the log and for spans.
func (q *slowQuery) readable(s *session, sql []byte, needed bool) string {
	if !q.logs && !needed {
		return ""
	}
	return withoutLiterals(sql[:min(len(sql), slowText)], s.tracker.Status()&mysqlproto.StatusNoBackslash != 0)
}

// executed is the execution of a prepared statement. The parent that its text
// names is that of the first time.
func (q *slowQuery) executed(s *session, payload []byte) {
	id, _ := statementID(payload)
	w, known := q.statements[id]
	if id == latestStatement {
		w, known = q.latest, true
	}
	sample := w.sample
	switch {
	case !known:
		sample = database.Sample{}
	case w.used:
		sample = q.spans.Again()
	}
	w.used = true
	if id == latestStatement {
		q.latest = w
	} else if known {
		q.statements[id] = w
	}
	q.begin(s, sample, w.text)
}

func (q *slowQuery) begin(s *session, sample database.Sample, text string) {
	q.current = text
	q.spans.Begin(sample, text, true, s.f.loop.WallTime())
	q.spans.EndOfUnit()
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
	if h.First == 0 && ok && len(q.statements) < maxStatements {
		q.statements[id] = w
	}
}

// spans are those of the session's queries; nil for none.
func (s *session) spans() *database.Spans {
	if s.slow == nil {
		return nil
	}
	return s.slow.spans
}

// done logs a query that took long.
func (q *slowQuery) done(s *session, took int64) {
	if !q.logs || time.Duration(took) < s.f.conf.SlowQuery {
		return
	}
	s.f.stats.slowQueries.Add(1)
	s.f.log.Info("slow query", "duration", time.Duration(took), "query", q.current, "endpoint", s.to.endpoint.Address)
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
			i = endOfString(sql, i+1, c, noBackslash)
			out = append(out, '?')
		case c == '`':
			end := bytes.IndexByte(sql[i+1:], '`')
			if end < 0 {
				return string(out)
			}
			out = append(out, sql[i:i+end+2]...)
			i += end + 2
		case isDigit(c) && (len(out) == 0 || !isWord(out[len(out)-1])):
			for i < len(sql) && (isWord(sql[i]) || sql[i] == '.') {
				i++
			}
			out = append(out, '?')
		case c == '#' || bytes.HasPrefix(sql[i:], []byte("-- ")):
			i = after(sql, i, "\n")
		case bytes.HasPrefix(sql[i:], []byte("/*")):
			i = after(sql, i, "*/")
		default:
			out = append(out, c)
			i++
		}
	}
	return string(out)
}

// endOfString returns the index behind the quote that closes a string.
func endOfString(sql []byte, i int, quote byte, noBackslash bool) int {
	for ; i < len(sql); i++ {
		switch {
		case sql[i] == '\\' && !noBackslash:
			i++
		case sql[i] != quote:
		case i+1 < len(sql) && sql[i+1] == quote:
			i++
		default:
			return i + 1
		}
	}
	return len(sql)
}

func after(sql []byte, i int, end string) int {
	if n := bytes.Index(sql[i:], []byte(end)); n >= 0 {
		return i + n + len(end)
	}
	return len(sql)
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isWord(c byte) bool {
	return isDigit(c) || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c == '$' || c >= 0x80
}
