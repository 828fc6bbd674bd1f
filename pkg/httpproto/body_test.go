package httpproto_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/pkg/httpproto"
)

// readBody gives a body its input in pieces of a size, and tells what came of it.
func readBody(f httpproto.Framing, lax bool, in string, piece int) (data string, rest int, trailer []httpproto.Field, over bool, err error) {
	var p httpproto.Body
	p.Start(&f, lax, httpproto.Limits{Bytes: 1 << 10, Fields: 4})
	var out bytes.Buffer
	kept, at := "", 0
	for at < len(in) && !p.Over() {
		n := min(piece, len(in)-at)
		kept += in[at : at+n]
		at += n
		for {
			d, used, err := p.Next([]byte(kept))
			out.Write(d)
			kept = kept[used:]
			if err != nil {
				return out.String(), 0, nil, false, err
			}
			if len(d) == 0 {
				break
			}
		}
	}
	return out.String(), len(kept) + len(in) - at, p.Trailer(), p.Over(), nil
}

func TestBody(t *testing.T) {
	t.Parallel()
	chunked := httpproto.Framing{Chunked: true, Length: -1}
	tests := map[string]struct {
		framing httpproto.Framing
		lax     bool
		in      string
		data    string
		rest    int // bytes behind the body
		trailer []httpproto.Field
		open    bool // more is to come
		err     error
	}{
		"none":                {framing: httpproto.Framing{}, in: "GET", rest: 3},
		"length":              {framing: httpproto.Framing{Length: 4}, in: "bodyGET", data: "body", rest: 3},
		"half":                {framing: httpproto.Framing{Length: 8}, in: "body", data: "body", open: true},
		"until the end":       {framing: httpproto.Framing{Length: -1}, in: "body", data: "body", open: true},
		"chunks":              {framing: chunked, in: "3\r\nabc\r\n00a\r\n0123456789\r\n0\r\n\r\nGET", data: "abc0123456789", rest: 3},
		"no chunk":            {framing: chunked, in: "0\r\n\r\n", data: ""},
		"trailer":             {framing: chunked, in: "1\r\na\r\n0\r\nX: y\r\n\r\n", data: "a", trailer: []httpproto.Field{{Name: "X", Value: "y"}}},
		"half a chunk":        {framing: chunked, in: "5\r\nabc", data: "abc", open: true},
		"half a trailer":      {framing: chunked, in: "0\r\nX: y\r\n", open: true},
		"extension":           {framing: chunked, in: "1;a=b\r\na\r\n0\r\n\r\n", err: httpproto.ErrChunkExtension},
		"extension, lax":      {framing: chunked, lax: true, in: "1;a=b\r\na\r\n0;c\r\n\r\n", data: "a"},
		"longer than said":    {framing: chunked, in: "1\r\nab\r\n0\r\n\r\n", data: "a", err: httpproto.ErrChunk},
		"bare LF":             {framing: chunked, in: "1\na\r\n0\r\n\r\n", err: httpproto.ErrChunk},
		"bare LF behind":      {framing: chunked, in: "1\r\na\n0\r\n\r\n", data: "a", err: httpproto.ErrChunk},
		"no number":           {framing: chunked, in: "0x1\r\na\r\n", err: httpproto.ErrChunk},
		"negative":            {framing: chunked, in: "-1\r\na\r\n", err: httpproto.ErrChunk},
		"too large a number":  {framing: chunked, in: "ffffffffffffffff\r\na\r\n", err: httpproto.ErrChunk},
		"line without an end": {framing: chunked, in: strings.Repeat("0", 300), err: httpproto.ErrChunk},
		"folded trailer":      {framing: chunked, in: "0\r\nX: y\r\n z\r\n\r\n", err: httpproto.ErrMalformed},
		"trailer, bare LF":    {framing: chunked, in: "0\r\nX: y\n\r\n", err: httpproto.ErrMalformed},
		"large trailer":       {framing: chunked, in: "0\r\nX: " + strings.Repeat("y", 2000) + "\r\n\r\n", err: httpproto.ErrTooLarge},
		"many trailers":       {framing: chunked, in: "0\r\n" + strings.Repeat("X: y\r\n", 5) + "\r\n", err: httpproto.ErrTooMany},
	}
	for name, tt := range tests {
		for _, piece := range []int{1, 2, 7, 4096} {
			t.Run(fmt.Sprint(name, " by ", piece), func(t *testing.T) {
				t.Parallel()
				data, rest, trailer, over, err := readBody(tt.framing, tt.lax, tt.in, piece)
				if !errors.Is(err, tt.err) {
					t.Fatalf("error %v, want %v", err, tt.err)
				}
				if diff := cmp.Diff(tt.data, data); diff != "" {
					t.Errorf("data (-want +got):\n%s", diff)
				}
				if tt.err != nil {
					return
				}
				if over == tt.open || !tt.open && rest != tt.rest {
					t.Errorf("over %v with %d bytes left", over, rest)
				}
				if diff := cmp.Diff(len(tt.trailer), len(trailer)); diff != "" || len(trailer) > 0 && trailer[0] != tt.trailer[0] {
					t.Errorf("trailer %v, want %v", trailer, tt.trailer)
				}
			})
		}
	}
}

// FuzzBody reads the same in one piece and in many, and what it has read is what
// it reads of its own chunks.
func FuzzBody(f *testing.F) {
	f.Add("3\r\nabc\r\n0\r\n\r\n", uint8(1), true)
	f.Add("3;x=y\r\nabc\r\n0\r\nA: b\r\n\r\nGET", uint8(3), false)
	f.Add("ffffffffffffff\r\nabc", uint8(2), true)
	f.Fuzz(func(t *testing.T, in string, piece uint8, lax bool) {
		chunked := httpproto.Framing{Chunked: true, Length: -1}
		data, rest, _, over, err := readBody(chunked, lax, in, max(1, len(in)))
		again, left, _, whole, failed := readBody(chunked, lax, in, max(1, int(piece)))
		if data != again && err == nil && failed == nil || over != whole && err == nil && failed == nil || over && whole && rest != left {
			t.Fatalf("%q %d %v %v at once, and %q %d %v %v in pieces", data, rest, over, err, again, left, whole, failed)
		}
		if !over {
			return
		}
		var own []byte
		if data != "" {
			own = append(httpproto.AppendChunkLine(nil, len(data)), data...)
			own = append(own, "\r\n"...)
		}
		own = append(own, "0\r\n\r\n"...)
		if got, _, _, over, err := readBody(chunked, false, string(own), len(own)); got != data || !over || err != nil {
			t.Fatalf("%q, %v of %q", got, err, own)
		}
	})
}
