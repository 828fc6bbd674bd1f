package multipart

import (
	"encoding/base64"
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"

	"github.com/dragoman-mesh/dragoman/pkg/transform/fields"
	"github.com/dragoman-mesh/dragoman/pkg/transform/value"
)

// field is a part that is to be written.
type field struct {
	name string
	part part
	body string
}

// Append writes the fields of an object as parts. Its boundary is made of what is
// in them: see Boundary.
func Append(dst []byte, doc *value.Doc, root value.ID, opt *Options, lim *value.Limits) ([]byte, error) {
	var all []field
	size := 0
	f := fields.Flattener{Format: Format, Opt: opt, Doc: doc}
	f.Whole = func(id value.ID) bool { return doc.Get(id, fileData) != value.None }
	f.Emit = func(name string, id value.ID) error {
		p, err := read(doc, name, id)
		if err != nil {
			return err
		}
		all = append(all, p)
		size += len(p.name) + len(p.body) + 128
		return value.Grown(Format, size, lim)
	}
	if err := f.Object(root); err != nil {
		return nil, err
	}
	boundary := choose(all)
	for i := range all {
		dst = append(append(append(dst, "--"...), boundary...), "\r\n"...)
		dst = all[i].append(dst)
	}
	dst = append(append(dst, "--"...), boundary...)
	return append(dst, "--\r\n"...), nil
}

// read makes a part of a field.
func read(doc *value.Doc, name string, id value.ID) (field, error) {
	f := field{name: name}
	if strings.ContainsAny(name, "\r\n\x00") {
		return f, value.Inexpressible(Format, "a name with the end of a line in it")
	}
	n := doc.At(id)
	switch n.Kind {
	case value.Bytes:
		f.part.contentType = octets
		f.body = n.Text
		return f, nil
	case value.Object:
	default:
		f.body = fields.Text(n)
		return f, nil
	}
	f.part.file = true
	for at := n.First; at != value.None; at = doc.At(at).Next {
		m := doc.At(at)
		if m.Kind != value.String && m.Kind != value.Bytes {
			return f, value.In(value.Inexpressible(Format, fmt.Sprintf("a text was expected of a file, and this is %s", m.Kind)), m.Name)
		}
		if m.Name != fileData && strings.ContainsAny(m.Text, "\r\n\x00") {
			return f, value.In(value.Inexpressible(Format, "the end of a line"), m.Name)
		}
		switch m.Name {
		case fileName:
			f.part.filename = m.Text
		case fileType:
			if strings.Trim(m.Text, " \t") != m.Text {
				return f, value.In(value.Inexpressible(Format, "a type with space around it"), m.Name)
			}
			f.part.contentType = m.Text
		case fileData:
			f.body = m.Text
			if m.Kind == value.String {
				data, err := base64.StdEncoding.DecodeString(m.Text)
				if err != nil {
					return f, value.In(value.Inexpressible(Format, "the data of a file is base64"), m.Name)
				}
				f.body = string(data)
			}
		default:
			return f, value.In(value.Inexpressible(Format, "a file has #filename, #type and #data"), m.Name)
		}
	}
	return f, nil
}

func (f *field) append(dst []byte) []byte {
	dst = append(dst, "Content-Disposition: form-data; name="...)
	dst = appendQuoted(dst, f.name)
	if f.part.file {
		dst = appendQuoted(append(dst, "; filename="...), f.part.filename)
	}
	if f.part.contentType != "" {
		dst = append(append(dst, "\r\nContent-Type: "...), f.part.contentType...)
	}
	dst = append(append(dst, "\r\n\r\n"...), f.body...)
	return append(dst, "\r\n"...)
}

func appendQuoted(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for i := range len(s) {
		if s[i] == '"' || s[i] == '\\' {
			dst = append(dst, '\\')
		}
		dst = append(dst, s[i])
	}
	return append(dst, '"')
}

// choose returns a boundary that is in no part: the same for the same parts.
func choose(all []field) string {
	h := fnv.New64a()
	for i := range all {
		_, _ = h.Write([]byte(all[i].body))
	}
	for sum := h.Sum64(); ; sum = sum*6364136223846793005 + 1442695040888963407 {
		boundary := "dragoman-" + strconv.FormatUint(sum, 36)
		taken := false
		for i := range all {
			taken = taken || strings.Contains(all[i].body, boundary)
		}
		if !taken {
			return boundary
		}
	}
}
