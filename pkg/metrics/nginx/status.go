// Package nginx is a source that reads the page of nginx' module stub_status, or
// of Tengine's, which has a column more.
package nginx

import (
	"bytes"
	"errors"
	"fmt"
	"math"
)

// ErrMalformed is a page that is not one of stub_status.
var ErrMalformed = errors.New("not a page of stub_status")

// Status is what the page says.
type Status struct {
	Active                    uint64
	Accepted, Handled         uint64
	Requests                  uint64
	RequestTime               uint64 // in milliseconds, of all requests
	HasRequestTime            bool   // Tengine's
	Reading, Writing, Waiting uint64
}

// Parse reads a page. Spaces and line ends may be more than nginx writes.
func Parse(page []byte) (Status, error) {
	p := parser{rest: page}
	var s Status
	p.words("Active", "connections:")
	s.Active = p.number()
	p.words("server", "accepts", "handled", "requests")
	if next, _ := p.peek(); string(next) == "request_time" {
		p.words("request_time")
		s.HasRequestTime = true
	}
	s.Accepted, s.Handled, s.Requests = p.number(), p.number(), p.number()
	if s.HasRequestTime {
		s.RequestTime = p.number()
	}
	p.words("Reading:")
	s.Reading = p.number()
	p.words("Writing:")
	s.Writing = p.number()
	p.words("Waiting:")
	s.Waiting = p.number()
	if next, _ := p.peek(); len(next) > 0 {
		p.fail("the end", next)
	}
	if p.err != nil {
		return Status{}, p.err
	}
	return s, nil
}

// parser reads words, of which the first that is wrong counts.
type parser struct {
	rest []byte
	err  error
}

// peek gives the next word, empty at the end, and what comes after it.
func (p *parser) peek() (word, rest []byte) {
	rest = bytes.TrimLeft(p.rest, " \t\r\n")
	end := bytes.IndexAny(rest, " \t\r\n")
	if end < 0 {
		end = len(rest)
	}
	return rest[:end], rest[end:]
}

func (p *parser) next() []byte {
	word, rest := p.peek()
	p.rest = rest
	return word
}

func (p *parser) fail(want string, got []byte) {
	if p.err == nil {
		p.err = fmt.Errorf("%w: %q where %s is expected", ErrMalformed, got[:min(len(got), 40)], want)
	}
}

func (p *parser) words(want ...string) {
	for _, w := range want {
		if got := p.next(); string(got) != w {
			p.fail(fmt.Sprintf("%q", w), got)
			return
		}
	}
}

func (p *parser) number() uint64 {
	word := p.next()
	var n uint64
	for _, c := range word {
		if c < '0' || c > '9' || n > (math.MaxUint64-9)/10 {
			p.fail("a number", word)
			return 0
		}
		n = n*10 + uint64(c-'0')
	}
	if len(word) == 0 {
		p.fail("a number", word)
	}
	return n
}
