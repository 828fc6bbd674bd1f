package redisproto

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// scanSteps feeds b to a Scanner in pieces of step bytes and returns the length
// of the frame, or the error. Unfinished is ErrIncomplete.
func scanSteps(b []byte, step int, lim *Limits) (int, error) {
	var s Scanner
	used, end := 0, 0
	for {
		n, done, err := s.Scan(b[used:end], lim)
		used += n
		switch {
		case err != nil:
			return used, err
		case done:
			return used, nil
		case end == len(b):
			return used, ErrIncomplete
		}
		end = min(end+step, len(b))
	}
}

func TestReplyFrames(t *testing.T) {
	t.Parallel()
	str := func(s string) []byte { return []byte(s) }
	tests := []struct {
		name string
		in   string // followed by "+x\r\n" in the test
		want Value
	}{
		{"simple", "+OK\r\n", Value{Kind: '+', Str: str("OK")}},
		{"simple with CR", "+a\rb\r\n", Value{Kind: '+', Str: str("a\rb")}},
		{"empty simple", "+\r\n", Value{Kind: '+', Str: str("")}},
		{"error", "-ERR no\r\n", Value{Kind: '-', Str: str("ERR no")}},
		{"integer", ":-123\r\n", Value{Kind: ':', Int: -123}},
		{"bulk", "$3\r\na\r\n\r\n", Value{Kind: '$', Str: str("a\r\n")}},
		{"long bulk", "$300\r\n" + strings.Repeat("a", 300) + "\r\n", Value{Kind: '$', Str: []byte(strings.Repeat("a", 300))}},
		{"empty bulk", "$0\r\n\r\n", Value{Kind: '$', Str: str("")}},
		{"null bulk", "$-1\r\n", Value{Kind: '$', Null: true}},
		{"array", "*2\r\n:1\r\n$1\r\na\r\n", Value{Kind: '*', Elems: []Value{{Kind: ':', Int: 1}, {Kind: '$', Str: str("a")}}}},
		{"empty array", "*0\r\n", Value{Kind: '*', Elems: []Value{}}},
		{"null array", "*-1\r\n", Value{Kind: '*', Null: true}},
		{"nested", "*2\r\n*1\r\n*0\r\n+a\r\n", Value{Kind: '*', Elems: []Value{
			{Kind: '*', Elems: []Value{{Kind: '*', Elems: []Value{}}}}, {Kind: '+', Str: str("a")},
		}}},
		{"null", "_\r\n", Value{Kind: '_', Null: true}},
		{"true", "#t\r\n", Value{Kind: '#', Int: 1}},
		{"false", "#f\r\n", Value{Kind: '#'}},
		{"double", ",-inf\r\n", Value{Kind: ',', Str: str("-inf")}},
		{"big number", "(-12345678901234567890\r\n", Value{Kind: '(', Str: str("-12345678901234567890")}},
		{"bulk error", "!5\r\nERR x\r\n", Value{Kind: '!', Str: str("ERR x")}},
		{"verbatim", "=5\r\ntxt:a\r\n", Value{Kind: '=', Str: str("txt:a")}},
		{"map", "%1\r\n+a\r\n:1\r\n", Value{Kind: '%', Elems: []Value{{Kind: '+', Str: str("a")}, {Kind: ':', Int: 1}}}},
		{"set", "~1\r\n+a\r\n", Value{Kind: '~', Elems: []Value{{Kind: '+', Str: str("a")}}}},
		{"push", ">1\r\n+a\r\n", Value{Kind: '>', Elems: []Value{{Kind: '+', Str: str("a")}}}},
		{"attribute", "|1\r\n+ttl\r\n:1\r\n*1\r\n|1\r\n+a\r\n*0\r\n:2\r\n", Value{Kind: '*', Elems: []Value{{Kind: ':', Int: 2}}}},
	}
	lim := DefaultLimits()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := []byte(tt.in + "+x\r\n")
			if n, err := FrameLen(b, &lim); n != len(tt.in) || err != nil {
				t.Errorf("FrameLen = %d, %v; want %d", n, err, len(tt.in))
			}
			for step := 1; step <= len(b); step++ {
				if n, err := scanSteps(b, step, &lim); n != len(tt.in) || err != nil {
					t.Fatalf("Scan in steps of %d = %d, %v; want %d", step, n, err, len(tt.in))
				}
			}
			v, n, err := ParseValue(b, &lim)
			if n != len(tt.in) || err != nil {
				t.Errorf("ParseValue = %d, %v; want %d", n, err, len(tt.in))
			}
			if diff := cmp.Diff(tt.want, v); diff != "" {
				t.Errorf("ParseValue (-want +got):\n%s", diff)
			}
			for end := range len(tt.in) {
				_, _, parseErr := ParseValue(b[:end], &lim)
				_, frameErr := FrameLen(b[:end], &lim)
				if !errors.Is(parseErr, ErrIncomplete) || !errors.Is(frameErr, ErrIncomplete) {
					t.Fatalf("of %d bytes: ParseValue %v, FrameLen %v", end, parseErr, frameErr)
				}
			}
		})
	}
}

