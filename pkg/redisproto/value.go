package redisproto

import (
	"iter"
	"strconv"
)

// firstElems is the room for the elements of an aggregate before one was read.
const firstElems = 16

// Value is one reply. Its slices alias the input.
type Value struct {
	// Kind is the type byte of the wire: + - : $ * _ # , ( ! = % ~ >
	Kind byte
	// Str is the text of + - , ( and the payload of $ ! =
	Str []byte
	// Int is the value of : and 0 or 1 for #
	Int int64
	// Elems are the elements of * ~ > and the keys and values of % in turn.
	Elems []Value
	// Null is true for _ and the null bulk and array of RESP2.
	Null bool
}

// IsError reports whether the value is an error, simple or bulk.
func (v *Value) IsError() bool { return v.Kind == '-' || v.Kind == '!' }

// Text returns Str without the format that a verbatim string begins with.
func (v *Value) Text() []byte {
	if v.Kind == '=' && len(v.Str) >= 4 && v.Str[3] == ':' {
		return v.Str[4:]
	}
	return v.Str
}

// ParseValue reads the reply at b[0] and returns it with its length. The error
// is ErrIncomplete or a *ProtocolError. Attributes are skipped.
func ParseValue(b []byte, lim *Limits) (v Value, n int, err error) {
	return parseValue(b, 0, lim, lim.MaxDepth)
}

func parseValue(b []byte, i int, lim *Limits, depth int) (v Value, next int, err error) {
	i, err = skipAttributes(b, i, lim)
	if err != nil {
		return v, 0, err
	}
	v.Kind = b[i]
	switch v.Kind {
	case '+', '-', ':', ',', '(', '#', '_':
		next = lineEnd(b, i+1)
		if next == lineIncomplete {
			return v, 0, ErrIncomplete
		}
		v.Str = b[i+1 : next-2]
		return v, next, v.parseText()
	}
	h, err := parseHeader(b, i, lim)
	if err != nil {
		return v, 0, err
	}
	if b[i+1] == '-' {
		v.Null = true
		return v, h.next, nil
	}
	if h.payload > 0 {
		next, err = bulkEnd(b, h)
		if err != nil {
			return v, 0, err
		}
		v.Str = b[h.next : next-2]
		return v, next, nil
	}
	if depth == 0 {
		return v, 0, &ProtocolError{Reason: "reply nests too deep"}
	}
	return v.parseElems(b, h, lim, depth-1)
}

func (v *Value) parseElems(b []byte, h header, lim *Limits, depth int) (Value, int, error) {
	count, next := h.values+1, h.next
	// The count alone must not take memory.
	v.Elems = make([]Value, 0, min(count, firstElems))
	for range count {
		elem, end, err := parseValue(b, next, lim, depth)
		if err != nil {
			return *v, 0, err
		}
		v.Elems = append(v.Elems, elem)
		next = end
	}
	return *v, next, nil
}

// parseText checks the types that are one line and sets what they mean.
func (v *Value) parseText() error {
	ok := true
	switch v.Kind {
	case ':':
		n, err := strconv.ParseInt(string(v.Str), 10, 64)
		v.Int, v.Str, ok = n, nil, err == nil
	case '#':
		ok = len(v.Str) == 1 && (v.Str[0] == 't' || v.Str[0] == 'f')
		if ok && v.Str[0] == 't' {
			v.Int = 1
		}
		v.Str = nil
	case '_':
		v.Null, ok, v.Str = true, len(v.Str) == 0, nil
	}
	if !ok {
		return &ProtocolError{Reason: "invalid '" + printable(v.Kind) + "' reply"}
	}
	return nil
}

// skipAttributes returns the offset of the value at or after b[i], of which at
// least the first byte is there.
func skipAttributes(b []byte, i int, lim *Limits) (int, error) {
	for i < len(b) && b[i] == '|' {
		h, err := parseHeader(b, i, lim)
		if err != nil {
			return 0, err
		}
		i = h.next
		for range h.values {
			n, err := FrameLen(b[i:], lim)
			if err != nil {
				return 0, err
			}
			i += n
		}
	}
	if i >= len(b) {
		return 0, ErrIncomplete
	}
	return i, nil
}

// Elements returns how many elements the aggregate in frame has, and their raw
// frames in order; for a map 2n, keys and values in turn. The count is -1 for
// null. The error is a *ProtocolError if frame is no aggregate, ErrIncomplete if
// not even its header is whole. The iteration ends early where frame is not the
// whole, valid frame that FrameLen or Scanner found.
func Elements(frame []byte) (count int, seq iter.Seq[[]byte], err error) {
	lim := Limits{MaxBulk: int64(len(frame))}
	i, err := skipAttributes(frame, 0, &lim)
	if err != nil {
		return 0, nil, err
	}
	switch frame[i] {
	case '_':
		return -1, noElements, nil
	case '*', '~', '>', '%':
	default:
		return 0, nil, &ProtocolError{Reason: "expected an aggregate, got '" + printable(frame[i]) + "'"}
	}
	h, err := parseHeader(frame, i, &lim)
	if err != nil {
		return 0, nil, err
	}
	if frame[i+1] == '-' {
		return -1, noElements, nil
	}
	count = int(h.values + 1)
	return count, func(yield func([]byte) bool) {
		rest := frame[h.next:]
		for range count {
			n, err := FrameLen(rest, &lim)
			if err != nil || !yield(rest[:n:n]) {
				return
			}
			rest = rest[n:]
		}
	}, nil
}

func noElements(func([]byte) bool) {}
