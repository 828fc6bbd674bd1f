package postgres

import "github.com/dragoman-mesh/dragoman/pkg/database/sqltext"

// seam is the end of what has passed of a long text, which words of the next piece
// may have begun in.
type seam struct {
	bytes [maxSeam]byte
	n     int
}

// maxSeam is how far apart words may be that are seen where pieces meet, in bytes.
const maxSeam = 64

// lookOn looks at another piece of a text that is too long to be looked at as a
// whole.
func (c *poolClient) lookOn(piece []byte) {
	var both [2 * maxSeam]byte
	n := copy(both[:], c.seam.bytes[:c.seam.n])
	n += copy(both[n:], piece[:min(len(piece), maxSeam)])
	h := hintsBehind(both[:n]) | hintsBehind(piece)
	if u := c.unnamed; u != nil { // it is no query
		u.hints |= h
	}
	if c.server != nil {
		c.server.hints |= h
	}
	if len(piece) < maxSeam {
		piece = both[:n]
	}
	c.seam.n = copy(c.seam.bytes[:], piece[max(0, len(piece)-maxSeam):])
	if c.left == 0 {
		c.seam = nil
	}
}

// hintsBehind looks, in a piece of a long text, for what leaves state behind that no
// tag will tell of: temporary tables that are made of a query's rows, locks, and
// set_config.
func hintsBehind(sql []byte) (h hint) {
	var before []byte
	for i := 0; i < len(sql); {
		if c := sql[i] | 0x20; c < 'a' || c > 'z' {
			i++
			continue
		}
		end := i + 1
		for end < len(sql) && sqltext.IsWord(sql[end]) {
			end++
		}
		word := sql[i:end]
		switch word[0] | 0x20 {
		case 't':
			if isTemp(wordBefore(before, word, sql[:i]), word) {
				h |= hintTemp
			}
		case 'p', 's':
			if !is(word, "set") && (h&hintConfig == 0 || !is(word, "set_config")) {
				h |= hintOfWord(wordBefore(before, word, sql[:i]), word, sql[end:])
			}
		}
		before, i = word, end
	}
	return h
}
