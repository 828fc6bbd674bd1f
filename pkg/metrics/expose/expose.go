// Package expose writes metrics in the format that a scraper asks for.
//
// The text format and OpenMetrics are written here, because a scrape of many
// series spends most of its time with it: github.com/prometheus/common/expfmt, which
// tests compare with byte for byte, takes several times as long. The protobuf
// format is expfmt's.
package expose

import (
	"bytes"
	"compress/gzip"
	"net/http"
	"strings"
	"sync/atomic"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// Writer answers scrapes. Its methods may be called from any goroutine.
type Writer struct {
	// spare is one buffer for the next answer. A pool of the standard library would be
	// emptied by each second collection, and the compressor's memory, more than a
	// megabyte, taken anew.
	spare  atomic.Pointer[buffer]
	agreed atomic.Pointer[agreement]
}

// agreement is the format for a header Accept. Scrapers say the same each time,
// and to understand it takes as long as to write a short page.
type agreement struct {
	accept string
	format expfmt.Format
	typ    expfmt.FormatType
}

// longestAccept is what is kept of a header Accept, in bytes.
const longestAccept = 1 << 10

// agree chooses a format.
func (w *Writer) agree(h http.Header) *agreement {
	accept := strings.Join(h.Values("Accept"), ",")
	if a := w.agreed.Load(); a != nil && a.accept == accept {
		return a
	}
	format := negotiate(h)
	a := &agreement{accept: accept, format: format, typ: format.FormatType()}
	if len(accept) <= longestAccept {
		w.agreed.Store(a)
	}
	return a
}

// NewWriter returns a writer.
func NewWriter() *Writer { return &Writer{} }

// buffer is what an answer is made in.
type buffer struct {
	plain  []byte
	packed bytes.Buffer
	zip    *gzip.Writer // nil until it is needed
}

// maxKept is the largest buffer that is kept for the next answer, in bytes.
const maxKept = 4 << 20

// Page is an answer that is complete.
type Page struct {
	ContentType string
	Encoding    string // gzip, or "" for none
	Body        []byte // valid until Release
	writer      *Writer
	buffer      *buffer
}

// Release gives the memory of the page back.
func (p *Page) Release() {
	if cap(p.buffer.plain) <= maxKept && p.buffer.packed.Cap() <= maxKept {
		p.writer.spare.CompareAndSwap(nil, p.buffer) // one is enough
	}
}

// Page writes valid families, sorted by name, as the request asks.
func (w *Writer) Page(h http.Header, families []*dto.MetricFamily) (*Page, error) {
	a := w.agree(h)
	b := w.spare.Swap(nil)
	if b == nil {
		b = &buffer{}
	}
	p := &Page{ContentType: string(a.format), writer: w, buffer: b}
	b.plain = b.plain[:0]
	switch a.typ {
	case expfmt.TypeOpenMetrics:
		b.plain = AppendOpenMetrics(b.plain, families)
	case expfmt.TypeTextPlain:
		b.plain = AppendText(b.plain, families)
	default:
		out := bytes.NewBuffer(b.plain)
		enc := expfmt.NewEncoder(out, a.format)
		for _, f := range families {
			if err := enc.Encode(f); err != nil {
				return nil, err
			}
		}
		b.plain = out.Bytes()
	}
	p.Body = b.plain
	if !acceptsGzip(h) {
		return p, nil
	}
	b.packed.Reset()
	if b.zip == nil {
		b.zip, _ = gzip.NewWriterLevel(nil, gzip.BestSpeed) // it is a level; better ones take several times as long as all else
	}
	b.zip.Reset(&b.packed)
	if _, err := b.zip.Write(b.plain); err != nil {
		return nil, err
	}
	if err := b.zip.Close(); err != nil {
		return nil, err
	}
	p.Encoding, p.Body = "gzip", b.packed.Bytes()
	return p, nil
}

// negotiate chooses a format. All names are valid in the classic form, so no
// format has to escape one.
func negotiate(h http.Header) expfmt.Format {
	format := expfmt.NegotiateAccept(h, expfmt.DefaultOpenMetricsAcceptedFormats()...)
	if t := format.FormatType(); t == expfmt.TypeProtoDelim || t == expfmt.TypeProtoText || t == expfmt.TypeProtoCompact {
		return format
	}
	// What is written is the same for every way to escape, and who did not ask for
	// one need not be told.
	if text, _, ok := strings.Cut(string(format), "; "+model.EscapingKey+"="); ok {
		return expfmt.Format(text)
	}
	return format
}

// acceptsGzip reads Accept-Encoding, where q=0 means no.
func acceptsGzip(h http.Header) bool {
	for _, line := range h.Values("Accept-Encoding") {
		for part := range strings.SplitSeq(line, ",") {
			name, params, _ := strings.Cut(part, ";")
			if name = strings.TrimSpace(name); !strings.EqualFold(name, "gzip") && name != "*" {
				continue
			}
			q := strings.ReplaceAll(params, " ", "")
			return q != "q=0" && q != "q=0.0" && q != "q=0.00" && q != "q=0.000"
		}
	}
	return false
}
