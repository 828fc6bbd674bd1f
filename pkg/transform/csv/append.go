package csv

import (
	"fmt"
	"strings"

	"github.com/dragoman-mesh/dragoman/pkg/transform/fields"
	"github.com/dragoman-mesh/dragoman/pkg/transform/value"
)

// Append writes a record for each element of a list, or for what is no list, in
// UTF-8. Binary data is base64.
func Append(dst []byte, doc *value.Doc, root value.ID, opt *Options, lim *value.Limits) ([]byte, error) {
	start := len(dst)
	w := NewWriter(opt)
	if doc.At(root).Kind != value.List {
		return w.Append(dst, doc, root)
	}
	dst = w.Begin(dst)
	i := 0
	for at := doc.At(root).First; at != value.None; at = doc.At(at).Next {
		var err error
		if dst, err = w.Append(dst, doc, at); err != nil {
			return nil, value.At(err, i)
		}
		if err := value.Grown(Format, len(dst)-start, lim); err != nil {
			return nil, err
		}
		i++
	}
	return dst, nil
}

// Writer writes one record after the other.
type Writer struct {
	opt     *Options
	nested  fields.Options
	begun   bool // the line of names is written, or there is none
	columns []string
	index   map[string]int
	cells   []string
}

// NewWriter returns a Writer.
func NewWriter(opt *Options) *Writer {
	w := &Writer{opt: opt, nested: fields.Options{Nested: opt.Nested, Nulls: fields.NullEmpty}}
	if opt.Nulls == fields.NullRefuse {
		w.nested.Nulls = fields.NullRefuse
	}
	if len(opt.Columns) > 0 {
		w.name(opt.Columns)
	}
	return w
}

func (w *Writer) name(columns []string) {
	w.columns = columns
	w.index = make(map[string]int, len(columns))
	for i, name := range columns {
		w.index[name] = i
	}
	w.cells = make([]string, len(columns))
}

// Begin writes the line of names where it is known without a record.
func (w *Writer) Begin(dst []byte) []byte {
	if w.begun || w.columns == nil {
		return dst
	}
	w.begun = true
	if w.opt.NoHeader {
		return dst
	}
	return w.line(dst, w.columns)
}

// Append writes a record, after the line of names if it is the first.
func (w *Writer) Append(dst []byte, doc *value.Doc, id value.ID) ([]byte, error) {
	n := doc.At(id)
	if n.Kind == value.List && w.opt.NoHeader && w.columns == nil {
		return w.list(dst, doc, id)
	}
	if n.Kind != value.Object {
		return nil, value.Inexpressible(Format, fmt.Sprintf("a record is an object, and this is %s", n.Kind))
	}
	if w.columns == nil {
		if err := w.learn(doc, id); err != nil {
			return nil, err
		}
	}
	dst = w.Begin(dst)
	clear(w.cells)
	f := fields.Flattener{Format: Format, Opt: &w.nested, Doc: doc, NoLists: true, Emit: func(name string, id value.ID) error {
		i, ok := w.index[name]
		if !ok {
			return value.Inexpressible(Format, "no column of that name: the option columns names them, or else the first record")
		}
		w.cells[i] = fields.Text(doc.At(id))
		return nil
	}}
	if err := f.Object(id); err != nil {
		return nil, err
	}
	return w.line(dst, w.cells), nil
}

// learn takes the names of columns from the first record.
func (w *Writer) learn(doc *value.Doc, id value.ID) error {
	var columns []string
	f := fields.Flattener{Format: Format, Opt: &w.nested, Doc: doc, NoLists: true, Emit: func(name string, _ value.ID) error {
		columns = append(columns, name)
		return nil
	}}
	if err := f.Object(id); err != nil {
		return err
	}
	if len(columns) == 0 || len(columns) > maxColumns {
		return value.Inexpressible(Format, fmt.Sprintf("a first record of %d columns", len(columns)))
	}
	w.name(columns)
	return nil
}

// list writes a record that is a list of texts.
func (w *Writer) list(dst []byte, doc *value.Doc, id value.ID) ([]byte, error) {
	var texts []string
	for at := doc.At(id).First; at != value.None; at = doc.At(at).Next {
		n := doc.At(at)
		if n.Kind >= value.List || n.Kind == value.Null && w.opt.Nulls == fields.NullRefuse {
			return nil, value.At(value.Inexpressible(Format, fmt.Sprintf("a field is a text, and this is %s", n.Kind)), len(texts))
		}
		texts = append(texts, fields.Text(n))
	}
	if len(texts) == 0 {
		return nil, value.Inexpressible(Format, "a record without fields")
	}
	return w.line(dst, texts), nil
}

func (w *Writer) line(dst []byte, texts []string) []byte {
	for i, text := range texts {
		if i > 0 {
			dst = append(dst, w.opt.delimiter())
		}
		// A line with nothing on it would be no record, and what looks like a byte order
		// mark at the beginning would be one.
		dst = w.field(dst, text, len(texts) == 1 && text == "" || strings.HasPrefix(text, "\ufeff"))
	}
	return append(dst, '\r', '\n')
}

func (w *Writer) field(dst []byte, text string, quote bool) []byte {
	if !quote && !strings.ContainsAny(text, "\"\r\n") && strings.IndexByte(text, w.opt.delimiter()) < 0 {
		return append(dst, text...)
	}
	dst = append(dst, '"')
	for i := range len(text) {
		if text[i] == '"' {
			dst = append(dst, '"')
		}
		dst = append(dst, text[i])
	}
	return append(dst, '"')
}
