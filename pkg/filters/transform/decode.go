package transform

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"io"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"

	"github.com/dragoman-mesh/dragoman/pkg/transform/value"
)

const (
	// brotliWindow is the largest there is, RFC 7932 section 9.1.
	brotliWindow = 16 << 20
	// zstdWindow is the largest that HTTP allows, RFC 9659 section 3.
	zstdWindow = 8 << 20
)

// mostWindow is what decoding may take for its window, in bytes; that of gzip and
// deflate is not worth counting.
func mostWindow(coding string) int64 {
	switch coding {
	case brotlied:
		return brotliWindow
	case zstandard:
		return zstdWindow
	default:
		return 0
	}
}

// decoded reads what a coding stands for. What it reads costs no more memory than
// mostWindow; how much that is is the caller's to bound.
func decoded(r io.Reader, coding string) io.Reader {
	if coding == identity || coding == "" {
		return r
	}
	return &decoder{source: source{r: r}, coding: coding}
}

// readDecoded reads up to limit bytes of what a coding stands for. The window is
// taken of the budget meanwhile.
func (x *exchange) readDecoded(r io.Reader, coding string, size, limit int64) ([]byte, error) {
	r = decoded(r, coding)
	if d, ok := r.(*decoder); ok {
		d.take = x.take
		defer func() { x.give(d.window) }()
	}
	return x.readAll(r, size, limit)
}

// source is what a decoder reads. It keeps its error, which decoders may put into
// words of their own.
type source struct {
	r   io.Reader
	err error
}

// Read implements io.Reader.
func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

// decoder opens its coding with the first read.
type decoder struct {
	source source
	coding string
	out    io.Reader
	take   func(int64) error // asks for a window; nil: nobody is asked
	window int64             // bytes that were taken
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
	malformed := &value.Error{Is: value.ErrMalformed, Format: d.coding, Reason: "it cannot be decoded"}
	switch {
	case err == nil || err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF): //nolint:errorlint // as the reader gave it
		return err
	case d.source.err != nil:
		return d.source.err
	case errors.Is(err, zstd.ErrWindowSizeExceeded):
		return &value.Error{Is: value.ErrTooLarge, Format: d.coding, Reason: "its window is larger than 8 MiB"}
	case errors.As(err, new(*refusal)):
		return err
	case d.coding == brotlied, d.coding == zstandard:
		return malformed
	case errors.As(err, &corrupt), errors.Is(err, gzip.ErrHeader), errors.Is(err, gzip.ErrChecksum),
		errors.Is(err, zlib.ErrHeader), errors.Is(err, zlib.ErrChecksum), errors.Is(err, zlib.ErrDictionary):
		return malformed
	default:
		return err
	}
}

func (d *decoder) open() (err error) {
	in := bufio.NewReader(&d.source)
	switch d.coding {
	case gzipped:
		d.out, err = gzip.NewReader(in)
		return err
	case brotlied:
		return d.openBrotli(in)
	case zstandard:
		return d.openZstd(in)
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

// ask asks for the memory of a window.
func (d *decoder) ask(n int64) error {
	if d.take == nil {
		return nil
	}
	err := d.take(n)
	if err == nil {
		d.window = n
	}
	return err
}

// openBrotli reads the size of the window, RFC 7932 section 9.1.
func (d *decoder) openBrotli(in *bufio.Reader) error {
	head, err := in.Peek(1)
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	if err != nil {
		return err
	}
	bits := 16
	switch b := head[0]; {
	case b&1 == 0:
	case b>>1&7 != 0:
		bits = 17 + int(b>>1&7)
	case b>>4&7 == 0:
		bits = 17
	default:
		bits = 8 + int(b>>4&7) // 9 is none, and refused by the decoder
	}
	if err := d.ask(1 << bits); err != nil {
		return err
	}
	d.out = brotli.NewReader(in)
	return nil
}

// openZstd reads the size of the first frame's window, and allows those behind it
// no larger one.
func (d *decoder) openZstd(in *bufio.Reader) error {
	head, err := in.Peek(zstd.HeaderMaxSize)
	if len(head) == 0 {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	var h zstd.Header
	if err := h.Decode(head); err != nil {
		return err
	}
	window := h.WindowSize
	switch {
	case h.Skippable:
		window = zstdWindow
	case h.SingleSegment:
		window = h.FrameContentSize
	}
	window = max(window, zstd.MinWindowSize)
	if window > zstdWindow {
		return zstd.ErrWindowSizeExceeded
	}
	if err := d.ask(int64(window)); err != nil {
		return err
	}
	// With a concurrency of one there is no goroutine that would have to be ended.
	d.out, err = zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(window))
	return err
}

// encoderWindow is what encoders look back at: bodies are held, and so small.
const encoderWindow = 18 // bits

// compressed is a body in a coding.
func compressed(body []byte, coding string) []byte {
	var out bytes.Buffer
	var w io.WriteCloser
	switch coding {
	case brotlied:
		const quality = 4 // as servers have it that compress on their way
		w = brotli.NewWriterOptions(&out, brotli.WriterOptions{Quality: quality, LGWin: encoderWindow})
	case zstandard:
		e, err := zstd.NewWriter(&out, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest),
			zstd.WithLowerEncoderMem(true), zstd.WithWindowSize(1<<encoderWindow))
		if err != nil {
			panic(err) // of options that are constant
		}
		w = e
	default:
		w = gzip.NewWriter(&out)
	}
	_, _ = w.Write(body) // neither it
	_ = w.Close()        // nor this fails in memory
	return out.Bytes()
}
