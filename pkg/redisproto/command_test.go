package redisproto

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// parsed is what a test compares of a request.
type parsed struct {
	Args []string
	N    int
	Err  string
}

// parseAll parses a buffer that is there at once.
func parseAll(c *Command, b []byte, lim *Limits) parsed {
	n, err := c.Parse(b, lim)
	return result(c, b, n, err)
}

// parseSteps parses a buffer that grows by step bytes, moving it each time.
func parseSteps(t *testing.T, c *Command, b []byte, step int, lim *Limits) parsed {
	t.Helper()
	for end := 0; ; end += step {
		end = min(end, len(b))
		moved := append([]byte(nil), b[:end]...)
		n, err := c.Parse(moved, lim)
		if !errors.Is(err, ErrIncomplete) || end == len(b) {
			return result(c, moved, n, err)
		}
		if c.Need() < 1 || c.Total() != int64(end)+c.Need() {
			t.Fatalf("after %d bytes of %q: Need %d, Total %d", end, b, c.Need(), c.Total())
		}
		if c.NumArgs() < len(c.Args) {
			t.Fatalf("after %d bytes of %q: NumArgs %d, but %d are there", end, b, c.NumArgs(), len(c.Args))
		}
	}
}

func result(c *Command, b []byte, n int, err error) parsed {
	r := parsed{N: n}
	if err != nil {
		r.Err = err.Error()
		return r
	}
	for i := range c.Args {
		r.Args = append(r.Args, string(c.Arg(b, i)))
	}
	return r
}

