package redisproto

import "bytes"

// maxPending bounds how many values a frame may still announce, so that nested
// counts cannot overflow.
const maxPending = 1 << 40

// FrameLen returns the length of the reply frame that begins at b[0], or
// ErrIncomplete if b ends before it, or a *ProtocolError. Attributes belong to
// the value after them. It begins anew at each call: for a frame that arrives
// in many pieces use Scanner.
func FrameLen(b []byte, lim *Limits) (n int, err error) {
	pending := int64(1)
	for pending > 0 {
		if n >= len(b) {
			return 0, ErrIncomplete
		}
		switch kind := b[n]; kind {
		case '+', '-', ':', ',', '(', '#', '_':
			next := lineEnd(b, n+1)
			if next == lineIncomplete {
				return 0, ErrIncomplete
			}
			n = next
			pending--
		default:
			h, err := parseHeader(b, n, lim)
			if err != nil {
				return 0, err
			}
			if n, err = bulkEnd(b, h); err != nil {
				return 0, err
			}
			pending += h.values
			if pending > maxPending {
				return 0, errCount(kind)
			}
		}
	}
	return n, nil
}

// lineEnd returns the offset after the first CRLF at or after b[i], or
// lineIncomplete.
func lineEnd(b []byte, i int) int {
	for {
		k := bytes.IndexByte(b[i:], '\r')
		if k < 0 || i+k+1 >= len(b) {
			return lineIncomplete
		}
		i += k + 1
		if b[i] == '\n' {
			return i + 1
		}
	}
}

// header is the first line of a bulk or an aggregate.
type header struct {
	next    int   // offset after the line
	payload int64 // bytes that follow it, with their CRLF; 0 if none
	values  int64 // how many more values than before the frame now needs
}

// parseHeader reads the line at b[i], whose type is not one of the line types.
func parseHeader(b []byte, i int, lim *Limits) (header, error) {
	kind := b[i]
	v, next := parseLine(b, i+1)
	if next == lineIncomplete {
		if !isHeaderKind(kind) {
			return header{}, errKind(kind)
		}
		return header{}, ErrIncomplete
	}
	switch kind {
	case '$', '!', '=':
		if kind == '$' && v == -1 && next > 0 {
			return header{next: next, values: -1}, nil
		}
		if next == lineMalformed || v < 0 || v > lim.MaxBulk {
			return header{}, &ProtocolError{Reason: "invalid bulk length"}
		}
		return header{next: next, payload: v + 2, values: -1}, nil
	case '*', '~', '>', '%', '|':
		if kind == '*' && v == -1 && next > 0 {
			return header{next: next, values: -1}, nil
		}
		if next == lineMalformed || v < 0 || v > maxPending {
			return header{}, errCount(kind)
		}
		return header{next: next, values: announced(kind, v)}, nil
	}
	return header{}, errKind(kind)
}

// announced returns how an aggregate of v elements or pairs changes the number
// of values that are still to come: it is one of those itself, except for an
// attribute, which comes before one.
func announced(kind byte, v int64) int64 {
	switch kind {
	case '%':
		return 2*v - 1
	case '|':
		return 2 * v
	}
	return v - 1
}

// bulkEnd returns the offset after the header and its payload.
func bulkEnd(b []byte, h header) (int, error) {
	if h.payload == 0 {
		return h.next, nil
	}
	if h.payload > int64(len(b)-h.next) {
		return 0, ErrIncomplete
	}
	end := h.next + int(h.payload)
	if b[end-2] != '\r' || b[end-1] != '\n' {
		return 0, errBulkEnd()
	}
	return end, nil
}

func isHeaderKind(kind byte) bool {
	switch kind {
	case '$', '!', '=', '*', '~', '>', '%', '|':
		return true
	}
	return false
}

func errBulkEnd() error { return &ProtocolError{Reason: "expected CRLF after bulk"} }

func errCount(kind byte) error {
	return &ProtocolError{Reason: "invalid length of '" + printable(kind) + "' reply"}
}

func errKind(kind byte) error {
	if kind == ';' || kind == '.' {
		return &ProtocolError{Reason: "streamed replies are not supported"}
	}
	return &ProtocolError{Reason: "unknown reply type '" + printable(kind) + "'"}
}
