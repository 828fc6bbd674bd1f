package redisproto

import "bytes"

func (c *Command) parseInline(b []byte, lim *Limits) (int, error) {
	window := b[:min(len(b), lim.MaxInline+1)]
	i := bytes.IndexByte(window[c.pos:], '\n')
	if i < 0 {
		if len(b) > lim.MaxInline {
			return 0, &ProtocolError{Reason: "too big inline request"}
		}
		c.pos = len(b)
		return 0, c.incomplete(b, 1)
	}
	end := c.pos + i
	line := b[:end]
	if end > 0 && line[end-1] == '\r' {
		line = line[:end-1]
	}
	if !c.splitLine(line) {
		return 0, &ProtocolError{Reason: "unbalanced quotes in request"}
	}
	c.argc = len(c.Args)
	c.pos, c.state = end+1, complete
	return c.pos, nil
}

// splitLine cuts a line into arguments as sdssplitargs of Redis does: "..."
// with \n \r \t \b \a \xHH and \c for any other c, '...' with \' only. A closing
// quote must end the argument. It reports whether the quotes are balanced.
func (c *Command) splitLine(line []byte) bool {
	c.Args, c.scratch = c.Args[:0], c.scratch[:0]
	for i := 0; ; {
		for i < len(line) && isSpace(line[i]) {
			i++
		}
		if i == len(line) {
			return true
		}
		off := len(c.scratch)
		next, ok := c.splitArg(line, i)
		if !ok {
			return false
		}
		i = next
		c.Args = append(c.Args, Arg{Off: off, Len: len(c.scratch) - off})
	}
}

// splitArg appends the argument that begins at line[i] to scratch and returns
// the offset after it.
func (c *Command) splitArg(line []byte, i int) (next int, ok bool) {
	for ; i < len(line); i++ {
		switch line[i] {
		case ' ', '\t', '\n', '\r':
			return i, true
		case '"':
			return c.unquoteDouble(line, i+1)
		case '\'':
			return c.unquoteSingle(line, i+1)
		}
		c.scratch = append(c.scratch, line[i])
	}
	return i, true
}

func (c *Command) unquoteDouble(line []byte, i int) (next int, ok bool) {
	for ; i < len(line); i++ {
		switch ch := line[i]; {
		case ch == '"':
			return closeQuote(line, i+1)
		case ch != '\\' || i+1 == len(line):
			c.scratch = append(c.scratch, ch)
		case line[i+1] == 'x' && i+3 < len(line) && isHex(line[i+2]) && isHex(line[i+3]):
			c.scratch = append(c.scratch, unhex(line[i+2])<<4|unhex(line[i+3]))
			i += 3
		default:
			c.scratch = append(c.scratch, unescape(line[i+1]))
			i++
		}
	}
	return 0, false
}

func (c *Command) unquoteSingle(line []byte, i int) (next int, ok bool) {
	for ; i < len(line); i++ {
		switch ch := line[i]; {
		case ch == '\'':
			return closeQuote(line, i+1)
		case ch == '\\' && i+1 < len(line) && line[i+1] == '\'':
			c.scratch = append(c.scratch, '\'')
			i++
		default:
			c.scratch = append(c.scratch, ch)
		}
	}
	return 0, false
}

// closeQuote checks that an argument ends after its closing quote.
func closeQuote(line []byte, i int) (next int, ok bool) {
	return i, i == len(line) || isSpace(line[i])
}

func unescape(c byte) byte {
	switch c {
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	case 'b':
		return '\b'
	case 'a':
		return '\a'
	}
	return c
}

// isSpace is C's isspace in the C locale.
func isSpace(c byte) bool { return c == ' ' || (c >= '\t' && c <= '\r') }

func isHex(c byte) bool {
	return c-'0' <= 9 || c|0x20-'a' <= 5
}

// unhex returns the value of a digit for which isHex holds.
func unhex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c | 0x20 - 'a' + 10
}
