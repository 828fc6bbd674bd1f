package record

import (
	"encoding/binary"
	"unicode/utf8"
)

const (
	lows  = 0x0101010101010101
	highs = 0x8080808080808080
)

// special reports whether one of eight bytes needs a closer look: control
// characters, quotes, backslashes and what is not ASCII.
func special(w uint64) bool {
	quote, slash := w^(lows*'"'), w^(lows*'\\')
	// A byte of x-lows has its high bit set where x has 0 there (or more than 0x80,
	// or one beneath has borrowed, both of which a closer look finds harmless).
	return (w|(w-lows*0x20)|(quote-lows)|(slash-lows))&highs != 0
}

// AppendString adds text as a JSON string, quotes included. What is not UTF-8
// becomes U+FFFD.
func AppendString(dst, text []byte) []byte {
	dst = append(dst, '"')
	return append(appendEscaped(dst, text), '"')
}

// appendEscaped adds the inside of the string. It copies in runs.
func appendEscaped(dst, text []byte) []byte {
	start, i := 0, 0
	for i < len(text) {
		if i+8 <= len(text) && !special(binary.LittleEndian.Uint64(text[i:])) {
			i += 8
			continue
		}
		c := text[i]
		if c >= 0x20 && c < utf8.RuneSelf && c != '"' && c != '\\' {
			i++
			continue
		}
		if c < utf8.RuneSelf {
			dst = appendControl(append(dst, text[start:i]...), c)
			i++
			start = i
			continue
		}
		r, size := utf8.DecodeRune(text[i:])
		if r == utf8.RuneError && size == 1 {
			dst = append(append(dst, text[start:i]...), "\uFFFD"...)
			start = i + size
		}
		i += size
	}
	return append(dst, text[start:]...)
}

func appendControl(dst []byte, c byte) []byte {
	const hex = "0123456789abcdef"
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\n':
		return append(dst, `\n`...)
	case '\r':
		return append(dst, `\r`...)
	case '\t':
		return append(dst, `\t`...)
	}
	return append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&0xf])
}

// Unescape adds what the inside of a valid JSON string means.
func Unescape(dst, inside []byte) []byte {
	for i := 0; i < len(inside); i++ {
		c := inside[i]
		if c != '\\' || i+1 == len(inside) {
			dst = append(dst, c)
			continue
		}
		i++
		switch inside[i] {
		case 'n':
			dst = append(dst, '\n')
		case 't':
			dst = append(dst, '\t')
		case 'r':
			dst = append(dst, '\r')
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'u':
			r, n := codePoint(inside[i+1:])
			dst = utf8.AppendRune(dst, r)
			i += n
		default:
			dst = append(dst, inside[i])
		}
	}
	return dst
}

// codePoint reads the digits after \u, and the second half of a pair; half a pair
// is U+FFFD. n is how many bytes that took.
func codePoint(b []byte) (r rune, n int) {
	r, ok := hex4(b)
	if !ok {
		return utf8.RuneError, 0
	}
	if r < 0xD800 || r > 0xDFFF {
		return r, 4
	}
	if r < 0xDC00 && len(b) >= 10 && b[4] == '\\' && b[5] == 'u' {
		if low, ok := hex4(b[6:]); ok && low >= 0xDC00 && low <= 0xDFFF {
			return (r-0xD800)<<10 | (low - 0xDC00) + 0x10000, 10
		}
	}
	return utf8.RuneError, 4
}

func hex4(b []byte) (r rune, ok bool) {
	if len(b) < 4 {
		return 0, false
	}
	for _, c := range b[:4] {
		r <<= 4
		switch {
		case c >= '0' && c <= '9':
			r |= rune(c - '0')
		case c >= 'a' && c <= 'f':
			r |= rune(c-'a') + 10
		case c >= 'A' && c <= 'F':
			r |= rune(c-'A') + 10
		default:
			return 0, false
		}
	}
	return r, true
}
