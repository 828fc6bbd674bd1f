package transform

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/dragoman-mesh/dragoman/pkg/transform/value"
)

// The codings that are understood.
const (
	identity = "identity"
	gzipped  = "gzip"
	deflated = "deflate"
)

// errCoding is the error of a coding that is not understood.
var errCoding = errors.New("gzip and deflate are understood")

// codingOf gives the one content coding of a message.
func codingOf(h http.Header) (string, error) {
	list := h["Content-Encoding"]
	if len(list) == 0 {
		return identity, nil
	}
	switch name := strings.ToLower(strings.TrimSpace(list[0])); {
	case len(list) > 1:
		return "", fmt.Errorf("several content codings: %w", errCoding)
	case name == "" || name == identity:
		return identity, nil
	case name == gzipped || name == "x-gzip":
		return gzipped, nil
	case name == deflated:
		return deflated, nil
	default:
		return "", fmt.Errorf("the content coding %q: %w", list[0], errCoding)
	}
}

// decoded reads what a coding stands for. What it reads costs no more memory than
// its window; how much that is is the caller's to bound.
func decoded(r io.Reader, coding string) io.Reader {
	switch coding {
	case gzipped, deflated:
		return &decoder{in: r, coding: coding}
	default:
		return r
	}
}

// decoder opens its coding with the first read.
type decoder struct {
	in     io.Reader
	coding string
	out    io.Reader
}

// Read implements io.Reader.
func (d *decoder) Read(p []byte) (int, error) {
	if d.out == nil {
		if err := d.open(); err != nil {
			return 0, d.explain(err)
		}
	}
	n, err := d.out.Read(p)
	return n, d.explain(err)
}

// explain makes the error of a coding one of the body. Errors of what is read
// stay.
func (d *decoder) explain(err error) error {
	var corrupt flate.CorruptInputError
	switch {
	case err == nil || err == io.EOF: //nolint:errorlint // as the reader gave it
		return err
	case errors.As(err, &corrupt), errors.Is(err, gzip.ErrHeader), errors.Is(err, gzip.ErrChecksum),
		errors.Is(err, zlib.ErrHeader), errors.Is(err, zlib.ErrChecksum), errors.Is(err, zlib.ErrDictionary):
		return &value.Error{Is: value.ErrMalformed, Format: d.coding, Reason: "it cannot be decoded"}
	default:
		return err
	}
}

func (d *decoder) open() (err error) {
	in := bufio.NewReader(d.in)
	if d.coding == gzipped {
		d.out, err = gzip.NewReader(in)
		return err
	}
	// RFC 9110 section 8.4.1.2: zlib is meant, and some send what is in it alone.
	head, err := in.Peek(2)
	if err != nil {
		return err
	}
	if head[0]&0x0f == 8 && (uint(head[0])<<8|uint(head[1]))%31 == 0 {
		d.out, err = zlib.NewReader(in)
		return err
	}
	d.out = flate.NewReader(in)
	return nil
}

// accepts tells how much a client wants something, by a header as Accept and
// Accept-Encoding are; -1: it does not say.
func accepts(list []string, match func(string) int) float64 {
	q, best := -1.0, 0
	for _, line := range list {
		for part := range strings.SplitSeq(line, ",") {
			name, params, _ := strings.Cut(part, ";")
			name = strings.ToLower(strings.TrimSpace(name))
			if how := match(name); how > best {
				best, q = how, quality(params)
			}
		}
	}
	return q
}

// quality reads q=0.5 of the parameters, RFC 9110 section 12.4.2.
func quality(params string) float64 {
	for p := range strings.SplitSeq(params, ";") {
		name, text, _ := strings.Cut(p, "=")
		if strings.EqualFold(strings.TrimSpace(name), "q") {
			q, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
			if err != nil || q < 0 || q > 1 {
				return 0
			}
			return q
		}
	}
	return 1
}

// acceptsGzip tells whether a client takes gzip.
func acceptsGzip(h http.Header) bool {
	return accepts(h["Accept-Encoding"], func(name string) int {
		switch name {
		case gzipped, "x-gzip":
			return 2
		case "*":
			return 1
		}
		return 0
	}) > 0
}

// compressed is a body in gzip.
func compressed(body []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = w.Write(body) // neither it
	_ = w.Close()        // nor this fails in memory
	return out.Bytes()
}
