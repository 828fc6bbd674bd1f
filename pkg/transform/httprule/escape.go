package httprule

import "strings"

// Unescape says which escapes a variable of several segments loses. One of a
// single segment loses all.
type Unescape uint8

// What may be unescaped, as Envoy's UrlUnescapeSpec says it.
const (
	ExceptReserved Unescape = iota // RFC 6570's reserved characters stay escaped
	ExceptSlash                    // %2F stays
	AllCharacters
)

// reserved is section 1.5 of RFC 6570.
const reserved = ":/?#[]@!$&'()*+,;="

// unescape decodes s; false: an escape is none.
func unescape(s string, how Unescape) (string, bool) {
	found := strings.Contains(s, "%")
	if !found {
		return s, true
	}
	var b strings.Builder
	b.Grow(len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b.WriteByte(s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", false
		}
		high, ok1 := hex(s[i+1])
		low, ok2 := hex(s[i+2])
		if !ok1 || !ok2 {
			return "", false
		}
		c := high<<4 | low
		if how == ExceptSlash && c == '/' || how == ExceptReserved && strings.IndexByte(reserved, c) >= 0 {
			b.WriteString(s[i : i+3])
		} else {
			b.WriteByte(c)
		}
		i += 2
	}
	return b.String(), true
}

func hex(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	default:
		return 0, false
	}
}

// escape encodes all but [-_.~0-9a-zA-Z], as http.proto has it, and leaves
// slashes where they are wanted.
func escape(s string, slashes bool) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if isIdent(c, true) || c == '-' || c == '.' || c == '~' || slashes && c == '/' {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('%')
		b.WriteByte(digits[c>>4])
		b.WriteByte(digits[c&15])
	}
	return b.String()
}