func TestReplyMalformed(t *testing.T) {
	t.Parallel()
	lim := Limits{MaxBulk: 10, MaxDepth: 2}
	tests := []struct{ in, want string }{
		{"x", "unknown reply type 'x'"},
		{"\r\n", "unknown reply type '?'"},
		{"*1\r\n?1\r\n", "unknown reply type '?'"},
		{"$?\r\n", "invalid bulk length"},
		{"*?\r\n", "invalid length of '*' reply"},
		{"%?\r\n", "invalid length of '%' reply"},
		{";4\r\nabcd\r\n", "streamed replies are not supported"},
		{".\r\n", "streamed replies are not supported"},
		{"$11\r\n", "invalid bulk length"},
		{"$-2\r\n", "invalid bulk length"},
		{"!-1\r\n", "invalid bulk length"},
		{"$1\r\nabc", "expected CRLF after bulk"},
		{"$1\r\na\rb", "expected CRLF after bulk"},
		{"%-1\r\n", "invalid length of '%' reply"},
		{"*2000000000000\r\n", "invalid length of '*' reply"},
	}
	for _, tt := range tests {
		t.Run(tt.in, func(t *testing.T) {
			t.Parallel()
			want := &ProtocolError{Reason: tt.want}
			check := func(what string, err error) {
				var got *ProtocolError
				if !errors.As(err, &got) || *got != *want {
					t.Errorf("%s: %v, want %v", what, err, want)
				}
			}
			_, err := FrameLen([]byte(tt.in), &lim)
			check("FrameLen", err)
			_, _, err = ParseValue([]byte(tt.in), &lim)
			check("ParseValue", err)
			for step := 1; step <= len(tt.in); step++ {
				_, err = scanSteps([]byte(tt.in), step, &lim)
				check("Scan", err)
			}
		})
	}
}

func TestParseValueRefuses(t *testing.T) {
	t.Parallel()
	lim := Limits{MaxBulk: 10, MaxDepth: 2}
	for _, in := range []string{":x\r\n", "#x\r\n", "_x\r\n", "*1\r\n*1\r\n*0\r\n"} {
		var malformed *ProtocolError
		if _, _, err := ParseValue([]byte(in), &lim); !errors.As(err, &malformed) {
			t.Errorf("ParseValue(%q): %v", in, err)
		}
	}
}

func TestScannerPayload(t *testing.T) {
	t.Parallel()
	lim := DefaultLimits()
	var s Scanner
	for range 2 {
		n, done, err := s.Scan([]byte("*2\r\n:1\r\n$100\r\nabc"), &lim)
		if n != 17 || done || err != nil {
			t.Fatalf("Scan = %d, %v, %v", n, done, err)
		}
		if got, want := s.BulkLeft(), int64(99); got != want {
			t.Fatalf("BulkLeft = %d, want %d", got, want)
		}
		rest := []byte(strings.Repeat("d", 97) + "\r\n")
		for _, piece := range [][]byte{rest[:90], rest[90:98], rest[98:]} {
			if err := s.Payload(piece); err != nil {
				t.Fatalf("Payload(%q): %v", piece, err)
			}
		}
		n, done, err = s.Scan(nil, &lim)
		if n != 0 || !done || err != nil {
			t.Fatalf("Scan after Payload = %d, %v, %v", n, done, err)
		}
	}
	for _, end := range []string{"xx", "\rx", "x\n", "\n\r"} {
		for cut := range 3 { // which byte the second piece begins with
			var s Scanner
			if _, _, err := s.Scan([]byte("$100\r\nabc"), &lim); err != nil {
				t.Fatal(err)
			}
			rest := []byte(strings.Repeat("d", 97) + end)
			err := s.Payload(rest[:97+cut])
			if err == nil {
				err = s.Payload(rest[97+cut:])
			}
			if _, ok := errors.AsType[*ProtocolError](err); !ok {
				t.Errorf("Payload with the end %q, cut at %d: %v", end, cut, err)
			}
		}
	}
	if _, _, err := s.Scan([]byte("*5\r\n"), &lim); err != nil {
		t.Fatal(err)
	}
	s.Reset()
	if n, done, err := s.Scan([]byte("+a\r\n+b\r\n"), &lim); n != 4 || !done || err != nil {
		t.Errorf("Scan after Reset = %d, %v, %v", n, done, err)
	}
}

func TestScannerDeep(t *testing.T) {
	t.Parallel()
	lim := DefaultLimits()
	deep := []byte(strings.Repeat("*1\r\n", 10000) + ":1\r\n")
	if n, err := scanSteps(deep, 7, &lim); n != len(deep) || err != nil {
		t.Errorf("Scan = %d, %v", n, err)
	}
	var malformed *ProtocolError
	if _, _, err := ParseValue(deep, &lim); !errors.As(err, &malformed) {
		t.Errorf("ParseValue: %v", err)
	}
}

func TestElements(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in    string
		count int
		want  []string
	}{
		{"*2\r\n*1\r\n:1\r\n$1\r\na\r\n", 2, []string{"*1\r\n:1\r\n", "$1\r\na\r\n"}},
		{"%1\r\n+a\r\n%0\r\n", 2, []string{"+a\r\n", "%0\r\n"}},
		{"|1\r\n+a\r\n+b\r\n~1\r\n_\r\n", 1, []string{"_\r\n"}},
		{"*0\r\n", 0, nil},
		{"*-1\r\n", -1, nil},
		{"_\r\n", -1, nil},
		{"*3\r\n:1\r\n:2", 3, []string{":1\r\n"}},
	}
	for _, tt := range tests {
		count, seq, err := Elements([]byte(tt.in))
		if err != nil || count != tt.count {
			t.Errorf("Elements(%q) = %d, %v; want %d", tt.in, count, err, tt.count)
			continue
		}
		var got []string
		for frame := range seq {
			got = append(got, string(frame))
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("Elements(%q) (-want +got):\n%s", tt.in, diff)
		}
	}
	for _, in := range []string{"", "+a\r\n", "*x\r\n", "*1"} {
		if _, _, err := Elements([]byte(in)); err == nil {
			t.Errorf("Elements(%q): no error", in)
		}
	}
}
