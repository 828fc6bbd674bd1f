package redisproto

// Results of parseLine besides the offset after the line.
const (
	lineIncomplete = 0
	lineMalformed  = -1
)

// maxLineDigits keeps the value of a length within int64.
const maxLineDigits = 18

// parseLine reads the decimal from b[i] up to CRLF, and returns its value and
// the offset after the CRLF, or lineIncomplete or lineMalformed. As in Redis
// there is no plus sign, no space and no leading zero.
func parseLine(b []byte, i int) (v int64, next int) {
	if i+2 < len(b) && b[i+1] == '\r' && b[i+2] == '\n' {
		if d := b[i] - '0'; d <= 9 {
			return int64(d), i + 3
		}
	}
	return parseLongLine(b, i)
}

func parseLongLine(b []byte, i int) (v int64, next int) {
	// Most keys and values have 10 to 99 bytes.
	if i+3 < len(b) && b[i+2] == '\r' && b[i+3] == '\n' {
		if tens, ones := b[i]-'0', b[i+1]-'0'; tens-1 < 9 && ones <= 9 {
			return int64(tens)*10 + int64(ones), i + 4
		}
	}
	neg := i < len(b) && b[i] == '-'
	if neg {
		i++
	}
	start := i
	for ; i < len(b); i++ {
		d := b[i] - '0'
		if d > 9 {
			break
		}
		if i-start == maxLineDigits || (i > start && v == 0) {
			return 0, lineMalformed
		}
		v = v*10 + int64(d)
	}
	if i == len(b) {
		return 0, lineIncomplete
	}
	if i == start || b[i] != '\r' || (neg && v == 0) {
		return 0, lineMalformed
	}
	if i+1 == len(b) {
		return 0, lineIncomplete
	}
	if b[i+1] != '\n' {
		return 0, lineMalformed
	}
	if neg {
		v = -v
	}
	return v, i + 2
}
