package form

import (
	"strconv"
	"strings"

	"github.com/dragoman-mesh/dragoman/pkg/transform/charset"
	"github.com/dragoman-mesh/dragoman/pkg/transform/fields"
	"github.com/dragoman-mesh/dragoman/pkg/transform/value"
)

// Format is the name that errors have.
const Format = "form"

// Decode reads fields into doc. name is the charset of their bytes, UTF-8 if it is
// empty.
func Decode(doc *value.Doc, src, name string, opt *Options, lim *value.Limits) (value.ID, error) {
	b := fields.Builder{Opt: opt, Doc: doc, Lim: lim}
	root := b.Root()
	for rest, offset := src, 0; rest != ""; {
		pair, after, _ := strings.Cut(rest, "&")
		if pair != "" {
			if err := decodePair(&b, src, offset, pair, name); err != nil {
				return value.None, err
			}
		}
		if doc.Full() {
			return value.None, value.TooLarge(Format, "more than "+strconv.Itoa(lim.Nodes)+" values")
		}
		offset += len(rest) - len(after)
		rest = after
	}
	return root, nil
}

func decodePair(b *fields.Builder, src string, offset int, pair, charsetName string) error {
	rawName, rawText, _ := strings.Cut(pair, "=")
	if len(rawName) > 3*b.Lim.Name {
		return value.TooLarge(Format, "a name of more than "+strconv.Itoa(b.Lim.Name)+" bytes")
	}
	var parts [2]string
	for i, raw := range []string{rawName, rawText} {
		text, bad := unescape(raw)
		if bad >= 0 {
			return value.Malformed(Format, src, offset+i*(len(rawName)+1)+bad, "a percent sign without two hexadecimal digits")
		}
		text, err := charset.Text(Format, text, charsetName)
		if err != nil {
			return value.Malformed(Format, src, offset, err.Error())
		}
		parts[i] = text
	}
	if len(parts[0]) > b.Lim.Name {
		return value.TooLarge(Format, "a name of more than "+strconv.Itoa(b.Lim.Name)+" bytes")
	}
	if parts[0] == "" {
		return value.Malformed(Format, src, offset, "a field without a name")
	}
	if err := b.Add(parts[0], b.Doc.New(value.String, parts[1])); err != nil {
		return value.In(value.Malformed(Format, src, offset, err.Error()), parts[0])
	}
	return nil
}

// unescape decodes percent signs and pluses; bad is the offset of what is no
// escape, -1 for none.
func unescape(raw string) (text string, bad int) {
	if !strings.ContainsAny(raw, "%+") {
		return raw, -1
	}
	out := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; c {
		case '+':
			out = append(out, ' ')
		case '%':
			n, err := strconv.ParseUint(raw[i+1:min(i+3, len(raw))], 16, 8)
			if err != nil || i+3 > len(raw) {
				return "", i
			}
			out = append(out, byte(n))
			i += 2
		default:
			out = append(out, c)
		}
	}
	return string(out), -1
}

// Append writes the fields of an object, in UTF-8. Binary data is base64.
func Append(dst []byte, doc *value.Doc, root value.ID, opt *Options, lim *value.Limits) ([]byte, error) {
	start := len(dst)
	f := fields.Flattener{Format: Format, Opt: opt, Doc: doc, Emit: func(name string, id value.ID) error {
		if len(dst) > start {
			dst = append(dst, '&')
		}
		dst = appendEscaped(dst, name)
		dst = append(dst, '=')
		dst = appendEscaped(dst, fields.Text(doc.At(id)))
		return value.Grown(Format, len(dst)-start, lim)
	}}
	err := f.Object(root)
	return dst, err
}

func appendEscaped(dst []byte, s string) []byte {
	const hexDigits = "0123456789ABCDEF"
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_', c == '.', c == '*':
			dst = append(dst, c)
		case c == ' ':
			dst = append(dst, '+')
		default:
			dst = append(dst, '%', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return dst
}
