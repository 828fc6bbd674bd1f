package parse

import (
	"fmt"
	"regexp"

	"github.com/dragoman-mesh/dragoman/pkg/logs/record"
)

type pattern struct {
	fields
	re   *regexp.Regexp
	keys [][]byte // by group; nil: it has no name
}

// newRegex makes a parser of a pattern. What matches need not be the whole line
// unless it says so with ^ and $.
func newRegex(text string, f fields) (*pattern, error) {
	if text == "" {
		return nil, fmt.Errorf("%w: format regex needs a pattern", ErrOptions)
	}
	re, err := regexp.Compile(text)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrOptions, err)
	}
	p := &pattern{fields: f, re: re}
	named := 0
	for _, name := range re.SubexpNames() {
		if name == "" {
			p.keys = append(p.keys, nil)
			continue
		}
		p.keys = append(p.keys, []byte(name))
		named++
	}
	if named == 0 || named > maxMembers {
		return nil, fmt.Errorf("%w: the pattern needs from 1 to %d named groups, as in (?P<level>[A-Z]+)", ErrOptions, maxMembers)
	}
	return p, nil
}

// Parse implements Parser. Groups that took no part are left out. Without a group
// for the body the line is it.
func (p *pattern) Parse(line []byte, r *record.Record) bool {
	p.begin()
	m := p.re.FindSubmatchIndex(line)
	if m == nil {
		return false
	}
	for i, key := range p.keys {
		if key != nil && m[2*i] >= 0 {
			p.put(r, key, line[m[2*i]:m[2*i+1]], record.Text)
		}
	}
	if !p.body {
		r.Body = record.Value{Bytes: line}
	}
	return true
}
