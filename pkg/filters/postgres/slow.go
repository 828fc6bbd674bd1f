package postgres

import (
	"bytes"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/pgproto"
)

const (
	// slowText is how much of a query is kept for the log, in bytes.
	slowText = 1 << 10
	// maxStatements bounds how many prepared statements of a session are known.
	maxStatements = 64
)

// slowQuery knows what a session asks for, so that it can be logged if it takes
// long: the text without literals, and no parameters.
type slowQuery struct {
	current    string            // the latest query
	statements map[string]string // prepared ones by name
}

func newSlowQuery() *slowQuery { return &slowQuery{statements: map[string]string{}} }

// wants reports whether the text of a message is of use.
func (*slowQuery) wants(typ byte) bool {
	return typ == pgproto.TypeQuery || typ == pgproto.TypeParse || typ == pgproto.TypeBind
}

// text takes the beginning of a message.
func (q *slowQuery) text(typ byte, payload []byte) {
	switch typ {
	case pgproto.TypeQuery:
		sql, _, _ := bytes.Cut(payload, []byte{0})
		q.current = withoutLiterals(sql)
	case pgproto.TypeParse:
		name, rest, ok := bytes.Cut(payload, []byte{0})
		if !ok {
			return
		}
		sql, _, _ := bytes.Cut(rest, []byte{0})
		q.current = withoutLiterals(sql)
		if _, known := q.statements[string(name)]; known || len(q.statements) < maxStatements {
			q.statements[string(name)] = q.current
		}
	case pgproto.TypeBind:
		if b, err := pgproto.ParseBind(payload); err == nil {
			q.current = q.statements[string(b.Statement)]
		}
	}
}

// done logs a query that took long.
func (q *slowQuery) done(s *session, took int64) {
	if time.Duration(took) < s.f.conf.SlowQuery || s.f.conf.SlowQuery < 0 {
		return
	}
	s.f.stats.slowQueries.Add(1)
	s.f.log.Info("slow query", "duration", time.Duration(took), "query", q.current, "endpoint", s.to.endpoint.Address)
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
