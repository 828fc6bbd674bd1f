package xml

import "strings"

// IsName tells whether s can be the name of an element or attribute, with one
// prefix at most.
func IsName(s string) bool {
	prefix, local, found := strings.Cut(s, ":")
	if !found {
		return isPart(s)
	}
	return isPart(prefix) && isPart(local)
}

// isPart tells whether s is a name without a colon (NCName).
func isPart(s string) bool {
	for i, r := range s {
		if !isNameRune(r, i == 0) {
			return false
		}
	}
	return s != ""
}

// isNameRune tells whether a character may be in a name, or begin one: the
// productions NameStartChar and NameChar of XML 1.0 (fifth edition), section 2.3,
// without the colon.
func isNameRune(r rune, first bool) bool {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r == '_':
		return true
	case r >= '0' && r <= '9', r == '-', r == '.', r == 0xB7, r >= 0x300 && r <= 0x36F, r == 0x203F, r == 0x2040:
		return !first
	case r < 0xC0, r == 0xD7, r == 0xF7, r == 0x37E, r == 0xFFFD:
		return false
	}
	return r <= 0x1FFF || r == 0x200C || r == 0x200D || r >= 0x2070 && r <= 0x218F || r >= 0x2C00 && r <= 0x2FEF ||
		r >= 0x3001 && r <= 0xD7FF || r >= 0xF900 && r <= 0xFDCF || r >= 0xFDF0 && r <= 0xFFFD || r >= 0x10000 && r <= 0xEFFFF
}

// isChar tells whether a character may be in a document at all (Char of section
// 2.2). U+FFFD is one, though decoding what is no UTF-8 gives it.
func isChar(r rune) bool {
	return r >= ' ' && r <= 0xD7FF || r == '\t' || r == '\n' || r == '\r' || r >= 0xE000 && r <= 0xFFFD || r >= 0x10000 && r <= 0x10FFFF
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

// blank tells whether there is nothing but space.
func blank(s string) bool {
	for i := range len(s) {
		if !isSpace(s[i]) {
			return false
		}
	}
	return true
}
