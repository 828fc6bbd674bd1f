package httpproto

import "bytes"

// Body finds a message's body in what arrives, piece by piece. The zero value is
// a body that is over; see [Body.Start].
type Body struct {
	chunked bool
	lax     bool // chunk extensions are ignored
	endless bool // until the end of input
	limits  Limits
	left    int64 // of the body, or of the current chunk
	state   bodyState
	trailer Head
}

type bodyState uint8

const (
	bodyOver      bodyState = iota
	bodyData                // of known length, or a chunk's
	bodyChunkLine           // before a chunk
	bodyChunkEnd            // the CRLF after one
	bodyTrailer             // after the last
)

// Start begins a body of a framing. A length of -1 without chunks is one that ends
// with the input, as only a response's can. lax ignores chunk extensions, which are
// refused otherwise; l bounds a trailer section.
func (p *Body) Start(f *Framing, lax bool, l Limits) {
	p.chunked, p.lax, p.limits = f.Chunked, lax, l
	p.endless = !f.Chunked && f.Length < 0
	p.left = max(f.Length, 0)
	p.trailer.Fields = p.trailer.Fields[:0]
	switch {
	case f.Chunked:
		p.left, p.state = 0, bodyChunkLine
	case p.endless || p.left > 0:
		p.state = bodyData
	default:
		p.state = bodyOver
	}
}

// Over says that nothing of the body is to come.
func (p *Body) Over() bool { return p.state == bodyOver }

// Endless says that the body ends with the input.
func (p *Body) Endless() bool { return p.endless && p.state == bodyData }

// Left is how many bytes are to come, negative where that is not known.
func (p *Body) Left() int64 {
	if p.state != bodyOver && (p.chunked || p.endless) {
		return -1
	}
	return p.left
}

// Trailer gives the fields after the last chunk, once the body is over.
func (p *Body) Trailer() []Field { return p.trailer.Fields }

// Next takes what b begins with: used bytes, of which data, a part of b, belong to
// the body. Neither without an error means that more input is needed, or that the
// body is over. After an error it must not be called again.
func (p *Body) Next(b []byte) (data []byte, used int, err error) {
	for {
		rest := b[used:]
		var n int
		switch p.state {
		case bodyData:
			if len(rest) == 0 {
				return nil, used, nil
			}
			data = p.take(rest)
			return data, used + len(data), nil
		case bodyChunkLine, bodyChunkEnd:
			n, err = p.line(rest)
		case bodyTrailer:
			n, err = p.trailers(rest)
		case bodyOver:
			return nil, used, nil
		}
		used += n
		if n == 0 || err != nil {
			return nil, used, err
		}
	}
}

func (p *Body) take(b []byte) []byte {
	if p.endless {
		return b
	}
	b = b[:min(int64(len(b)), p.left)]
	p.left -= int64(len(b))
	switch {
	case p.left > 0:
	case p.chunked:
		p.state = bodyChunkEnd
	default:
		p.state = bodyOver
	}
	return b
}

// line takes the line before a chunk, or the end of the one after it.
func (p *Body) line(b []byte) (int, error) {
	at := bytes.IndexByte(b, '\n')
	if at < 0 {
		if len(b) > MaxChunkLine {
			return 0, ErrChunk
		}
		return 0, nil
	}
	if at > MaxChunkLine || at == 0 || b[at-1] != '\r' {
		return 0, ErrChunk
	}
	line := b[:at-1]
	if p.state == bodyChunkEnd {
		if len(line) > 0 {
			return 0, ErrChunk
		}
		p.state = bodyChunkLine
		return at + 1, nil
	}
	n, err := ParseChunkLine(line, p.lax)
	if err != nil {
		return 0, err
	}
	if p.left, p.state = n, bodyData; n == 0 {
		p.state = bodyTrailer
	}
	return at + 1, nil
}

// trailers takes the trailer section as a whole.
func (p *Body) trailers(b []byte) (int, error) {
	if len(b) >= 2 && b[0] == '\r' && b[1] == '\n' {
		p.state = bodyOver
		return 2, nil
	}
	if len(b) < 2 {
		return 0, nil
	}
	n, err := End(b, 0, p.limits.Bytes)
	if n == 0 || err != nil {
		return 0, err
	}
	if err := ParseTrailers(string(b[:n]), &p.trailer, p.limits); err != nil {
		return 0, err
	}
	p.state = bodyOver
	return n, nil
}
