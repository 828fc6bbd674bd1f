package parse

import (
	"bytes"
	"unicode/utf8"

	"github.com/dragoman-mesh/dragoman/pkg/logs/record"
)

// Bounds of a line of JSON. One that goes past them is not parsed, but kept.
const (
	maxMembers = 256
	maxDepth   = 64
)

type jsonParser struct{ fields }

// Parse implements Parser: one object, alone. Values that are objects or lists
// stay as they are. Without a body the whole line is it, and there is no need for
// attributes beside.
func (p *jsonParser) Parse(line []byte, r *record.Record) bool {
	p.begin()
	line = bytes.TrimSpace(line)
	if !utf8.Valid(line) {
		line = bytes.ToValidUTF8(line, []byte("\uFFFD"))
	}
	end, ok := p.object(line, r)
	if !ok || end != len(line) {
		return false
	}
	if !p.body {
		r.Body = record.Value{Bytes: []byte{}}
	}
	return true
}

// object reads the members of the object that the line begins with.
func (p *jsonParser) object(b []byte, r *record.Record) (end int, ok bool) {
	if len(b) == 0 || b[0] != '{' {
		return 0, false
	}
	i := space(b, 1)
	if i < len(b) && b[i] == '}' {
		return i + 1, true
	}
	for range maxMembers {
		keyEnd, plainKey, ok := text(b, i)
		if !ok {
			return 0, false
		}
		key := b[i+1 : keyEnd-1]
		if !plainKey {
			key = p.unescaped(key)
		}
		if i = space(b, keyEnd); i >= len(b) || b[i] != ':' {
			return 0, false
		}
		i = space(b, i+1)
		end, kind, ok := value(b, i, maxDepth)
		if !ok {
			return 0, false
		}
		v := b[i:end]
		if kind == record.Escaped {
			v = v[1 : len(v)-1]
		}
		p.put(r, key, v, kind)
		if i = space(b, end); i >= len(b) {
			return 0, false
		}
		if b[i] == '}' {
			return i + 1, true
		}
		if b[i] != ',' {
			return 0, false
		}
		i = space(b, i+1)
	}
	return 0, false
}

// unescaped puts what a key means into memory of the parser's own.
func (f *fields) unescaped(inside []byte) []byte {
	start := len(f.scratch)
	f.scratch = record.Unescape(f.scratch, inside)
	return f.scratch[start:len(f.scratch):len(f.scratch)]
}