func TestCommandParse(t *testing.T) {
	t.Parallel()
	const inline = 64
	incomplete := ErrIncomplete.Error()
	tests := []struct {
		name string
		in   string
		want parsed
	}{
		{"get", "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n", parsed{Args: []string{"GET", "k"}, N: 20}},
		{"pipeline", "*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPING\r\n", parsed{Args: []string{"PING"}, N: 14}},
		{"empty argument", "*2\r\n$4\r\nECHO\r\n$0\r\n\r\n", parsed{Args: []string{"ECHO", ""}, N: 20}},
		{"binary", "*1\r\n$5\r\n\r\n*$\x00\r\n", parsed{Args: []string{"\r\n*$\x00"}, N: 15}},
		{"two digits", "*1\r\n$12\r\nabcdefghijkl\r\n", parsed{Args: []string{"abcdefghijkl"}, N: 23}},
		{"zero count", "*0\r\nPING\r\n", parsed{N: 4}},
		{"negative count", "*-1\r\n", parsed{N: 5}},
		{"very negative count", "*-100\r\n", parsed{N: 7}},
		{"nothing", "", parsed{Err: incomplete}},
		{"half a header", "*2\r", parsed{Err: incomplete}},
		{"half a bulk", "*1\r\n$4\r\nPI", parsed{Err: incomplete}},
		{"bulk without its LF", "*1\r\n$4\r\nPING\r", parsed{Err: incomplete}},
		{"no dollar", "*1\r\nx4\r\n", parsed{Err: "Protocol error: expected '$', got 'x'"}},
		{"no dollar but LF", "*1\r\n\n", parsed{Err: "Protocol error: expected '$', got '?'"}},
		{"count no number", "*x\r\n", parsed{Err: "Protocol error: invalid multibulk length"}},
		{"count empty", "*\r\n", parsed{Err: "Protocol error: invalid multibulk length"}},
		{"count padded", "*02\r\n", parsed{Err: "Protocol error: invalid multibulk length"}},
		{"count with plus", "*+2\r\n", parsed{Err: "Protocol error: invalid multibulk length"}},
		{"count minus zero", "*-0\r\n", parsed{Err: "Protocol error: invalid multibulk length"}},
		{"count beyond limit", "*17\r\n", parsed{Err: "Protocol error: invalid multibulk length"}},
		{"count beyond int64", "*99999999999999999999\r\n", parsed{Err: "Protocol error: invalid multibulk length"}},
		{"count without LF", "*1\rx", parsed{Err: "Protocol error: invalid multibulk length"}},
		{"bulk null", "*1\r\n$-1\r\n", parsed{Err: "Protocol error: invalid bulk length"}},
		{"bulk beyond limit", "*1\r\n$101\r\n", parsed{Err: "Protocol error: invalid bulk length"}},
		{"bulk no number", "*1\r\n$ 1\r\n", parsed{Err: "Protocol error: invalid bulk length"}},
		{"bulk too short", "*1\r\n$3\r\nPING\r\n", parsed{Err: "Protocol error: expected CRLF after bulk"}},
		{"inline", "PING\r\n", parsed{Args: []string{"PING"}, N: 6}},
		{"inline LF", "SET a  b\n+", parsed{Args: []string{"SET", "a", "b"}, N: 9}},
		{"inline blanks", " \t get\vx a \r\n", parsed{Args: []string{"get\vx", "a"}, N: 13}},
		{"inline double quotes", `set "a b" "\x41\n\r\t\a\b\"\q\x4"` + "\r\n", parsed{Args: []string{"set", "a b", "A\n\r\t\a\b\"qx4"}, N: 35}},
		{"inline single quotes", `set 'a "b' '\'\n'` + "\n", parsed{Args: []string{"set", `a "b`, `'\n`}, N: 18}},
		{"inline quote inside", `a"b c"` + "\n", parsed{Args: []string{"ab c"}, N: 7}},
		{"inline empty argument", `echo ""` + "\n", parsed{Args: []string{"echo", ""}, N: 8}},
		{"inline open quote", `echo "a` + "\n", parsed{Err: "Protocol error: unbalanced quotes in request"}},
		{"inline open quote after backslash", `echo "a\` + "\n", parsed{Err: "Protocol error: unbalanced quotes in request"}},
		{"inline text after quote", `echo "a"b` + "\n", parsed{Err: "Protocol error: unbalanced quotes in request"}},
		{"inline text after single quote", `echo 'a'b` + "\n", parsed{Err: "Protocol error: unbalanced quotes in request"}},
		{"empty line", "\r\nPING\r\n", parsed{N: 2}},
		{"empty line LF", "\n", parsed{N: 1}},
		{"blank line", "  \r\n", parsed{N: 4}},
		{"inline unfinished", "PING", parsed{Err: incomplete}},
		{"inline at limit", strings.Repeat("a", inline) + "\n", parsed{Args: []string{strings.Repeat("a", inline)}, N: inline + 1}},
		{"inline unfinished at limit", strings.Repeat("a", inline), parsed{Err: incomplete}},
		{"inline beyond limit", strings.Repeat("a", inline+1) + "\n", parsed{Err: "Protocol error: too big inline request"}},
		{"inline unfinished beyond limit", strings.Repeat("a", inline+1), parsed{Err: "Protocol error: too big inline request"}},
	}
	lim := Limits{MaxInline: inline, MaxArgs: 16, MaxBulk: 100}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var c Command
			if diff := cmp.Diff(tt.want, parseAll(&c, []byte(tt.in), &lim)); diff != "" {
				t.Errorf("at once (-want +got):\n%s", diff)
			}
			for step := 1; step < len(tt.in); step++ {
				c.Reset()
				if diff := cmp.Diff(tt.want, parseSteps(t, &c, []byte(tt.in), step, &lim)); diff != "" {
					t.Errorf("in steps of %d (-want +got):\n%s", step, diff)
				}
			}
		})
	}
}

func TestCommandProgress(t *testing.T) {
	t.Parallel()
	lim := DefaultLimits()
	frame := []byte("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1000\r\n")
	head := len(frame)
	frame = append(frame, make([]byte, 1000)...)
	frame = append(frame, '\r', '\n')
	var c Command
	if _, err := c.Parse(frame[:head-1], &lim); !errors.Is(err, ErrIncomplete) || c.InBulk() || c.Need() != 1 {
		t.Errorf("in a header: %v, InBulk %v, Need %d", err, c.InBulk(), c.Need())
	}
	if _, err := c.Parse(frame[:head+10], &lim); !errors.Is(err, ErrIncomplete) {
		t.Fatal(err)
	}
	if got, want := c.NumArgs(), 3; got != want {
		t.Errorf("NumArgs = %d, want %d", got, want)
	}
	if len(c.Args) != 2 || string(c.Arg(frame, 1)) != "k" {
		t.Errorf("Args = %v", c.Args)
	}
	if !c.InBulk() || c.Need() != 992 || c.Total() != int64(len(frame)) {
		t.Errorf("InBulk %v, Need %d, Total %d; want true, 992, %d", c.InBulk(), c.Need(), c.Total(), len(frame))
	}
	for range 2 {
		if n, err := c.Parse(frame, &lim); err != nil || n != len(frame) {
			t.Errorf("Parse = %d, %v", n, err)
		}
	}
}

func TestCommandAppendTo(t *testing.T) {
	t.Parallel()
	lim := DefaultLimits()
	line := []byte(`set "a b" c` + "\r\n")
	var c Command
	if _, err := c.Parse(line, &lim); err != nil || !c.Inline() {
		t.Fatalf("Parse: %v, inline %v", err, c.Inline())
	}
	got := string(c.AppendTo([]byte("x"), line))
	if want := "x*3\r\n$3\r\nset\r\n$3\r\na b\r\n$1\r\nc\r\n"; got != want {
		t.Errorf("AppendTo = %q, want %q", got, want)
	}
	c.Reset()
	if _, err := c.Parse([]byte("\r\n"), &lim); err != nil {
		t.Fatal(err)
	}
	if got := c.AppendTo(nil, []byte("\r\n")); len(got) != 0 {
		t.Errorf("AppendTo of an empty line = %q", got)
	}
}

func TestCommandResetBoundsMemory(t *testing.T) {
	t.Parallel()
	lim := DefaultLimits()
	frame := AppendArray(nil, 5000)
	for range 5000 {
		frame = AppendBulkString(frame, "a")
	}
	var c Command
	if _, err := c.Parse(frame, &lim); err != nil {
		t.Fatal(err)
	}
	c.Reset()
	if cap(c.Args) > keepArgs {
		t.Errorf("Reset keeps room for %d arguments", cap(c.Args))
	}
}
