package postgres

import (
	"bytes"

	"github.com/dragoman-mesh/dragoman/pkg/database"
	"github.com/dragoman-mesh/dragoman/pkg/database/sqltext"
	"github.com/dragoman-mesh/dragoman/pkg/pgproto"
)

// slowQuery knows what a session asks for, so that it can be logged if it takes
// long, and have spans.
type slowQuery struct {
	database.QueryWatch
	statements map[string]database.Prepared // by name
}

// watchQueries begins to look at queries, if the configuration asks for it.
func (s *session) watchQueries(namespace string) {
	if w, needed := s.Part.Watch(namespace); needed {
		s.slow = &slowQuery{QueryWatch: w, statements: map[string]database.Prepared{}}
		s.Queries = &s.slow.QueryWatch
	}
}

// wants reports whether the text of a message is of use.
func (*slowQuery) wants(typ byte) bool {
	return typ == pgproto.TypeQuery || typ == pgproto.TypeParse || typ == pgproto.TypeBind
}

// text takes the beginning of a message.
func (q *slowQuery) text(s *session, typ byte, payload []byte) {
	switch typ {
	case pgproto.TypeQuery:
		sql, _, _ := bytes.Cut(payload, []byte{0})
		sample := q.Spans.Sample(sql)
		q.Current = q.readable(sql, sample.On)
		q.Spans.Begin(sample, q.Current, true, s.Part.Loop.WallTime())
		q.Spans.EndOfUnit()
	case pgproto.TypeParse:
		name, rest, ok := bytes.Cut(payload, []byte{0})
		if !ok {
			return
		}
		sql, _, _ := bytes.Cut(rest, []byte{0})
		w := database.Prepared{Sample: q.Spans.Sample(sql)}
		w.Text = q.readable(sql, w.Sample.On || len(name) > 0)
		q.Current = w.Text
		if _, known := q.statements[string(name)]; known || len(q.statements) < database.MaxStatements {
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
	if !q.Needs(sampled) {
		return ""
	}
	return withoutLiterals(sql[:min(len(sql), database.SlowText)])
}

// bound is a statement that is about to be executed. The parent that its text
// names is that of the first time.
func (q *slowQuery) bound(s *session, name []byte) {
	w, known := q.statements[string(name)]
	var sample database.Sample
	if known && w.Text != "" {
		sample = q.Execute(&w)
		q.statements[string(name)] = w
	}
	q.Current = w.Text
	q.Spans.Begin(sample, w.Text, false, s.Part.Loop.WallTime())
}

// head takes the type of a message of the client, after its text.
func (q *slowQuery) head(typ byte) {
	if typ == pgproto.TypeSync || typ == pgproto.TypeFunctionCall {
		q.Spans.EndOfUnit()
	}
}

// withoutLiterals puts a question mark in the place of strings and numbers. A
// string that is not closed, because the text is cut, ends it.
func withoutLiterals(sql []byte) string {
	out := make([]byte, 0, len(sql))
	for i := 0; i < len(sql); {
		c := sql[i]
		switch {
		case c == '\'':
			end := sqltext.EndOfString(sql, i+1, c, true)
			out = append(out, '?')
			if !isEscape(out[:len(out)-1]) && end != sqltext.EndOfString(sql, i+1, c, false) {
				return string(out) // where it ends depends on standard_conforming_strings
			}
			i = end
		case c == '$' && (len(out) == 0 || !sqltext.IsWord(out[len(out)-1])) && dollarTag(sql[i:]) != nil:
			tag := dollarTag(sql[i:])
			end := bytes.Index(sql[i+len(tag):], tag)
			if end < 0 {
				return string(append(out, '?'))
			}
			i += 2*len(tag) + end
			out = append(out, '?')
		case sqltext.IsDigit(c) && (len(out) == 0 || !sqltext.IsWord(out[len(out)-1])):
			i = sqltext.EndOfNumber(sql, i)
			out = append(out, '?')
		case c == '"':
			end := bytes.IndexByte(sql[i+1:], '"')
			if end < 0 {
				return string(out)
			}
			out = append(out, sql[i:i+end+2]...)
			i += end + 2
		case bytes.HasPrefix(sql[i:], []byte("--")):
			i = sqltext.EndOfLine(sql, i)
			out = sqltext.Part(out)
		case bytes.HasPrefix(sql[i:], []byte("/*")):
			i = endOfComment(sql, i)
			out = sqltext.Part(out)
		default:
			out = append(out, c)
			i++
		}
	}
	return string(out)
}

// isEscape reports whether what stands before a string is the E of one in which
// backslashes escape.
func isEscape(before []byte) bool {
	n := len(before)
	return n > 0 && before[n-1]|0x20 == 'e' && (n == 1 || !sqltext.IsWord(before[n-2]))
}

// endOfComment returns the index behind the comment that begins at i, in which others
// may stand; the text's length if it does not end.
func endOfComment(sql []byte, i int) int {
	depth := 0
	for i < len(sql) {
		switch {
		case bytes.HasPrefix(sql[i:], []byte("/*")):
			depth++
			i += 2
		case bytes.HasPrefix(sql[i:], []byte("*/")):
			depth--
			if i += 2; depth == 0 {
				return i
			}
		default:
			i++
		}
	}
	return i
}

// dollarTag returns the opening of a string in dollar quotes, or nil.
func dollarTag(b []byte) []byte {
	for i := 1; i < len(b); i++ {
		switch {
		case b[i] == '$':
			return b[:i+1]
		case !sqltext.IsWord(b[i]) || i == 1 && sqltext.IsDigit(b[i]):
			return nil
		}
	}
	return nil
}
