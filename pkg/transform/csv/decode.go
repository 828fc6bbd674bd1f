package csv

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/dragoman-mesh/dragoman/pkg/transform/charset"
	"github.com/dragoman-mesh/dragoman/pkg/transform/fields"
	"github.com/dragoman-mesh/dragoman/pkg/transform/value"
)

// Format is the name that errors have.
const Format = "csv"

// maxColumns bounds the fields of a record.
const maxColumns = 4096

// Check refuses options that cannot work, by the name of the option.
func (o *Options) Check() error {
	var errs []error
	if r, size := utf8.DecodeRuneInString(o.Delimiter); size != len(o.Delimiter) || o.Delimiter != "" && (r >= utf8.RuneSelf || strings.ContainsRune("\"\r\n\x00", r)) {
		errs = append(errs, fmt.Errorf("delimiter: %q is not one character of ASCII, or one that means something else", o.Delimiter))
	}
	for i, name := range o.Columns {
		if name == "" || !utf8.ValidString(name) || slices.Contains(o.Columns[:i], name) {
			errs = append(errs, fmt.Errorf("columns[%d]: %q is empty or there twice", i, name))
		}
	}
	if len(o.Columns) > maxColumns {
		errs = append(errs, fmt.Errorf("columns: more than %d", maxColumns))
	}
	if o.Nested != fields.Flat && o.Nested != fields.Dots {
		errs = append(errs, errors.New("nested: dots, or nothing"))
	}
	if o.Nulls != "" && o.Nulls != fields.NullEmpty && o.Nulls != fields.NullRefuse {
		errs = append(errs, errors.New("nulls: empty or refuse"))
	}
	return errors.Join(errs...)
}

func (o *Options) delimiter() byte {
	if o.Delimiter == "" {
		return ','
	}
	return o.Delimiter[0]
}

// recordLen is the length of the first record of text, with the end of its line.
func recordLen(text string) int {
	quoted := false
	for i := range len(text) {
		switch text[i] {
		case '"':
			quoted = !quoted
		case '\n':
			if !quoted {
				return i + 1
			}
		}
	}
	return len(text)
}

// Decode reads all records into a list. name is the charset, UTF-8 if it is empty.
func Decode(doc *value.Doc, src, name string, opt *Options, lim *value.Limits) (value.ID, error) {
	text, err := charset.Decode(Format, src, name)
	if err != nil {
		return value.None, err
	}
	list := doc.New(value.List, "")
	r := NewReader(opt, lim)
	for i := 0; text != ""; {
		n := recordLen(text)
		id, err := r.Record(doc, text[:n])
		if err != nil {
			return value.None, value.At(err, i)
		}
		if id != value.None {
			doc.Add(list, id)
			i++
		}
		text = text[n:]
	}
	return list, r.End()
}

// Reader reads one record after the other.
type Reader struct {
	opt     *Options
	lim     *value.Limits
	columns []string
	fields  []string
	started bool // there was a record
	line    int
	nested  fields.Options
}

// NewReader returns a Reader.
func NewReader(opt *Options, lim *value.Limits) *Reader {
	r := &Reader{opt: opt, lim: lim, line: 1, nested: fields.Options{Nested: opt.Nested}}
	if opt.NoHeader {
		r.columns = opt.Columns
	}
	return r
}

func (r *Reader) wrong(text string, offset int, reason string) error {
	err := value.Malformed(Format, text, offset, reason)
	if e, ok := errors.AsType[*value.Error](err); ok {
		e.Line += r.line - 1
	}
	return err
}

