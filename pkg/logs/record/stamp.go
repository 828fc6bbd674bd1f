package record

import "time"

const second = int64(time.Second)

// stamp writes times in RFC 3339, UTC, with nine digits. Most are of the same
// second as the one before.
type stamp struct {
	second int64
	text   [19]byte // "2006-01-02T15:04:05"
	known  bool
}

func (s *stamp) append(dst []byte, nanos int64) []byte {
	sec, frac := nanos/second, nanos%second
	if frac < 0 {
		sec, frac = sec-1, frac+second
	}
	if !s.known || sec != s.second {
		s.second, s.known = sec, true
		copy(s.text[:], time.Unix(sec, 0).UTC().Format("2006-01-02T15:04:05"))
	}
	dst = append(dst, s.text[:]...)
	var digits [11]byte
	digits[0], digits[10] = '.', 'Z'
	for i := 9; i > 0; i-- {
		digits[i] = byte('0' + frac%10)
		frac /= 10
	}
	return append(dst, digits[:]...)
}
