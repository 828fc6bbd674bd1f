package grpcjson

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/dragoman-mesh/dragoman/pkg/bodies"
)

// headLen is what stands before a message: a flag and its length.
const headLen = 5

// Errors of framing.
var (
	errTooLarge = errors.New("a message is larger than is allowed")
	errFraming  = errors.New("the framing of gRPC is broken")
)

// frames takes a stream of gRPC messages apart, as it comes in.
type frames struct {
	max      int          // bytes of a message
	share    bodies.Share // of the budget
	encoding string       // of compressed messages, as grpc-encoding says it
	buf      []byte       // of a message that is not whole yet
}

// feed calls each for every message that is whole. It is valid until each
// returns.
func (f *frames) feed(p []byte, each func([]byte) error) error {
	for len(p) > 0 || len(f.buf) >= headLen {
		need, err := f.need(p)
		if err != nil {
			return err
		}
		if len(f.buf) == 0 && len(p) >= need {
			if err := f.message(p[:need], each); err != nil {
				return err
			}
			f.share.Set(0)
			p = p[need:]
			continue
		}
		n := min(need-len(f.buf), len(p))
		f.buf = append(f.buf, p[:n]...)
		p = p[n:]
		if !f.share.Set(len(f.buf)) {
			return errBudget
		}
		if len(f.buf) < need {
			if len(p) == 0 {
				return nil
			}
			continue
		}
		if need == headLen && len(f.buf) == headLen && binary.BigEndian.Uint32(f.buf[1:]) > 0 {
			continue // now its length is known
		}
		if err := f.message(f.buf, each); err != nil {
			return err
		}
		f.buf = emptied(f.buf)
		f.share.Set(0)
	}
	return nil
}

// need is how long what begins with buf and goes on with p is: with its message,
// if the head is there.
func (f *frames) need(p []byte) (int, error) {
	var head [headLen]byte
	n := copy(head[:], f.buf)
	n += copy(head[n:], p)
	if n < headLen {
		return headLen, nil
	}
	if head[0] > 1 {
		return 0, fmt.Errorf("%w: the flag of a message is %d", errFraming, head[0])
	}
	length := binary.BigEndian.Uint32(head[1:])
	if uint64(length) > uint64(f.max) {
		return 0, fmt.Errorf("%w: %d bytes, of %d at most", errTooLarge, length, f.max)
	}
	return headLen + int(length), nil
}

func (f *frames) message(b []byte, each func([]byte) error) error {
	if b[0] == 0 {
		return each(b[headLen:])
	}
	if f.encoding != "gzip" {
		return fmt.Errorf("%w: a message is compressed by %q", errFraming, f.encoding)
	}
	plain, err := gunzip(b[headLen:], f.max, &f.share)
	if err != nil {
		return err
	}
	return each(plain)
}

// end says whether the stream may end here.
func (f *frames) end() error {
	if len(f.buf) > 0 {
		return fmt.Errorf("%w: it ends within a message", errFraming)
	}
	return nil
}

// gunzip uncompresses b, and has share count what comes out.
func gunzip(b []byte, limit int, share *bodies.Share) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errFraming, err)
	}
	plain, err := readAll(z, limit, share)
	if err != nil && !errors.Is(err, errTooLarge) && !errors.Is(err, errBudget) {
		err = fmt.Errorf("%w: %w", errFraming, err)
	}
	return plain, err
}

// framed makes room for the head before a message is written.
func framed(dst []byte) []byte { return append(dst, 0, 0, 0, 0, 0) }

// setLength writes the length of the message that began at begin, head included.
func setLength(b []byte, begin int) []byte {
	binary.BigEndian.PutUint32(b[begin+1:], uint32(len(b)-begin-headLen))
	return b
}
