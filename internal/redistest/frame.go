package redistest

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strconv"
)

// readFrame reads one whole RESP2 or RESP3 reply and returns its bytes as they came. An attribute belongs to the reply that follows it.
func readFrame(r *bufio.Reader) ([]byte, error) {
	var out bytes.Buffer
	// pending counts the frames still to read; aggregates raise it, so nesting needs no recursion.
	for pending := 1; pending > 0; pending-- {
		line, err := r.ReadBytes('\n')
		out.Write(line)
		if err != nil {
			return out.Bytes(), fmt.Errorf("reading a reply: %w", err)
		}
		if len(line) < 3 || line[len(line)-2] != '\r' {
			return out.Bytes(), fmt.Errorf("malformed reply line %q", line)
		}
		more, err := readBody(&out, r, line)
		if err != nil {
			return out.Bytes(), err
		}
		pending += more
	}
	return out.Bytes(), nil
}

// readBody reads what a header line announces. It returns how many further frames belong to this one.
func readBody(out *bytes.Buffer, r io.Reader, line []byte) (int, error) {
	switch line[0] {
	case '+', '-', ':', '_', ',', '#', '(':
		return 0, nil
	}
	n, err := strconv.Atoi(string(line[1 : len(line)-2]))
	if err != nil {
		return 0, fmt.Errorf("length of reply %q: %w", line, err)
	}
	if n < 0 {
		return 0, nil // null bulk or null array of RESP2
	}
	switch line[0] {
	case '$', '=', '!':
		_, err := io.CopyN(out, r, int64(n)+2)
		if err != nil {
			return 0, fmt.Errorf("reading a bulk of %d bytes: %w", n, err)
		}
		return 0, nil
	case '*', '~', '>':
		return n, nil
	case '%':
		return 2 * n, nil
	case '|':
		return 2*n + 1, nil
	default:
		return 0, fmt.Errorf("unknown reply type %q", line)
	}
}
