package postgres

import (
	"bytes"

	"github.com/dragoman-mesh/dragoman/pkg/pgproto"
)

// parseAhead is Parse of a session that no server works for. If a server has taken
// the same statement before, and nothing was changed since, it takes no connection
// to say so. Else clients that prepare one statement after the other, and wait for
// each, would wait for connections that they have themselves in transactions which
// they do not go on with meanwhile, as pgbench does.
func (c *poolClient) parseAhead(h pgproto.Head, m []byte) (v verdict, n int, ok bool) {
	if c.p.key.session || h.Type != pgproto.TypeParse || h.Len > maxKeptUnnamed || c.is(isQueued) {
		return 0, 0, false
	}
	have := payloadOf(h, m)
	if len(have) < h.Len {
		return unread, 0, len(have) > 0 && have[0] != 0
	}
	i := bytes.IndexByte(have, 0)
	if i <= 0 || c.named(have[:i]).statement != nil || len(c.names) >= maxNames || c.namedBytes+h.Len > maxNamedBytes {
		return 0, 0, false
	}
	st := c.g.statements.known(c.vars, c.assigned, have[i+1:])
	if st == nil || st.hints&hintExecute != 0 || st.epoch != c.p.epoch || st.proven != c.p.epoch {
		return 0, 0, false
	}
	c.watchSlow(h, m)
	c.p.stats.reused.Add(1)
	c.mean(string(have[:i]), st)
	c.answer(pgproto.TypeParse)
	return consumed, headSize + h.Len, true
}
