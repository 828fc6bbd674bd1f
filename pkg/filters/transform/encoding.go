package transform

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// The codings that are understood.
const (
	identity  = "identity"
	gzipped   = "gzip"
	deflated  = "deflate"
	brotlied  = "br"   // RFC 7932
	zstandard = "zstd" // RFC 8878

	understood = "gzip, deflate, br, zstd"
)

// errCoding is the error of a coding that is not understood.
var errCoding = errors.New(understood + " are understood")

// codingOf gives the one content coding of a message.
func codingOf(h http.Header) (string, error) {
	list := h["Content-Encoding"]
	if len(list) == 0 {
		return identity, nil
	}
	switch name := strings.ToLower(strings.TrimSpace(list[0])); {
	case len(list) > 1:
		return "", fmt.Errorf("several content codings: %w", errCoding)
	case name == "" || name == identity:
		return identity, nil
	case name == gzipped || name == "x-gzip":
		return gzipped, nil
	case name == deflated, name == brotlied, name == zstandard:
		return name, nil
	default:
		return "", fmt.Errorf("the content coding %q: %w", list[0], errCoding)
	}
}

// accepts tells how much a client wants something, by a header as Accept and
// Accept-Encoding are; -1: it does not say.
func accepts(list []string, match func(string) int) float64 {
	q, best := -1.0, 0
	for _, line := range list {
		for part := range strings.SplitSeq(line, ",") {
			name, params, _ := strings.Cut(part, ";")
			name = strings.ToLower(strings.TrimSpace(name))
			if how := match(name); how > best {
				best, q = how, quality(params)
			}
		}
	}
	return q
}

// quality reads q=0.5 of the parameters, RFC 9110 section 12.4.2.
func quality(params string) float64 {
	for p := range strings.SplitSeq(params, ";") {
		name, text, _ := strings.Cut(p, "=")
		if strings.EqualFold(strings.TrimSpace(name), "q") {
			q, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
			if err != nil || q < 0 || q > 1 {
				return 0
			}
			return q
		}
	}
	return 1
}

// takes tells whether a client takes a coding.
func takes(h http.Header, coding string) bool {
	return accepts(h["Accept-Encoding"], func(name string) int {
		switch {
		case name == coding, coding == gzipped && name == "x-gzip":
			return 2
		case name == "*":
			return 1
		}
		return 0
	}) > 0
}

// offered are the codings that the app may answer in: those that the client takes,
// since its answer is to be in the same.
func offered(h http.Header) string {
	var list []string
	for _, coding := range []string{zstandard, brotlied, gzipped} {
		if takes(h, coding) {
			list = append(list, coding)
		}
	}
	if list == nil {
		return identity
	}
	return strings.Join(list, ", ")
}

// answered is the coding of an answer whose source was in another one: the same, or
// gzip, or none, as the client takes them.
func answered(h http.Header, coding string) string {
	switch {
	case coding != deflated && takes(h, coding):
		return coding
	case takes(h, gzipped):
		return gzipped
	default:
		return identity
	}
}
