package xml

import (
	"strconv"
	"strings"

	"github.com/dragoman-mesh/dragoman/pkg/transform/value"
)

// scanner reads the parts of a document's text. It knows neither DOCTYPE nor
// entities but the five of XML itself.
type scanner struct {
	text string
	pos  int
	lim  *value.Limits
}

func (s *scanner) wrong(reason string) error {
	if s.pos >= len(s.text) {
		reason = "it ends too early"
	}
	return value.Malformed(Format, s.text, s.pos, reason)
}

func (s *scanner) has(prefix string) bool { return strings.HasPrefix(s.text[s.pos:], prefix) }

func (s *scanner) space() bool {
	start := s.pos
	for s.pos < len(s.text) && isSpace(s.text[s.pos]) {
		s.pos++
	}
	return s.pos > start
}

// skip passes what begins here with open and ends with end.
func (s *scanner) skip(open, end string) (inner string, err error) {
	start := s.pos + len(open)
	n := strings.Index(s.text[min(start, len(s.text)):], end)
	if n < 0 {
		s.pos = len(s.text)
		return "", s.wrong("")
	}
	s.pos = start + n + len(end)
	return s.text[start : start+n], nil
}

// misc passes comments and processing instructions, none of which mean
// anything, and tells whether there was one.
func (s *scanner) misc() (bool, error) {
	switch {
	case s.has("<!--"):
		start := s.pos
		inner, err := s.skip("<!--", "-->")
		if err == nil && (strings.Contains(inner, "--") || strings.HasSuffix(inner, "-")) {
			s.pos = start
			err = s.wrong("two hyphens in a comment")
		}
		return true, err
	case s.has("<?"):
		start := s.pos
		inner, err := s.skip("<?", "?>")
		target, _, _ := strings.Cut(inner, " ")
		if err == nil && (strings.EqualFold(target, "xml") || target == "") {
			s.pos = start
			err = s.wrong("an XML declaration that is not at the beginning, or a processing instruction without a name")
		}
		return true, err
	case s.has("<!DOCTYPE"):
		return false, s.wrong("a DOCTYPE is not allowed")
	}
	return false, nil
}

// prolog passes the declaration.
func (s *scanner) prolog() error {
	if !s.has("<?xml") || len(s.text) < 6 || !isSpace(s.text[5]) {
		return nil
	}
	inner, err := s.skip("<?xml", "?>")
	if err != nil {
		return err
	}
	if version, ok := pseudo(inner, "version"); !ok || version != "1.0" {
		s.pos = 0
		return s.wrong("only version 1.0 of XML is understood")
	}
	return nil
}

// pseudo returns a value of a declaration, as in encoding="utf-8".
func pseudo(declaration, name string) (text string, ok bool) {
	_, rest, ok := strings.Cut(declaration, name)
	rest, equals := strings.CutPrefix(strings.TrimLeft(rest, " \t\r\n"), "=")
	rest = strings.TrimLeft(rest, " \t\r\n")
	if !ok || !equals || rest == "" || rest[0] != '"' && rest[0] != '\'' {
		return "", false
	}
	text, _, ok = strings.Cut(rest[1:], rest[:1])
	return text, ok
}

// name reads a name.
func (s *scanner) name() (string, error) {
	start := s.pos
	for i, r := range s.text[start:] {
		if r != ':' && !isNameRune(r, i == 0) {
			break
		}
		s.pos = start + i + len(string(r))
	}
	name := s.text[start:s.pos]
	if len(name) > s.lim.Name {
		return "", value.TooLarge(Format, "a name of more than "+strconv.Itoa(s.lim.Name)+" bytes")
	}
	if !IsName(name) {
		s.pos = start
		return "", s.wrong("a name was expected")
	}
	return name, nil
}

// attribute reads one, from its name on.
func (s *scanner) attribute() (name, text string, err error) {
	if name, err = s.name(); err != nil {
		return "", "", err
	}
	s.space()
	if !s.has("=") {
		return "", "", s.wrong("an attribute without a value")
	}
	s.pos++
	s.space()
	if !s.has(`"`) && !s.has("'") {
		return "", "", s.wrong("the value of an attribute without quotes")
	}
	quote := s.text[s.pos]
	s.pos++
	n := strings.IndexByte(s.text[s.pos:], quote)
	if n < 0 {
		s.pos = len(s.text)
		return "", "", s.wrong("")
	}
	raw := s.text[s.pos : s.pos+n]
	if i := strings.IndexByte(raw, '<'); i >= 0 {
		s.pos += i
		return "", "", s.wrong("< in the value of an attribute")
	}
	if strings.ContainsAny(raw, "\t\n") {
		raw = strings.Map(func(r rune) rune {
			if r == '\t' || r == '\n' {
				return ' '
			}
			return r
		}, raw)
	}
	text, err = s.unescape(raw)
	s.pos += n + 1
	return name, text, err
}

// unescape replaces the references of what begins at the scanner's place.
func (s *scanner) unescape(raw string) (string, error) {
	i := strings.IndexByte(raw, '&')
	if i < 0 {
		return raw, nil
	}
	var b strings.Builder
	b.Grow(len(raw))
	at := 0
	for ; i >= 0; i = strings.IndexByte(raw[at:], '&') {
		b.WriteString(raw[at : at+i])
		at += i
		name, _, ok := strings.Cut(raw[at+1:min(len(raw), at+maxReference)], ";")
		r, known := reference(name)
		if !ok || !known {
			s.pos += at
			return "", s.wrong("a reference that is not &lt; &gt; &amp; &apos; &quot; or of a character")
		}
		b.WriteRune(r)
		at += len(name) + 2
	}
	b.WriteString(raw[at:])
	return b.String(), nil
}

// maxReference bounds the references of characters, in bytes.
const maxReference = 16

func reference(name string) (rune, bool) {
	switch name {
	case "lt":
		return '<', true
	case "gt":
		return '>', true
	case "amp":
		return '&', true
	case "apos":
		return '\'', true
	case "quot":
		return '"', true
	}
	digits, ok := strings.CutPrefix(name, "#")
	base := 10
	if hex, is := strings.CutPrefix(digits, "x"); is {
		digits, base = hex, 16
	}
	n, err := strconv.ParseUint(digits, base, 31)
	r := rune(n)
	return r, ok && err == nil && isChar(r)
}

// chars reads text up to the next tag, with what CDATA sections have.
func (s *scanner) chars() (string, error) {
	if s.has("<![CDATA[") {
		return s.skip("<![CDATA[", "]]>")
	}
	n := strings.IndexByte(s.text[s.pos:], '<')
	if n < 0 {
		s.pos = len(s.text)
		return "", s.wrong("")
	}
	raw := s.text[s.pos : s.pos+n]
	if i := strings.Index(raw, "]]>"); i >= 0 {
		s.pos += i
		return "", s.wrong("]]> in a text")
	}
	text, err := s.unescape(raw)
	if err == nil {
		s.pos += n
	}
	return text, err
}
