package postgres

import (
	"bytes"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/database"
	"github.com/dragoman-mesh/dragoman/pkg/pgproto"
)

const (
	// slowText is how much of a query is kept for the log, in bytes.
	slowText = 1 << 10
	// maxStatements bounds how many prepared statements of a session are known.
	maxStatements = 64
)

// slowQuery knows what a session asks for, so that it can be logged if it takes
// long, and have spans: the text without literals, and no parameters.
type slowQuery struct {
	logs       bool
	spans      *database.Spans    // nil: none
	current    string             // the latest query; "" if nobody needs it
	statements map[string]watched // prepared ones by name
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
	q := &slowQuery{logs: conf.SlowQuery >= 0, spans: s.f.tracing.Session(namespace), statements: map[string]watched{}}
	if q.logs || q.spans != nil {
		s.slow = q
	}
}

// wants reports whether the text of a message is of use.
func (*slowQuery) wants(typ byte) bool {
	return typ == pgproto.TypeQuery || typ == pgproto.TypeParse || typ == pgproto.TypeBind
}

// reach is how much of a message is looked at, bytes.
func (q *slowQuery) reach() int {
	if q.spans != nil {
		return database.TraceText
	}
	return slowText
}

// text takes the beginning of a message.
func (q *slowQuery) text(s *session, typ byte, payload []byte) {
	switch typ {
	case pgproto.TypeQuery:
		sql, _, _ := bytes.Cut(payload, []byte{0})
		sample := q.spans.Sample(sql)
		q.current = q.readable(sql, sample.On)
		q.spans.Begin(sample, q.current, true, s.f.loop.WallTime())
		q.spans.EndOfUnit()
	case pgproto.TypeParse:
		name, rest, ok := bytes.Cut(payload, []byte{0})
		if !ok {
			return
		}
		sql, _, _ := bytes.Cut(rest, []byte{0})
		w := watched{sample: q.spans.Sample(sql)}
		w.text = q.readable(sql, w.sample.On || len(name) > 0)
		q.current = w.text
		if _, known := q.statements[string(name)]; known || len(q.statements) < maxStatements {
			q.statements[string(name)] = w
		}
	case pgproto.TypeBind:
		if b, err := pgproto.ParseBind(payload); err == nil {
			q.bound(s, b.Statement)
		}
	}
}

// readable is a query's text for the log and for spans.
func (q *slowQuery) readable(sql []byte, sampled bool) string {
	if !q.logs && !sampled {
		return ""
	}
	return withoutLiterals(sql[:min(len(sql), slowText)])
}

// bound is a statement that is about to be executed. The parent that its text
// names is that of the first time.
func (q *slowQuery) bound(s *session, name []byte) {
	w, known := q.statements[string(name)]
	sample := w.sample
	switch {
	case !known || w.text == "":
		sample = database.Sample{}
	case w.used:
		sample = q.spans.Again()
	default:
		w.used = true
		q.statements[string(name)] = w
	}
	q.current = w.text
	q.spans.Begin(sample, w.text, false, s.f.loop.WallTime())
}

// head takes the type of a message of the client, after its text.
func (q *slowQuery) head(typ byte) {
	if typ == pgproto.TypeSync || typ == pgproto.TypeFunctionCall {
		q.spans.EndOfUnit()
	}
}

// done logs a query that took long.
func (q *slowQuery) done(s *session, took int64) {
	if !q.logs || time.Duration(took) < s.f.conf.SlowQuery {
		return
	}
	s.f.stats.slowQueries.Add(1)
	s.f.log.Info("slow query", "duration", time.Duration(took), "query", q.current, "endpoint", s.to.endpoint.Address)
}

// spans are those of the session's queries; nil for none.
func (s *session) spans() *database.Spans {
	if s.slow == nil {
		return nil
	}
	return s.slow.spans
}

// withoutLiterals puts a question mark in the place of strings and numbers. A
// string that is not closed, because the text is cut, ends it.
func withoutLiterals(sql []byte) string {
	out := make([]byte, 0, len(sql))
	for i := 0; i < len(sql); {
		c := sql[i]
		switch {
		case c == '\'':
			i = endOfString(sql, i+1, len(out) > 0 && (out[len(out)-1]|0x20) == 'e')
			out = append(out, '?')
		case c == '$' && dollarTag(sql[i:]) != nil:
			tag := dollarTag(sql[i:])
			end := bytes.Index(sql[i+len(tag):], tag)
			if end < 0 {
				return string(append(out, '?'))
			}
			i += 2*len(tag) + end
			out = append(out, '?')
		case isDigit(c) && (len(out) == 0 || !isWord(out[len(out)-1])):
			for i < len(sql) && (isWord(sql[i]) || sql[i] == '.') {
				i++
			}
			out = append(out, '?')
		case c == '"':
			end := bytes.IndexByte(sql[i+1:], '"')
			if end < 0 {
				return string(out)
			}
			out = append(out, sql[i:i+end+2]...)
			i += end + 2
		case bytes.HasPrefix(sql[i:], []byte("--")):
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
func endOfString(sql []byte, i int, backslashes bool) int {
	for ; i < len(sql); i++ {
		switch {
		case sql[i] == '\\' && backslashes:
			i++
		case sql[i] != '\'':
		case i+1 < len(sql) && sql[i+1] == '\'':
			i++
		default:
			return i + 1
		}
	}
	return len(sql)
}

// dollarTag returns the opening of a string in dollar quotes, or nil.
func dollarTag(b []byte) []byte {
	for i := 1; i < len(b); i++ {
		switch {
		case b[i] == '$':
			return b[:i+1]
		case !isWord(b[i]) || i == 1 && isDigit(b[i]):
			return nil
		}
	}
	return nil
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
