// Package httprule understands the path templates of google.api.http, and
// finds which of many a request's path is meant by.
//
// The grammar, the meaning of wildcards and the decoding of what variables
// capture are those of google/api/http.proto; where that is silent, Envoy's.
package httprule

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Bounds of one template, far above what people write.
const (
	maxTemplate = 4 << 10 // bytes
	maxSegments = 128
)

// ErrTemplate is what every error of Parse is.
var ErrTemplate = errors.New("is not a path template of google.api.http")

// Kind says what a segment of a template matches.
type Kind uint8

// The kinds.
const (
	Literal Kind = iota // the text itself
	Any                 // *: one segment that is not empty
	Rest                // **: any number of segments, also none
)

// Segment is what stands between two slashes of a template.
type Segment struct {
	Kind Kind
	Text string // of a Literal, without escapes
}

// Variable is a part of the path that is the value of a field.
type Variable struct {
	Field []string // names, from the request message on
	// Start and End are indexes into Template.Segments.
	Start, End int
}

// Template is a path template.
type Template struct {
	Segments  []Segment
	Variables []Variable
	Verb      string // what follows the colon; "": there is none
}

// Parse reads a template. The grammar:
//
//	Template = "/" Segments [ Verb ] ;
//	Segments = Segment { "/" Segment } ;
//	Segment  = "*" | "**" | LITERAL | Variable ;
//	Variable = "{" FieldPath [ "=" Segments ] "}" ;
//	FieldPath = IDENT { "." IDENT } ;
//	Verb     = ":" LITERAL ;
func Parse(text string) (*Template, error) {
	p := &parser{text: text}
	if err := p.template(); err != nil {
		return nil, fmt.Errorf("%q %w: %w", clip(text), ErrTemplate, err)
	}
	return &p.out, nil
}

func clip(s string) string {
	if len(s) > 100 {
		return s[:100] + "..."
	}
	return s
}

// parser reads one template.
type parser struct {
	text string
	pos  int
	out  Template
	rest bool // there was a ** already
}

func (p *parser) template() error {
	switch {
	case len(p.text) > maxTemplate:
		return fmt.Errorf("it has %d bytes, of %d at most", len(p.text), maxTemplate)
	case !p.take('/'):
		return errors.New("it does not begin with /")
	}
	if p.text == "/" { // which the grammar does not know, and Envoy takes
		return nil
	}
	if err := p.segments(false); err != nil {
		return err
	}
	if p.take(':') {
		verb, err := p.literal()
		if err != nil {
			return err
		}
		p.out.Verb = verb
	}
	if p.pos < len(p.text) {
		return fmt.Errorf("%q at byte %d is too much", p.text[p.pos], p.pos)
	}
	return nil
}

// take reads one byte if it is c.
func (p *parser) take(c byte) bool {
	if p.pos < len(p.text) && p.text[p.pos] == c {
		p.pos++
		return true
	}
	return false
}

func (p *parser) segments(inside bool) error {
	for {
		if err := p.segment(inside); err != nil {
			return err
		}
		if !p.take('/') {
			return nil
		}
	}
}

func (p *parser) segment(inside bool) error {
	switch {
	case p.rest:
		return errors.New("** is not its last segment")
	case len(p.out.Segments) == maxSegments:
		return fmt.Errorf("it has more than %d segments", maxSegments)
	case strings.HasPrefix(p.text[p.pos:], "**"):
		p.pos += 2
		p.rest = true
		p.out.Segments = append(p.out.Segments, Segment{Kind: Rest})
	case p.take('*'):
		p.out.Segments = append(p.out.Segments, Segment{Kind: Any})
	case p.take('{'):
		if inside {
			return errors.New("a variable is inside another")
		}
		return p.variable()
	default:
		text, err := p.literal()
		if err != nil {
			return err
		}
		p.out.Segments = append(p.out.Segments, Segment{Text: text})
	}
	return nil
}

func (p *parser) variable() error {
	v := Variable{Start: len(p.out.Segments)}
	for {
		name := p.ident()
		if name == "" {
			return fmt.Errorf("there is no name of a field at byte %d", p.pos)
		}
		v.Field = append(v.Field, name)
		if !p.take('.') {
			break
		}
	}
	if p.take('=') {
		if err := p.segments(true); err != nil {
			return err
		}
	} else {
		p.out.Segments = append(p.out.Segments, Segment{Kind: Any})
	}
	if !p.take('}') {
		return fmt.Errorf("the variable %q is not closed by }", strings.Join(v.Field, "."))
	}
	v.End = len(p.out.Segments)
	for i := range p.out.Variables {
		if slices.Equal(p.out.Variables[i].Field, v.Field) {
			return fmt.Errorf("the variable %q is there twice", strings.Join(v.Field, "."))
		}
	}
	p.out.Variables = append(p.out.Variables, v)
	return nil
}

func (p *parser) ident() string {
	begin := p.pos
	for p.pos < len(p.text) && isIdent(p.text[p.pos], p.pos > begin) {
		p.pos++
	}
	return p.text[begin:p.pos]
}

func isIdent(c byte, digits bool) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || digits && c >= '0' && c <= '9'
}

// literal reads text up to what has a meaning of its own.
func (p *parser) literal() (string, error) {
	begin := p.pos
	for p.pos < len(p.text) && strings.IndexByte("/:{}*=", p.text[p.pos]) < 0 {
		if c := p.text[p.pos]; c <= ' ' || c == 0x7f || c == '?' || c == '#' {
			return "", fmt.Errorf("%q at byte %d is not of a path", c, p.pos)
		}
		p.pos++
	}
	if p.pos == begin {
		return "", fmt.Errorf("there is no text at byte %d", begin)
	}
	plain, ok := unescape(p.text[begin:p.pos], AllCharacters)
	if !ok {
		return "", fmt.Errorf("an escape in %q is none", p.text[begin:p.pos])
	}
	return plain, nil
}

// String gives the template as Parse takes it.
func (t *Template) String() string {
	var b strings.Builder
	if len(t.Segments) == 0 {
		b.WriteByte('/')
	}
	next := 0
	for i := 0; i < len(t.Segments); {
		b.WriteByte('/')
		if next < len(t.Variables) && t.Variables[next].Start == i {
			v := t.Variables[next]
			b.WriteString("{" + strings.Join(v.Field, ".") + "=")
			for j := v.Start; j < v.End; j++ {
				if j > v.Start {
					b.WriteByte('/')
				}
				t.Segments[j].write(&b)
			}
			b.WriteByte('}')
			i, next = v.End, next+1
			continue
		}
		t.Segments[i].write(&b)
		i++
	}
	if t.Verb != "" {
		b.WriteString(":" + escape(t.Verb, false))
	}
	return b.String()
}

func (s *Segment) write(b *strings.Builder) {
	switch s.Kind {
	case Any:
		b.WriteByte('*')
	case Rest:
		b.WriteString("**")
	default:
		b.WriteString(escape(s.Text, false))
	}
}

// multi says that the value of a variable is not always one segment.
func (t *Template) multi(v *Variable) bool {
	return v.End-v.Start != 1 || t.Segments[v.Start].Kind == Rest
}
