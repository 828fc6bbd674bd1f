package push

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func lineFeeds() Ends { return newline }

// TestAssembler: lines are the same however the bytes are cut, one that is too long
// is left out and told once, and the next one is whole.
func TestAssembler(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", MaxLine+1)
	tests := []struct {
		name, text string
		want       []string
		long       int
	}{
		{name: "nothing"},
		{name: "a line", text: "a\n", want: []string{"a"}},
		{name: "lines, some of them empty", text: "a\n\nb\n", want: []string{"a", "", "b"}},
		{name: "a last line without an end", text: "a\nb", want: []string{"a", "b"}},
		{name: "a carriage return is the line's", text: "a\r\nb\n", want: []string{"a\r", "b"}},
		{name: "the longest line", text: long[1:] + "\na\n", want: []string{long[1:], "a"}},
		{name: "a line too long", text: "a\n" + long + "\nb\n", want: []string{"a", "b"}, long: 1},
		{name: "much too long", text: strings.Repeat(long, 3) + "\nb\n", want: []string{"b"}, long: 1},
		{name: "a last line too long", text: "a\n" + long, want: []string{"a"}, long: 1},
		{name: "two that are too long", text: long + "\n" + long + "\n", long: 2},
	}
	for _, tt := range tests {
		for _, size := range []int{1, 7, 4096, 1 << 20} {
			var got []string
			told := 0
			a := assembler{ends: lineFeeds, end: newline, take: func(line []byte) { got = append(got, string(line)) }, long: func() { told++ }}
			for piece := range slices.Chunk([]byte(tt.text), size) {
				a.add(piece)
				if len(a.rest) > MaxLine {
					t.Fatalf("%s: %d bytes are kept", tt.name, len(a.rest))
				}
			}
			a.last()
			if diff := cmp.Diff(tt.want, got); diff != "" || told != tt.long {
				t.Errorf("%s, in pieces of %d: %d too long, (-want +got):\n%s", tt.name, size, told, diff)
			}
		}
	}
}

// FuzzAssembler: where the bytes are cut changes nothing.
func FuzzAssembler(f *testing.F) {
	f.Add("a\nb\n\nc", uint8(1))
	f.Add("\n\n", uint8(2))
	f.Fuzz(func(t *testing.T, text string, size uint8) {
		lines := func(size int) (out []string) {
			a := assembler{ends: lineFeeds, end: newline, take: func(line []byte) { out = append(out, string(line)) }, long: func() { out = append(out, "long") }}
			for piece := range slices.Chunk([]byte(text), size) {
				a.add(piece)
			}
			a.last()
			return out
		}
		whole := lines(len(text) + 1)
		if diff := cmp.Diff(whole, lines(int(size)+1)); diff != "" {
			t.Errorf("in pieces (-whole +pieces):\n%s", diff)
		}
		if joined := strings.Join(whole, "\n"); len(text) <= MaxLine && joined != strings.TrimSuffix(text, "\n") && joined != text {
			t.Errorf("%q became %q", text, joined)
		}
	})
}
