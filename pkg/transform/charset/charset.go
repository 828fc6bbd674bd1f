// Package charset makes UTF-8 of the few encodings that bodies still have:
// US-ASCII, ISO-8859-1, windows-1252 and UTF-16.
package charset

import (
	"fmt"
	"mime"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/dragoman-mesh/dragoman/pkg/transform/value"
)

const (
	bomUTF8 = "\xEF\xBB\xBF"
	bomBE   = "\xFE\xFF"
	bomLE   = "\xFF\xFE"
)

// Of returns the charset that a Content-Type names, empty if none.
func Of(contentType string) string {
	if !strings.Contains(contentType, ";") {
		return ""
	}
	_, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		return ""
	}
	return params["charset"]
}

// Decode makes UTF-8 of a document. A byte order mark, which is left out, counts
// more than name; without either it is UTF-8. The error is a value.Error.
func Decode(format, src, name string) (string, error) {
	switch {
	case strings.HasPrefix(src, bomUTF8):
		src, name = src[len(bomUTF8):], "utf-8"
	case strings.HasPrefix(src, bomBE):
		src, name = src[len(bomBE):], "utf-16be"
	case strings.HasPrefix(src, bomLE):
		src, name = src[len(bomLE):], "utf-16le"
	}
	return Text(format, src, name)
}

// Text makes UTF-8 of a part of a document, at whose beginning a byte order mark is a
// character like others.
func Text(format, src, name string) (string, error) {
	switch strings.ToLower(strings.TrimSpace(name)) {
	case "", "utf-8", "utf8":
		if i := value.NotUTF8(src); i >= 0 {
			return "", value.Malformed(format, src, i, "not UTF-8")
		}
		return src, nil
	case "us-ascii", "ascii":
		if i := strings.IndexFunc(src, func(r rune) bool { return r > unicodeASCII }); i >= 0 {
			return "", value.Malformed(format, src, i, "not US-ASCII")
		}
		return src, nil
	case "iso-8859-1", "iso8859-1", "latin1", "l1":
		return decodeTable(format, src, nil)
	case "windows-1252", "cp1252":
		return decodeTable(format, src, windows1252[:])
	case "utf-16", "utf-16be":
		return decode16(format, src, 0)
	case "utf-16le":
		return decode16(format, src, 1)
	}
	return "", &value.Error{
		Is: value.ErrMalformed, Format: format,
		Reason: fmt.Sprintf("the charset %.40q is not known: utf-8, us-ascii, iso-8859-1, windows-1252, utf-16", name),
	}
}

const unicodeASCII = 0x7F

// windows1252 has the characters of 0x80 to 0x9F; 0 for none.
var windows1252 = [32]rune{
	0x20AC, 0, 0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021, 0x02C6, 0x2030, 0x0160, 0x2039, 0x0152, 0, 0x017D, 0,
	0, 0x2018, 0x2019, 0x201C, 0x201D, 0x2022, 0x2013, 0x2014, 0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, 0, 0x017E, 0x0178,
}

// decodeTable decodes bytes of which each is a character: the one of its number,
// but for those that table has of 0x80 and the following.
func decodeTable(format, src string, table []rune) (string, error) {
	var b strings.Builder
	b.Grow(len(src) + len(src)/8)
	for i := range len(src) {
		c := rune(src[i])
		if n := int(c) - 0x80; n >= 0 && n < len(table) {
			if c = table[n]; c == 0 {
				return "", value.Malformed(format, src, i, "a byte that the charset does not have")
			}
		}
		b.WriteRune(c)
	}
	return b.String(), nil
}

// decode16 decodes UTF-16; low is which byte of two is the lower one's opposite:
// 0 for big endian, 1 for little endian.
func decode16(format, src string, low int) (string, error) {
	if len(src)%2 != 0 {
		return "", value.Malformed(format, src, len(src), "half a character of UTF-16")
	}
	unit := func(i int) rune { return rune(src[i+low])<<8 | rune(src[i+1-low]) }
	var b strings.Builder
	b.Grow(len(src))
	for i := 0; i < len(src); i += 2 {
		r := unit(i)
		if utf16.IsSurrogate(r) {
			second := rune(0)
			if i+2 < len(src) {
				second = unit(i + 2)
			}
			if r = utf16.DecodeRune(r, second); r == utf8.RuneError {
				return "", value.Malformed(format, src, i, "half of a surrogate pair")
			}
			i += 2
		}
		b.WriteRune(r)
	}
	return b.String(), nil
}
