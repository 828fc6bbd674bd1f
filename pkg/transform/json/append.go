package json

import (
	"encoding/base64"

	"github.com/dragoman-mesh/dragoman/pkg/transform/value"
)

const hexDigits = "0123456789abcdef"

// Append writes a value, without any space. Binary data is a string of base64.
func Append(dst []byte, doc *value.Doc, id value.ID) []byte {
	n := doc.At(id)
	switch n.Kind {
	case value.Null:
		return append(dst, "null"...)
	case value.False:
		return append(dst, "false"...)
	case value.True:
		return append(dst, "true"...)
	case value.Number:
		return append(dst, n.Text...)
	case value.String:
		return AppendString(dst, n.Text)
	case value.Bytes:
		dst = append(dst, '"')
		dst = base64.StdEncoding.AppendEncode(dst, []byte(n.Text))
		return append(dst, '"')
	case value.List:
		dst = append(dst, '[')
		for at := n.First; at != value.None; at = doc.At(at).Next {
			if at != n.First {
				dst = append(dst, ',')
			}
			dst = Append(dst, doc, at)
		}
		return append(dst, ']')
	}
	dst = append(dst, '{')
	for at := n.First; at != value.None; {
		child := doc.At(at)
		if at != n.First {
			dst = append(dst, ',')
		}
		dst = append(AppendString(dst, child.Name), ':')
		dst = Append(dst, doc, at)
		at = child.Next
	}
	return append(dst, '}')
}

// AppendString writes a string with its quotes.
func AppendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := range len(s) {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, s[start:i]...)
		dst = appendEscape(dst, c)
		start = i + 1
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}

func appendEscape(dst []byte, c byte) []byte {
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
	return append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
}
