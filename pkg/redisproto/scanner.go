package redisproto

import "errors"

// Scanner finds the end of one reply without gathering it: every byte that it
// has consumed may be passed on and forgotten. The zero value is ready; after
// the end of a frame it is ready for the next. It needs no memory besides its
// own few words, however large or deep the frame is.
type Scanner struct {
	pending int64 // values whose first byte has not been consumed
	bulk    int64 // bytes left of a payload, with its CRLF
	open    bool  // a frame has begun and its end was not yet reported
	line    bool  // inside a simple string or another type that is one line
}

// Scan consumes the first n bytes of b, which continues where the previous call
// stopped consuming. When done, the frame ends at b[n]. Otherwise b[n:], at most
// a few bytes of an unfinished line, must be presented again with more behind
// them. An error is a *ProtocolError.
func (s *Scanner) Scan(b []byte, lim *Limits) (n int, done bool, err error) {
	if !s.open {
		if len(b) == 0 {
			return 0, false, nil
		}
		s.open, s.pending = true, 1
	}
	for {
		if s.bulk > 0 {
			k, err := s.scanBulk(b[n:])
			n += k
			if s.bulk > 0 || err != nil {
				return n, false, err
			}
		}
		if s.line {
			n += s.scanLine(b[n:])
			if s.line {
				return n, false, nil
			}
		}
		if s.pending == 0 {
			s.open = false
			return n, true, nil
		}
		if n == len(b) {
			return n, false, nil
		}
		k, err := s.scanHeader(b[n:], lim)
		n += k
		if k == 0 || err != nil {
			return n, false, err
		}
	}
}

// scanHeader begins a value. It consumes nothing if its first line is not
// whole and has to be.
func (s *Scanner) scanHeader(b []byte, lim *Limits) (int, error) {
	switch b[0] {
	case '+', '-', ':', ',', '(', '#', '_':
		s.line = true
		s.pending--
		return 1, nil
	}
	h, err := parseHeader(b, 0, lim)
	if err != nil {
		if errors.Is(err, ErrIncomplete) {
			return 0, nil
		}
		return 0, err
	}
	s.pending += h.values
	s.bulk = h.payload
	if s.pending > maxPending {
		return 0, errCount(b[0])
	}
	return h.next, nil
}

// scanLine consumes a line as far as it is there, but never a CR alone, so that
// no state is needed for a CRLF that is cut in two.
func (s *Scanner) scanLine(b []byte) int {
	if end := lineEnd(b, 0); end != lineIncomplete {
		s.line = false
		return end
	}
	if len(b) > 0 && b[len(b)-1] == '\r' {
		return len(b) - 1
	}
	return len(b)
}

// scanBulk consumes a payload as far as it is there and checks its CRLF.
func (s *Scanner) scanBulk(b []byte) (int, error) {
	k := min(s.bulk, int64(len(b)))
	if s.bulk-k < 2 {
		if cr := s.bulk - 2; cr >= 0 && cr < k && b[cr] != '\r' {
			return 0, errBulkEnd()
		}
		if k == s.bulk && b[k-1] != '\n' {
			return 0, errBulkEnd()
		}
	}
	s.bulk -= k
	return int(k), nil
}

// BulkLeft returns how many bytes are missing of the payload that Scan stopped
// in, its CRLF included; 0 if it stopped elsewhere.
func (s *Scanner) BulkLeft() int64 { return s.bulk }

// Payload consumes a piece of the payload that Scan stopped in, at most BulkLeft
// bytes, for a caller that gets payloads in another way. Scan then reports the
// end of the frame, even if it is given no bytes. The error, a *ProtocolError, is
// about the payload's CRLF; nothing of b is to be passed on then.
func (s *Scanner) Payload(b []byte) error {
	_, err := s.scanBulk(b)
	return err
}

// Reset forgets the frame.
func (s *Scanner) Reset() { *s = Scanner{} }
