package transform

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strconv"
	"strings"

	"github.com/dragoman-mesh/dragoman/pkg/transform/charset"
	"github.com/dragoman-mesh/dragoman/pkg/transform/csv"
	"github.com/dragoman-mesh/dragoman/pkg/transform/json"
	"github.com/dragoman-mesh/dragoman/pkg/transform/mapping"
	"github.com/dragoman-mesh/dragoman/pkg/transform/ndjson"
	"github.com/dragoman-mesh/dragoman/pkg/transform/value"
)

// chunk is how much is read, and written, at once.
const chunk = 32 << 10

// Streams tells whether Stream can be used: from NDJSON, CSV, or a list of JSON, to
// NDJSON or CSV; and from NDJSON and CSV to a list of JSON. A map of JSON must say
// nothing but what becomes of the list's elements. No texts can be given to a body
// that streams.
func (p *Program) Streams() bool {
	if len(p.given) > 0 || !p.to.Format.records() && (p.to.Format != JSON || !p.from.Format.records()) {
		return false
	}
	if p.from.Format.records() {
		return true
	}
	_, ok := p.element()
	return p.from.Format == JSON && p.jq == nil && ok
}

// element is the map of a record, which may be nil.
func (p *Program) element() (*mapping.Program, bool) {
	if p.mapping == nil || p.from.Format.records() {
		return p.mapping, true
	}
	return p.mapping.Element()
}

// Stream does what Apply does, record by record, in memory for a few of them.
// What was written before an error stays written. A body of JSON that is no list
// is read to its end, up to Limits.Bytes.
func (p *Program) Stream(ctx context.Context, w io.Writer, r io.Reader, contentType string) error {
	if !p.Streams() {
		return value.Inexpressible(string(p.from.Format), "it is no list of records")
	}
	one, _ := p.element()
	s := &stream{p: p, one: one, ctx: ctx, w: w, r: r, charset: charset.Of(contentType), line: 1, lim: p.limits, split: splitter{format: p.from.Format}}
	if err := s.prepare(); err != nil {
		return err
	}
	if p.from.Format == JSON {
		return s.list(contentType)
	}
	for {
		record, err := s.next()
		if err != nil {
			return err
		}
		if record == nil {
			break
		}
		if err := s.record(string(record)); err != nil {
			return err
		}
		s.line += bytes.Count(record, []byte("\n"))
	}
	if s.csvIn != nil {
		if err := s.csvIn.End(); err != nil {
			return err
		}
	}
	return s.finish()
}

// stream is one run of Stream.
type stream struct {
	p       *Program
	one     *mapping.Program
	ctx     context.Context //nolint:containedctx // of the one call that made it
	w       io.Writer
	r       io.Reader
	charset string
	lim     value.Limits
	split   splitter
	scratch scratch
	csvIn   *csv.Reader
	csvOut  *csv.Writer

	buf     []byte // what in is a part of
	in      []byte // what was read and is not used yet
	ended   bool
	begun   bool // the first record, before which a byte order mark can be, was read
	out     []byte
	line    int // of the record
	read    int // records
	written int
}

func (s *stream) prepare() error {
	if _, err := charset.Decode(string(s.p.from.Format), "", s.charset); err != nil {
		return err
	}
	if strings.HasPrefix(strings.ToLower(s.charset), "utf-16") {
		return &value.Error{Is: value.ErrMalformed, Format: string(s.p.from.Format), Reason: "UTF-16 cannot be streamed"}
	}
	if s.p.from.Format == CSV {
		s.csvIn = csv.NewReader(orZero(s.p.from.CSV), &s.lim)
	}
	switch s.p.to.Format {
	case CSV:
		s.csvOut = csv.NewWriter(orZero(s.p.to.CSV))
		s.out = s.csvOut.Begin(s.out)
	case JSON:
		s.out = append(s.out, '[')
	default:
	}
	return nil
}

// next returns the next record, and at the end what is left; nil if nothing is. It
// stays valid until the next call.
func (s *stream) next() ([]byte, error) {
	for {
		if n := s.split.next(s.in); n > 0 {
			record := s.in[:n]
			s.in = s.in[n:]
			return record, nil
		}
		if s.ended {
			record := s.in
			s.in, s.split = nil, splitter{format: s.split.format}
			if len(record) == 0 {
				return nil, nil
			}
			return record, nil
		}
		if len(s.in) > s.lim.Record {
			return nil, s.at(value.TooLarge(string(s.p.from.Format), "a record of more than "+strconv.Itoa(s.lim.Record)+" bytes"))
		}
		if err := s.fill(); err != nil {
			return nil, err
		}
	}
}

// fill writes what is ready, since reading may take long, and reads more.
func (s *stream) fill() error {
	if err := s.flush(); err != nil {
		return err
	}
	if err := s.ctx.Err(); err != nil {
		return err
	}
	have := len(s.in)
	if have == cap(s.in) { // there is no room behind it
		if len(s.buf) == 0 || 2*have > len(s.buf) {
			s.buf = make([]byte, max(chunk, 2*have))
		}
		copy(s.buf, s.in)
		s.in = s.buf[:have]
	}
	n, err := s.r.Read(s.in[have:cap(s.in)])
	s.in = s.in[:have+n]
	if errors.Is(err, io.EOF) {
		s.ended = true
		return nil
	}
	return err
}

