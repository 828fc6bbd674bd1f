package influx

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Limits of a line.
const (
	maxTags   = 64
	maxFields = 1024
)

// ErrLine is a line that is none.
var ErrLine = errors.New("not a line of InfluxDB's line protocol")

// Point is a line of the protocol.
type Point struct {
	Measurement string
	Tags        []Tag
	Fields      []Field
	Time        int64 // as it was sent; 0: not told
}

// Tag is a name and its value.
type Tag struct{ Name, Value string }

// Field is a number or a boolean; those that are texts are not kept.
type Field struct {
	Name  string
	Value float64
}

// Parse reads measurement,tag=value field=1i,other="text" 1465839830100400200.
func Parse(text string) (Point, error) {
	if !utf8.ValidString(text) {
		return Point{}, fmt.Errorf("%w: it is no UTF-8", ErrLine)
	}
	p := parser{in: text}
	var out Point
	out.Measurement = p.until(", ")
	if out.Measurement == "" {
		return Point{}, fmt.Errorf("%w: the measurement is missing", ErrLine)
	}
	for p.next(',') {
		name := p.until(",= ")
		if name == "" || !p.next('=') || len(out.Tags) == maxTags {
			return Point{}, fmt.Errorf("%w: a tag is no name=value, or there are too many", ErrLine)
		}
		value := p.until(", ")
		if value == "" {
			return Point{}, fmt.Errorf("%w: a tag has no value", ErrLine)
		}
		out.Tags = append(out.Tags, Tag{name, value})
	}
	if err := p.fields(&out); err != nil {
		return Point{}, err
	}
	if p.rest() == "" {
		return out, nil
	}
	at, err := strconv.ParseInt(p.rest(), 10, 64)
	if err != nil {
		return Point{}, fmt.Errorf("%w: the time is no number", ErrLine)
	}
	out.Time = at
	return out, nil
}

type parser struct {
	in  string
	pos int
}

func (p *parser) rest() string { return strings.TrimSpace(p.in[p.pos:]) }

// next takes a byte if it is the next one.
func (p *parser) next(c byte) bool {
	if p.pos < len(p.in) && p.in[p.pos] == c {
		p.pos++
		return true
	}
	return false
}

// until reads up to one of the bytes that has no \ before it. A \ before any
// other byte is one.
func (p *parser) until(stops string) string {
	var out strings.Builder
	for ; p.pos < len(p.in); p.pos++ {
		c := p.in[p.pos]
		if c == '\\' && p.pos+1 < len(p.in) && strings.IndexByte(", =\\", p.in[p.pos+1]) >= 0 {
			p.pos++
			out.WriteByte(p.in[p.pos])
			continue
		}
		if strings.IndexByte(stops, c) >= 0 {
			break
		}
		out.WriteByte(c)
	}
	return out.String()
}

func (p *parser) fields(out *Point) error {
	for p.next(' ') {
	}
	for n := 0; ; n++ {
		name := p.until(",= ")
		if name == "" || !p.next('=') || n == maxFields {
			return fmt.Errorf("%w: a field is no name=value, or there are too many", ErrLine)
		}
		if err := p.field(out, name); err != nil {
			return err
		}
		if !p.next(',') {
			break
		}
	}
	if p.pos < len(p.in) && p.in[p.pos] != ' ' {
		return fmt.Errorf("%w: %.20q follows the fields", ErrLine, p.in[p.pos:])
	}
	return nil
}

func (p *parser) field(out *Point, name string) error {
	if p.next('"') {
		return p.skipText()
	}
	end := strings.IndexAny(p.in[p.pos:], ", ")
	if end < 0 {
		end = len(p.in) - p.pos
	}
	text := p.in[p.pos : p.pos+end]
	p.pos += end
	v, err := number(text)
	if err != nil {
		return err
	}
	out.Fields = append(out.Fields, Field{name, v})
	return nil
}

// skipText goes past the quote that ends a text.
func (p *parser) skipText() error {
	for ; p.pos < len(p.in); p.pos++ {
		switch p.in[p.pos] {
		case '\\':
			p.pos++
		case '"':
			p.pos++
			return nil
		}
	}
	p.pos = len(p.in)
	return fmt.Errorf("%w: a text has no end", ErrLine)
}

func number(text string) (float64, error) {
	switch text {
	case "t", "T", "true", "True", "TRUE":
		return 1, nil
	case "f", "F", "false", "False", "FALSE":
		return 0, nil
	}
	if digits, ok := strings.CutSuffix(text, "i"); ok {
		n, err := strconv.ParseInt(digits, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%w: %.20q is no whole number", ErrLine, text)
		}
		return float64(n), nil
	}
	if digits, ok := strings.CutSuffix(text, "u"); ok {
		n, err := strconv.ParseUint(digits, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%w: %.20q is no whole number", ErrLine, text)
		}
		return float64(n), nil
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || strings.ContainsAny(text, "xXnN_") {
		return 0, fmt.Errorf("%w: %.20q is no number", ErrLine, text)
	}
	return v, nil
}