// Record makes a node of a record with the end of its line; None of the line of
// names, and of an empty line.
func (r *Reader) Record(doc *value.Doc, text string) (value.ID, error) {
	if strings.Trim(text, "\r\n") == "" {
		r.line++
		return value.None, nil
	}
	if err := r.split(text); err != nil {
		return value.None, err
	}
	defer func() { r.line += strings.Count(text, "\n") }()
	if !r.started {
		r.started = true
		if !r.opt.NoHeader {
			return value.None, r.header(text)
		}
	}
	if doc.Len()+len(r.fields) >= r.lim.Nodes {
		return value.None, value.TooLarge(Format, "more than "+strconv.Itoa(r.lim.Nodes)+" values")
	}
	if r.columns == nil {
		list := doc.New(value.List, "")
		for _, f := range r.fields {
			doc.Add(list, doc.New(value.String, f))
		}
		return list, nil
	}
	if len(r.fields) != len(r.columns) {
		return value.None, r.wrong(text, 0, fmt.Sprintf("%d fields instead of %d", len(r.fields), len(r.columns)))
	}
	b := fields.Builder{Opt: &r.nested, Doc: doc, Lim: r.lim}
	root := b.Root()
	for i, f := range r.fields {
		id := doc.New(value.String, f)
		if r.opt.Nested == fields.Flat {
			doc.At(id).Name = r.columns[i]
			doc.Add(root, id)
		} else if err := b.Add(r.columns[i], id); err != nil {
			return value.None, r.wrong(text, 0, err.Error())
		}
	}
	return root, nil
}

// header takes the line of names.
func (r *Reader) header(text string) error {
	seen := make(map[string]struct{}, len(r.fields))
	for _, name := range r.fields {
		if _, twice := seen[name]; twice || name == "" {
			return r.wrong(text, 0, "a column without a name, or one that is there twice")
		}
		if len(name) > r.lim.Name {
			return value.TooLarge(Format, "a name of more than "+strconv.Itoa(r.lim.Name)+" bytes")
		}
		seen[name] = struct{}{}
	}
	for _, name := range r.opt.Columns {
		if _, ok := seen[name]; !ok {
			return r.wrong(text, 0, "the column "+value.Quote(name)+" is missing")
		}
	}
	if len(r.opt.Columns) > 0 && len(r.opt.Columns) != len(r.fields) {
		return r.wrong(text, 0, "a column that was not expected")
	}
	r.columns = slices.Clone(r.fields)
	return nil
}

// End is to be asked after the last record. Nothing at all is a list of none, which
// is what a Writer without Columns writes of it.
func (r *Reader) End() error {
	if !r.started && !r.opt.NoHeader && len(r.opt.Columns) > 0 {
		return r.wrong("", 0, "the line with the names of columns is missing")
	}
	return nil
}

// split cuts a record into its fields.
func (r *Reader) split(text string) error {
	r.fields = r.fields[:0]
	line := strings.TrimSuffix(strings.TrimSuffix(text, "\n"), "\r")
	delimiter := r.opt.delimiter()
	for pos := 0; ; {
		if len(r.fields) == maxColumns {
			return value.TooLarge(Format, "more than "+strconv.Itoa(maxColumns)+" columns")
		}
		field, n, reason := cutField(line[pos:], delimiter)
		if reason != "" {
			return r.wrong(text, pos+n, reason)
		}
		r.fields = append(r.fields, field)
		if pos += n; pos >= len(line) {
			return nil
		}
		pos++ // the delimiter
	}
}

// cutField reads a field up to the delimiter or the end.
func cutField(s string, delimiter byte) (field string, n int, wrong string) {
	if !strings.HasPrefix(s, `"`) {
		n = strings.IndexByte(s, delimiter)
		if n < 0 {
			n = len(s)
		}
		if i := strings.IndexByte(s[:n], '"'); i >= 0 {
			return "", i, "a quote within a field that does not begin with one"
		}
		return s[:n], n, ""
	}
	doubled := false
	for i := 1; i < len(s); i++ {
		if s[i] != '"' {
			continue
		}
		if i+1 < len(s) && s[i+1] == '"' {
			doubled = true
			i++
			continue
		}
		if i+1 < len(s) && s[i+1] != delimiter {
			return "", i + 1, "something follows the quote at a field's end"
		}
		field = s[1:i]
		if doubled {
			field = strings.ReplaceAll(field, `""`, `"`)
		}
		return field, i + 1, ""
	}
	return "", 0, "a quote without its end"
}
