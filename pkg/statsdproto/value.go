package statsdproto

import (
	"bytes"
	"strconv"
)

// Cut finds the parts of a line that holds one sample: what is before the first
// colon, the value, and what is behind it from the first '|' on. Two lines with
// the same head and suffix differ in their values only. ok is false for a line
// that has not these parts. Whether the line is sound, or holds more than one
// sample, is for Parse to say.
func Cut(line []byte) (head, value, suffix []byte, ok bool) {
	colon := bytes.IndexByte(line, ':')
	if colon <= 0 {
		return nil, nil, nil, false
	}
	rest := line[colon+1:]
	bar := bytes.IndexByte(rest, sectionSeparator)
	if bar < 0 {
		return nil, nil, nil, false
	}
	return line[:colon], rest[:bar], rest[bar:], true
}

// CutTimestamp takes a last section |T<digits> off a suffix.
func CutTimestamp(suffix []byte) []byte {
	n := len(suffix)
	if n == 0 || suffix[n-1] < '0' || suffix[n-1] > '9' {
		return suffix
	}
	i := n - 1
	for i > 0 && suffix[i] >= '0' && suffix[i] <= '9' {
		i--
	}
	if i > 0 && suffix[i] == 'T' && suffix[i-1] == sectionSeparator {
		return suffix[:i-1]
	}
	return suffix
}

// exactPowers are the powers of ten that a float64 holds exactly; dividing a
// whole number below 2^53 by one of them rounds once, and so correctly.
var exactPowers = [...]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15}

// ParseValue reads a number as strconv.ParseFloat does, and takes no memory for
// what is one. Numbers that are out of range are none.
func ParseValue(b []byte) (float64, bool) {
	const mostDigits = 15
	i, negative := 0, false
	if len(b) > 0 && (b[0] == '-' || b[0] == '+') {
		negative = b[0] == '-'
		i = 1
	}
	var mantissa uint64
	digits, fraction := 0, -1
	for ; i < len(b) && digits <= mostDigits; i++ {
		c := b[i] - '0'
		switch {
		case c <= 9:
			mantissa = mantissa*10 + uint64(c)
			digits++
		case b[i] == '.' && fraction < 0:
			fraction = digits
		default:
			return parseSlow(b)
		}
	}
	if digits == 0 || digits > mostDigits || i < len(b) {
		return parseSlow(b)
	}
	v := float64(mantissa)
	if fraction >= 0 {
		v /= exactPowers[digits-fraction]
	}
	if negative {
		v = -v
	}
	return v, true
}

// parseSlow reads what is not plain digits: exponents, many digits, NaN.
func parseSlow(b []byte) (float64, bool) {
	const longest = 400 // no float64 needs more; what does is no measurement
	if len(b) == 0 || len(b) > longest || !plausible(b) {
		return 0, false
	}
	v, err := strconv.ParseFloat(string(b), 64)
	return v, err == nil
}

// plausible tells whether b may be a number, since strconv's error takes memory.
func plausible(b []byte) bool {
	digits := 0
	for _, c := range b {
		switch {
		case c >= '0' && c <= '9':
			digits++
		case c >= 'a' && c <= 'f', c >= 'A' && c <= 'F':
		case c == '.', c == '+', c == '-', c == 'x', c == 'X', c == 'p', c == 'P', c == '_':
		default:
			return isWord(b)
		}
	}
	return digits > 0 || isWord(b)
}

// isWord tells whether b spells what has no digits.
func isWord(b []byte) bool {
	if len(b) > 0 && (b[0] == '+' || b[0] == '-') {
		b = b[1:]
	}
	return bytes.EqualFold(b, []byte("inf")) || bytes.EqualFold(b, []byte("infinity")) || bytes.EqualFold(b, []byte("nan"))
}