func (s *stream) flush() error {
	if len(s.out) == 0 {
		return nil
	}
	_, err := s.w.Write(s.out)
	s.out = s.out[:0]
	return err
}

// at adds to an error which record it is of.
func (s *stream) at(err error) error {
	if err == nil {
		return nil
	}
	return value.At(err, s.read)
}

// record makes of a record what it is to be.
func (s *stream) record(text string) error {
	doc := &s.scratch.doc
	doc.Reset(s.lim.Nodes)
	id, err := s.decode(doc, text)
	if err != nil {
		return s.at(err)
	}
	if id == value.None {
		return nil
	}
	if err := s.change(doc, id); err != nil {
		return s.at(err)
	}
	s.read++
	if len(s.out) < chunk {
		return nil
	}
	return s.flush()
}

func (s *stream) decode(doc *value.Doc, text string) (value.ID, error) {
	decode := charset.Decode
	if s.begun {
		decode = charset.Text
	}
	s.begun = true
	text, err := decode(string(s.p.from.Format), text, s.charset)
	if err != nil {
		return value.None, err
	}
	if s.csvIn != nil {
		return s.csvIn.Record(doc, text)
	}
	return ndjson.Record(doc, text, s.line, &s.lim)
}

// change applies the map or the program to a record, and writes it.
func (s *stream) change(doc *value.Doc, id value.ID) error {
	switch {
	case s.p.jq != nil:
		list, err := s.p.outputs(s.ctx, doc, id)
		if err != nil {
			return err
		}
		for at := doc.At(list).First; at != value.None; at = doc.At(at).Next {
			if err := s.append(doc, at); err != nil {
				return err
			}
		}
		return nil
	case s.one != nil:
		var err error
		if id, err = s.one.Apply(&s.scratch.state, doc, id); err != nil {
			return err
		}
	}
	return s.append(doc, id)
}

// append writes a record.
func (s *stream) append(doc *value.Doc, id value.ID) error {
	before := len(s.out)
	switch {
	case s.csvOut != nil:
		out, err := s.csvOut.Append(s.out, doc, id)
		if err != nil {
			return err
		}
		s.out = out
	case s.p.to.Format == JSON:
		if s.written > 0 {
			s.out = append(s.out, ',')
		}
		s.out = json.Append(s.out, doc, id)
	default:
		s.out = ndjson.AppendRecord(s.out, doc, id)
	}
	s.written++
	return value.Grown(string(s.p.to.Format), len(s.out)-before, &s.lim)
}

// finish writes what comes after the last record.
func (s *stream) finish() error {
	if s.p.to.Format == JSON {
		s.out = append(s.out, ']')
	}
	return s.flush()
}

// list streams a list of JSON.
func (s *stream) list(contentType string) error {
	if err := s.space(); err != nil {
		return err
	}
	if len(s.in) == 0 || s.in[0] != '[' {
		return s.whole(contentType)
	}
	s.in = s.in[1:]
	for first := true; ; first = false {
		if err := s.space(); err != nil {
			return err
		}
		if first && len(s.in) > 0 && s.in[0] == ']' {
			s.in = s.in[1:]
			break
		}
		element, err := s.next()
		if err != nil {
			return err
		}
		end := len(element) - 1
		if end < 0 || element[end] != ',' && element[end] != ']' {
			return s.at(&value.Error{Is: value.ErrMalformed, Format: json.Format, Line: s.line, Reason: "the list ends too early"})
		}
		if err := s.element(string(element[:end])); err != nil {
			return err
		}
		s.line += bytes.Count(element, []byte("\n"))
		if element[end] == ']' {
			break
		}
	}
	if err := s.space(); err != nil {
		return err
	}
	if len(s.in) > 0 {
		return &value.Error{Is: value.ErrMalformed, Format: json.Format, Line: s.line, Reason: "something follows the document"}
	}
	return s.finish()
}

// element is record, of a list of JSON.
func (s *stream) element(text string) error {
	doc := &s.scratch.doc
	doc.Reset(s.lim.Nodes)
	id := value.None
	text, err := charset.Decode(json.Format, text, s.charset)
	if err == nil {
		id, err = json.Decode(doc, text, &s.lim)
	}
	if e, ok := errors.AsType[*value.Error](err); ok && e.Line > 0 {
		e.Line += s.line - 1
	}
	if err == nil {
		err = s.change(doc, id)
	}
	if err != nil {
		return s.at(err)
	}
	s.read++
	if len(s.out) < chunk {
		return nil
	}
	return s.flush()
}

// space passes space, and reads on if there is nothing else.
func (s *stream) space() error {
	for {
		rest := bytes.TrimLeft(s.in, " \t\r\n")
		s.line += bytes.Count(s.in[:len(s.in)-len(rest)], []byte("\n"))
		s.in = rest
		if len(rest) > 0 || s.ended {
			return nil
		}
		if err := s.fill(); err != nil {
			return err
		}
	}
}

// whole reads a body of JSON that is no list to its end.
func (s *stream) whole(contentType string) error {
	for !s.ended && len(s.in) <= s.p.limits.Bytes {
		if err := s.fill(); err != nil {
			return err
		}
	}
	out, err := s.p.Apply(s.ctx, nil, s.in, contentType)
	if err != nil {
		return err
	}
	_, err = s.w.Write(out)
	return err
}
