package mysqlproto

// MaxPayload is the most bytes that one packet carries. A packet that carries as
// many is followed by another one of the same message, which may be empty.
const MaxPayload = 1<<24 - 1

// headLen is the length and the sequence number of a packet.
const headLen = 4

// AppendPacket appends a payload as one packet, or as several if it is too long
// for one. The first has the given sequence number.
func AppendPacket(dst []byte, seq byte, payload []byte) []byte {
	for {
		n := min(len(payload), MaxPayload)
		dst = append(appendHead(dst, n, seq), payload[:n]...)
		if n < MaxPayload {
			return dst
		}
		payload = payload[n:]
		seq++
	}
}

func appendHead(dst []byte, n int, seq byte) []byte {
	return append(dst, byte(n), byte(n>>8), byte(n>>16), seq)
}

// ParsePacket reads one packet of a handshake that is wholly in b, and returns
// its sequence number, its payload and its length with the head. A payload of
// more than limit bytes, or one that is continued in another packet, is refused
// with a *ProtocolError as soon as the head is there.
func ParsePacket(b []byte, limit int) (seq byte, payload []byte, n int, err error) {
	if len(b) < headLen {
		return 0, nil, 0, ErrIncomplete
	}
	size := payloadLen(b)
	if size > limit || size == MaxPayload {
		return 0, nil, 0, malformed("packet of %d bytes before the first command: more than %d", size, limit)
	}
	if len(b)-headLen < size {
		return b[3], nil, 0, ErrIncomplete
	}
	n = headLen + size
	return b[3], b[headLen:n:n], n, nil
}

func payloadLen(b []byte) int { return int(b[0]) | int(b[1])<<8 | int(b[2])<<16 }

// Head is what stands before a message's payload, and the payload's first byte.
type Head struct {
	// Len is the number of payload bytes in the message's first packet. When it
	// is MaxPayload, more packets follow.
	Len int
	// Seq is the sequence number of the first packet.
	Seq byte
	// First is the first byte of the payload, which tells what the message is;
	// 0 if the payload is empty.
	First byte
}

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

// Framer finds the messages of one direction. It gathers nothing unless told
// to: every byte that it has consumed may be passed on and forgotten. Packets
// that carry one message are taken as one. The zero value is ready.
type Framer struct {
	head   Head
	seq    byte // of the last packet, which is not the head's if a message has several
	state  framerState
	more   bool // the message goes on in the next packet
	left   int  // payload bytes of the current packet not consumed
	part   [headLen]byte
	have   int    // bytes of part
	want   int    // payload bytes that Gather asked for and that are missing
	asked  bool   // Gather was called and StepPayload was not yet returned
	pieces []byte // gathered so far, when a payload came in pieces
	result []byte
}

type framerState uint8

const (
	inHead  framerState = iota // in the four bytes before a payload
	atFirst                    // before the first byte of a message's payload
	inBody                     // in a payload
)

// Next consumes the first n bytes of b, which continues where the previous call
// stopped consuming, and tells what it stopped at. With rows set it passes by
// messages whose first byte is less than 0xfe, which no end of a result has: see
// Tracker.InRows. On StepHead the caller may call Gather; else the payload is
// skipped. Every sequence of bytes is some sequence of packets: there is no error.
func (f *Framer) Next(b []byte, rows bool) (n int, step Step) {
	f.result = nil
	if f.asked {
		if n = f.gather(b); f.asked {
			return n, StepMore
		}
		return n, StepPayload
	}
	for {
		switch f.state {
		case inBody:
			k := min(f.left, len(b)-n)
			n += k
			if f.left -= k; f.left > 0 {
				return n, StepMore
			}
			f.state = inHead
		case inHead:
			k, whole := f.readHead(b[n:])
			if n += k; !whole {
				return n, StepMore
			}
			if f.state == inBody && !rows && f.head.Len == 0 {
				return n, StepHead
			}
		case atFirst:
			if n == len(b) {
				return n, StepMore
			}
			f.head.First, f.state = b[n], inBody
			if !rows || b[n] >= headerEOF {
				return n, StepHead
			}
		}
	}
}

// readHead reads what is there of a packet's head, and says whether it is whole.
// The next state is then atFirst for a new message, inBody for one that is
// continued or has no payload.
func (f *Framer) readHead(b []byte) (n int, whole bool) {
	h := b
	if f.have > 0 || len(b) < headLen {
		n = copy(f.part[f.have:], b)
		if f.have += n; f.have < headLen {
			return n, false
		}
		h, f.have = f.part[:], 0
	} else {
		n = headLen
	}
	continued := f.more
	f.left, f.seq = payloadLen(h), h[3]
	f.more = f.left == MaxPayload
	f.state = inBody
	if continued {
		return n, true
	}
	f.head = Head{Len: f.left, Seq: f.seq}
	if f.left > 0 {
		f.state = atFirst
	}
	return n, true
}

// Head returns the head of the message that Next stopped at last.
func (f *Framer) Head() Head { return f.head }

// LastSeq returns the sequence number of the last packet that Next has seen the
// head of: what the other side says next has the following one.
func (f *Framer) LastSeq() byte { return f.seq }

// Gather asks, after StepHead, for the payload of the message's first packet, or
// its first limit bytes if it is longer: Next will return StepPayload when they
// are there. What is not whole in one buffer is copied to memory of the Framer,
// so limit bounds what a peer can make it hold.
func (f *Framer) Gather(limit int) {
	f.want, f.asked = min(limit, f.left), true
	f.pieces = nil
}

// gather consumes what Gather asked for, as far as it is there.
func (f *Framer) gather(b []byte) (n int) {
	n = min(f.want, len(b))
	f.want -= n
	f.left -= n
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

// Left returns how many payload bytes of the current packet Next has not
// consumed.
func (f *Framer) Left() int { return f.left }

// Skip says that the caller has passed on the next n bytes of the payload
// itself; n is at most Left. It must not be called while Gather is under way.
func (f *Framer) Skip(n int) { f.left -= min(n, f.left) }

// AtBoundary reports whether the bytes consumed so far end with a message.
func (f *Framer) AtBoundary() bool {
	return f.left == 0 && f.have == 0 && f.state != atFirst && !f.more && !f.asked
}
