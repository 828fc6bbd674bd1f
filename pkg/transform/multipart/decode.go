package multipart

import (
	"mime"
	"strconv"
	"strings"

	"github.com/dragoman-mesh/dragoman/pkg/transform/charset"
	"github.com/dragoman-mesh/dragoman/pkg/transform/fields"
	"github.com/dragoman-mesh/dragoman/pkg/transform/value"
)

// Format is the name that errors have.
const Format = "multipart"

// The members of an object that is a file.
const (
	fileName = "#filename"
	fileType = "#type"
	fileData = "#data"
)

const (
	maxHeader  = 8 << 10 // bytes of a part's header
	octets     = "application/octet-stream"
	maxBound   = 70 // RFC 2046, section 5.1.1
	delimiters = "\r\n--"
)

// Boundary returns that of a Content-Type, or that which a body without one
// begins with; empty if there is none.
func Boundary(contentType, body string) string {
	if _, params, err := mime.ParseMediaType(contentType); err == nil && params["boundary"] != "" {
		return params["boundary"]
	}
	line, _, ok := strings.Cut(body[:min(len(body), maxBound+4)], "\r\n")
	boundary, dashes := strings.CutPrefix(line, "--")
	if !ok || !dashes {
		return ""
	}
	return strings.TrimSuffix(boundary, "--")
}

// Decode reads parts into doc.
func Decode(doc *value.Doc, src, contentType string, opt *Options, lim *value.Limits) (value.ID, error) {
	boundary := Boundary(contentType, src)
	if boundary == "" || len(boundary) > maxBound {
		return value.None, &value.Error{Is: value.ErrMalformed, Format: Format, Reason: "the Content-Type has no boundary, or one that is too long"}
	}
	p := parser{text: src, delimiter: delimiters + boundary, fields: fields.Builder{Opt: opt, Doc: doc, Lim: lim}}
	first := p.delimiter[2:]
	if p.pos = strings.Index(src, first); p.pos > 0 && !strings.HasPrefix(src[p.pos-2:], p.delimiter) || p.pos < 0 {
		p.pos = 0
		return value.None, p.wrong("the boundary is not at the beginning of a line")
	}
	p.pos += len(first)
	root := p.fields.Root()
	for {
		last, err := p.lineEnd()
		if last || err != nil {
			return root, err
		}
		if err := p.part(); err != nil {
			return value.None, err
		}
		if doc.Full() {
			return value.None, value.TooLarge(Format, "more than "+strconv.Itoa(lim.Nodes)+" values")
		}
	}
}

type parser struct {
	text      string
	pos       int
	delimiter string // with the line end before it
	fields    fields.Builder
}

func (p *parser) wrong(reason string) error {
	if p.pos >= len(p.text) {
		reason = "it ends too early"
	}
	return value.Malformed(Format, p.text, p.pos, reason)
}

// lineEnd passes what follows a boundary; last tells that no part does.
func (p *parser) lineEnd() (last bool, err error) {
	rest := p.text[p.pos:]
	if strings.HasPrefix(rest, "--") {
		return true, nil // what follows is for nobody
	}
	line, _, ok := strings.Cut(rest, "\r\n")
	if !ok || strings.Trim(line, " \t") != "" {
		return false, p.wrong("the end of the line was expected after the boundary")
	}
	p.pos += len(line) + 2
	return false, nil
}

// part is what a part's header says, and what is in it.
type part struct {
	name, filename, contentType string
	file                        bool
}

// part reads one, and the boundary after it.
func (p *parser) part() error {
	start := p.pos
	h, err := p.header()
	if err != nil {
		return err
	}
	// The line end before a boundary belongs to it, even that of the header's end.
	n := strings.Index(p.text[p.pos-2:], p.delimiter)
	if n < 0 {
		p.pos = len(p.text)
		return p.wrong("")
	}
	body := p.text[p.pos:max(p.pos, p.pos-2+n)]
	id, err := p.value(&h, body)
	if err != nil {
		return value.In(err, h.name)
	}
	if err := p.fields.Add(h.name, id); err != nil {
		p.pos = start
		return value.In(p.wrong(err.Error()), h.name)
	}
	p.pos += n - 2 + len(p.delimiter)
	return nil
}

func (p *parser) value(h *part, body string) (value.ID, error) {
	doc := p.fields.Doc
	media, _, _ := strings.Cut(h.contentType, ";")
	if !h.file && !strings.EqualFold(strings.TrimSpace(media), octets) {
		text, err := charset.Text(Format, body, charset.Of(h.contentType))
		if err != nil {
			return value.None, err
		}
		return doc.New(value.String, text), nil
	}
	data := doc.New(value.Bytes, body)
	if !h.file {
		return data, nil
	}
	object := doc.New(value.Object, "")
	doc.Set(object, fileName, doc.New(value.String, h.filename))
	if h.contentType != "" {
		doc.Set(object, fileType, doc.New(value.String, h.contentType))
	}
	doc.Set(object, fileData, data)
	return object, nil
}

// header reads the header of a part, up to the empty line.
func (p *parser) header() (part, error) {
	var h part
	end := strings.Index(p.text[p.pos:min(len(p.text), p.pos+maxHeader)], "\r\n\r\n")
	if end < 0 {
		return h, p.wrong("the header of a part has no end, or is too long")
	}
	for line := range strings.SplitSeq(p.text[p.pos:p.pos+end], "\r\n") {
		name, text, ok := strings.Cut(line, ":")
		text = strings.TrimSpace(text)
		switch strings.ToLower(name) {
		case "content-disposition":
			kind, params, err := mime.ParseMediaType(text)
			if err != nil || kind != "form-data" || params["name"] == "" {
				return h, p.wrong("a Content-Disposition that is not form-data with a name")
			}
			h.name = params["name"]
			h.filename, h.file = params["filename"]
		case "content-type":
			h.contentType = text
		case "content-transfer-encoding":
			if !strings.EqualFold(text, "binary") && !strings.EqualFold(text, "8bit") && !strings.EqualFold(text, "7bit") {
				return h, p.wrong("a Content-Transfer-Encoding, which is not understood")
			}
		default:
			if !ok {
				return h, p.wrong("a line of the header without a colon")
			}
		}
	}
	if h.name == "" {
		return h, p.wrong("a part without a name")
	}
	for _, s := range []string{h.name, h.filename, h.contentType} {
		if len(s) > p.fields.Lim.Name {
			return h, value.TooLarge(Format, "a name of more than "+strconv.Itoa(p.fields.Lim.Name)+" bytes")
		}
		if _, err := charset.Text(Format, s, ""); err != nil {
			return h, p.wrong("a header that is not UTF-8")
		}
	}
	p.pos += end + 4
	return h, nil
}
