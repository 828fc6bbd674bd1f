package parse

import (
	"bytes"

	"github.com/dragoman-mesh/dragoman/pkg/logs/record"
)

type logfmt struct {
	fields
	truth []byte // of a key alone
}

// Parse implements Parser: key=value pairs, values in quotes where they hold
// spaces, keys alone for true. A line without one pair is not logfmt.
func (p *logfmt) Parse(line []byte, r *record.Record) bool {
	p.begin()
	pairs := 0
	for i, members := 0, 0; ; members++ {
		for i < len(line) && line[i] <= ' ' {
			i++
		}
		if i == len(line) {
			break
		}
		if members == maxMembers {
			return false
		}
		start := i
		for i < len(line) && line[i] > ' ' && line[i] != '=' && line[i] != '"' {
			i++
		}
		key := line[start:i]
		if len(key) == 0 || i < len(line) && line[i] == '"' {
			return false
		}
		if i == len(line) || line[i] != '=' {
			p.put(r, key, p.truth, record.Literal)
			continue
		}
		pairs++
		value, end, ok := p.value(line, i+1)
		if !ok {
			return false
		}
		p.put(r, key, value, record.Text)
		i = end
	}
	if !p.body {
		r.Body = record.Value{Bytes: []byte{}}
	}
	return pairs > 0
}

// value reads what follows the =. Numbers stay text, as logfmt has no types.
func (p *logfmt) value(line []byte, i int) (value []byte, end int, ok bool) {
	start := i
	if i < len(line) && line[i] == '"' {
		for i++; i < len(line); i++ {
			switch line[i] {
			case '"':
				return p.quoted(line[start+1 : i]), i + 1, true
			case '\\':
				i++
			}
		}
		return nil, 0, false
	}
	for i < len(line) && line[i] > ' ' {
		if line[i] == '"' {
			return nil, 0, false
		}
		i++
	}
	return line[start:i], i, true
}

func (p *logfmt) quoted(inside []byte) []byte {
	if bytes.IndexByte(inside, '\\') >= 0 {
		return p.unescaped(inside)
	}
	return inside
}
