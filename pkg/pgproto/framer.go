package pgproto

import "encoding/binary"

// headLen is the type byte and the length of a message.
const headLen = 5

// Head is what stands before a message's payload.
type Head struct {
	Type byte
	Len  int // payload bytes, without the four bytes of the length
}

// ParseHead reads a message's head from the first five bytes of b.
func ParseHead(b []byte, lim *Limits) (Head, error) {
	if len(b) < headLen {
		return Head{}, ErrIncomplete
	}
	size := int64(binary.BigEndian.Uint32(b[1:])) - 4
	if size < 0 || size > lim.MaxMessage {
		return Head{}, malformed("message %q has an invalid length of %d", b[0], size+4)
	}
	return Head{Type: b[0], Len: int(size)}, nil
}

// ParseMessage reads one message that is wholly in b, and returns its type, its
// payload and its length with the head.
func ParseMessage(b []byte, lim *Limits) (typ byte, payload []byte, n int, err error) {
	h, err := ParseHead(b, lim)
	if err != nil {
		return 0, nil, 0, err
	}
	if len(b)-headLen < h.Len {
		return h.Type, nil, 0, ErrIncomplete
	}
	n = headLen + h.Len
	return h.Type, b[headLen:n:n], n, nil
}

// TypeSet is a set of message types.
type TypeSet [4]uint64

// Types returns the set of the given types.
func Types(types ...byte) TypeSet {
	var s TypeSet
	for _, t := range types {
		s[t>>6] |= 1 << (t & 63)
	}
	return s
}

// Has reports whether t is in the set. The nil set has every type.
func (s *TypeSet) Has(t byte) bool { return s == nil || s[t>>6]&(1<<(t&63)) != 0 }

// Step is what Framer.Next stopped at.
type Step uint8

// The steps of Framer.Next.
const (
	// StepMore: all of the input is consumed.
	StepMore Step = iota
	// StepHead: Head is that of a new message, whose payload comes next.
	StepHead
	// StepPayload: Payload is what Gather asked for.
	StepPayload
)

// Framer finds the messages of one direction after the start-up. It gathers
// nothing unless told to: every byte that it has consumed may be passed on and
// forgotten. The zero value is ready.
type Framer struct {
	head   Head
	left   int64 // payload bytes not consumed
	part   [headLen]byte
	have   int    // bytes of part
	want   int    // payload bytes that Gather asked for and that are missing
	asked  bool   // Gather was called and StepPayload was not yet returned
	pieces []byte // gathered so far, when a payload came in pieces
	result []byte
}

// Next consumes the first n bytes of b, which continues where the previous call
// stopped consuming, and tells what it stopped at. Messages whose type is not
// in stop are passed by; nil stops at every message. On StepHead the caller may
// call Gather; else the payload is skipped. An error is a *ProtocolError.
func (f *Framer) Next(b []byte, stop *TypeSet, lim *Limits) (n int, step Step, err error) {
	f.result = nil
	if f.asked {
		if n = f.gather(b); f.asked {
			return n, StepMore, nil
		}
		return n, StepPayload, nil
	}
	for {
		if f.left > 0 {
			k := min(f.left, int64(len(b)-n))
			n += int(k)
			f.left -= k
		}
		if n == len(b) {
			return n, StepMore, nil
		}
		h := b[n:]
		switch {
		case f.have > 0 || len(h) < headLen:
			k := copy(f.part[f.have:], h)
			n += k
			f.have += k
			if f.have < headLen {
				return n, StepMore, nil
			}
			h, f.have = f.part[:], 0
		default:
			n += headLen
		}
		if f.head, err = ParseHead(h, lim); err != nil {
			return n, StepMore, err
		}
		f.left = int64(f.head.Len)
		if stop.Has(f.head.Type) {
			return n, StepHead, nil
		}
	}
}

// Head returns the head of the message that Next stopped at last.
func (f *Framer) Head() Head { return f.head }

// Gather asks, after StepHead, for the message's payload, or its first limit
// bytes if it is longer: Next will return StepPayload when they are there. What
// is not whole in one buffer is copied to memory of the Framer, so limit bounds
// what a peer can make it hold.
func (f *Framer) Gather(limit int) {
	f.want, f.asked = int(min(int64(limit), f.left)), true
	f.pieces = nil
}

// gather consumes what Gather asked for, as far as it is there.
func (f *Framer) gather(b []byte) (n int) {
	n = min(f.want, len(b))
	f.want -= n
	f.left -= int64(n)
	switch {
	case f.want > 0:
		f.pieces = append(f.pieces, b[:n]...)
		return n
	case f.pieces == nil:
		f.result = b[:n:n]
	default:
		f.result = append(f.pieces, b[:n]...)
	}
	f.asked, f.pieces = false, nil
	return n
}

// Payload returns, after StepPayload, what Gather asked for. It is valid until
// the buffer given to Next is overwritten.
func (f *Framer) Payload() []byte { return f.result }

// Left returns how many payload bytes of the current message Next has not
// consumed.
func (f *Framer) Left() int64 { return f.left }

// Skip says that the caller has passed on the next n bytes of the payload
// itself; n is at most Left. It must not be called while Gather is under way.
func (f *Framer) Skip(n int64) { f.left -= min(n, f.left) }

// AtBoundary reports whether the bytes consumed so far end with a message.
func (f *Framer) AtBoundary() bool { return f.left == 0 && f.have == 0 && !f.asked }
