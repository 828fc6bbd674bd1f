package postgres

import (
	"bytes"
	"iter"

	"github.com/dragoman-mesh/dragoman/pkg/database/sqltext"
	"github.com/dragoman-mesh/dragoman/pkg/pgproto"
)

// knowExecuted has the server know the session's statements that a text executes,
// makes or ends in SQL, under the session's own names, and none that the session has no
// more: it keeps that server from then on. query says
// that the text is a Query, behind which no Sync comes. It is false if that has to
// wait for what is under way.
func (c *poolClient) knowExecuted(text []byte, query bool) bool {
	srv := c.server
	if len(c.names) == 0 && len(srv.executed) == 0 {
		return true
	}
	if srv.tracker.Outstanding() > 0 {
		c.state |= isStopped // errors yet to come may speak of the names
		return false
	}
	if srv.tracker.Status() == pgproto.TxFailed {
		return true // and nothing is executed
	}
	told := false
	for name := range executedNames(text) {
		told = srv.know(name, c.names[name]) || told
	}
	if told && query {
		srv.ledger.push(answer{kind: pgproto.TypeSync, act: swallow})
		srv.tracker.Client(pgproto.TypeSync)
		srv.conn.Write(pgproto.AppendHead(nil, pgproto.TypeSync, 0))
	}
	return true
}

// know makes a name at the server mean what it means to the session, and reports
// whether the server was told something.
func (s *poolServer) know(name string, st named) bool {
	has, known := s.executed[name]
	if st.statement == nil && !known || known && has == st.statement {
		return false
	}
	s.ledger.push(answer{kind: pgproto.TypeClose, act: swallow, undo: &undo{executed: name, meant: has}}) // which need not be there
	s.conn.Write(pgproto.AppendTarget(nil, pgproto.TypeClose, pgproto.KindStatement, []byte(name)))
	if st.statement == nil {
		delete(s.executed, name)
		return true
	}
	s.ledger.push(answer{kind: pgproto.TypeParse, act: swallow, undo: &undo{executed: name}})
	s.conn.Write(appendParse(nil, name, st.typed()))
	s.hints |= st.hints
	s.pin()
	if s.executed == nil {
		s.executed = map[string]*statement{}
	}
	s.executed[name] = st.statement
	return true
}

// refusesExecuted reports whether the server does not take a statement that the next
// query executes: that query is to have the error.
func (s *poolServer) refusesExecuted(skipped []answer) bool {
	next := s.ledger.front()
	return len(skipped) > 0 && skipped[0].undo != nil && skipped[0].undo.executed != "" && next != nil && next.act == swallow
}

// executedNames gives the names of prepared statements that a text may execute,
// make or end.
func executedNames(sql []byte) iter.Seq[string] {
	return func(yield func(string) bool) {
		for len(sql) > 0 {
			var word []byte
			if word, sql = nextWord(sql); !is(word, "execute") && !is(word, "prepare") && !is(word, "deallocate") {
				continue
			}
			if name := nameAt(afterBlank(sql)); name != "" && !yield(name) {
				return
			}
		}
	}
}

// nameAt is the identifier that a text begins with, as servers understand it.
func nameAt(sql []byte) string {
	if len(sql) == 0 || sql[0] != '"' {
		n := 0
		for n < len(sql) && sqltext.IsWord(sql[n]) {
			n++
		}
		return string(bytes.ToLower(sql[:n]))
	}
	var name []byte
	for i := 1; i < len(sql); i++ {
		if sql[i] == '"' {
			if i++; i == len(sql) || sql[i] != '"' {
				break
			}
		}
		name = append(name, sql[i])
	}
	return string(name)
}

// afterBlank leaves out white space and comments at the beginning of a text.
func afterBlank(sql []byte) []byte {
	for {
		sql = bytes.TrimLeft(sql, " \t\r\n\f\v")
		switch {
		case bytes.HasPrefix(sql, []byte("--")):
			sql = sql[sqltext.EndOfLine(sql, 0):]
		case bytes.HasPrefix(sql, []byte("/*")):
			sql = sql[endOfComment(sql, 0):]
		default:
			return sql
		}
	}
}
