package httpproto

import (
	"errors"
	"strings"
)

// Errors of a message's framing.
var (
	ErrLength         = malformed("Content-Length")
	ErrTwoFramings    = malformed("Content-Length beside Transfer-Encoding")
	ErrHost           = malformed("Host")
	ErrChunk          = malformed("chunk")
	ErrChunkExtension = malformed("chunk extension")
	// ErrEncoding is a transfer coding that is not known; 501 by RFC 9112
	// section 6.1.
	ErrEncoding = errors.New("transfer coding is not chunked")
)

// Framing says how a body is delimited.
type Framing struct {
	Chunked bool
	Length  int64 // -1: none is given
	// Close says that the connection ends with this message, KeepAlive that the
	// sender of a 1.0 message asks for the contrary.
	Close, KeepAlive bool
	// Upgrade says that Connection names it.
	Upgrade bool
	// Expect says that the sender waits for "100 Continue".
	Expect bool
	Host   string
	hosts  int
}

// FramingOf reads what the fields say of the framing. drop allows a
// Content-Length beside chunks, which then means nothing.
func FramingOf(h *Head, drop bool) (Framing, error) {
	f := Framing{Length: -1}
	for i := range h.Fields {
		if err := f.field(&h.Fields[i], h.Minor); err != nil {
			return f, err
		}
	}
	if f.Chunked && f.Length >= 0 {
		if !drop {
			return f, ErrTwoFramings
		}
		f.Length = -1
	}
	if h.Minor == 0 && !f.KeepAlive {
		f.Close = true
	}
	return f, nil
}

// RequestFraming is FramingOf for a request, whose Host must be right too.
func RequestFraming(h *Head, drop bool) (Framing, error) {
	f, err := FramingOf(h, drop)
	if err == nil && (f.hosts > 1 || f.hosts == 0 && h.Minor == 1) {
		err = ErrHost
	}
	return f, err
}

func (f *Framing) field(x *Field, minor int) error {
	switch len(x.Name) {
	case len("Host"):
		if strings.EqualFold(x.Name, "Host") {
			f.Host = x.Value
			f.hosts++
		}
	case len("Expect"):
		if strings.EqualFold(x.Name, "Expect") {
			f.Expect = minor == 1 && strings.EqualFold(x.Value, "100-continue")
		}
	case len("Connection"):
		if strings.EqualFold(x.Name, "Connection") {
			f.connection(x.Value)
		}
	case len("Content-Length"):
		if strings.EqualFold(x.Name, "Content-Length") {
			n, ok := parseLength(x.Value)
			if !ok || f.Length >= 0 {
				return ErrLength
			}
			f.Length = n
		}
	case len("Transfer-Encoding"):
		if strings.EqualFold(x.Name, "Transfer-Encoding") {
			if f.Chunked || minor == 0 {
				return ErrTwoFramings
			}
			if !strings.EqualFold(x.Value, "chunked") {
				return ErrEncoding
			}
			f.Chunked = true
		}
	}
	return nil
}

func (f *Framing) connection(value string) {
	for value != "" {
		var option string
		option, value, _ = strings.Cut(value, ",")
		switch option = trim(option); {
		case strings.EqualFold(option, "close"):
			f.Close = true
		case strings.EqualFold(option, "keep-alive"):
			f.KeepAlive = true
		case strings.EqualFold(option, "upgrade"):
			f.Upgrade = true
		}
	}
}

// parseLength takes digits only: no sign, no list.
func parseLength(s string) (int64, bool) {
	if s == "" || len(s) > 18 {
		return 0, false
	}
	var n int64
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + int64(s[i]-'0')
	}
	return n, true
}

// MaxChunkLine bounds the line before a chunk, in bytes.
const MaxChunkLine = 256

// ParseChunkLine reads the size of a chunk from its line, without CRLF. Chunk
// extensions are ignored if lax, and refused otherwise: proxies have disagreed
// on where they end.
func ParseChunkLine(line []byte, lax bool) (int64, error) {
	var n int64
	i := 0
	for ; i < len(line); i++ {
		d := hexDigit(line[i])
		if d < 0 {
			break
		}
		if i >= 15 {
			return 0, ErrChunk
		}
		n = n<<4 | int64(d)
	}
	if i == 0 {
		return 0, ErrChunk
	}
	if i == len(line) {
		return n, nil
	}
	if rest := trim(string(line[i:])); rest != "" && rest[0] != ';' || !validValue(rest) {
		return 0, ErrChunk
	}
	if !lax {
		return 0, ErrChunkExtension
	}
	return n, nil
}

func hexDigit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// AppendChunkLine begins a chunk of n bytes.
func AppendChunkLine(b []byte, n int) []byte {
	const digits = "0123456789abcdef"
	shift := 0
	for n>>shift > 15 {
		shift += 4
	}
	for ; shift >= 0; shift -= 4 {
		b = append(b, digits[n>>shift&15])
	}
	return append(b, '\r', '\n')
}

// AppendField adds a field line.
func AppendField(b []byte, name, value string) []byte {
	b = append(b, name...)
	b = append(b, ':', ' ')
	b = append(b, value...)
	return append(b, '\r', '\n')
}
