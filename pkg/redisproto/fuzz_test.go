package redisproto

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// fuzzLimits are small enough for a fuzzer to reach.
func fuzzLimits() Limits {
	return Limits{MaxInline: 100, MaxArgs: 50, MaxBulk: 200, MaxDepth: 8}
}

// FuzzCommand asserts that a request parses the same in two pieces as at once,
// and that its canonical form has the same arguments.
func FuzzCommand(f *testing.F) {
	for _, s := range []string{
		"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n", "PING\r\n", "*0\r\n", "\r\n", `set "a b" '\'c' "\x41\n"` + "\n",
		"*1\r\n$-1\r\n", "*12\r\n$12\r\nabc", "*1\r\n$10\r\n0123456789\r\n", "*1\rx",
	} {
		f.Add([]byte(s), uint16(3))
	}
	f.Fuzz(func(t *testing.T, b []byte, cut uint16) {
		lim := fuzzLimits()
		var c, split Command
		want := parseAll(&c, b, &lim)
		if want.N > len(b) {
			t.Fatalf("a frame of %d bytes in %d", want.N, len(b))
		}
		at := int(cut) % (len(b) + 1)
		_, err := split.Parse(slices.Clone(b[:at]), &lim)
		rest := b
		if !errors.Is(err, ErrIncomplete) {
			split.Reset()
			rest = b[:at]
		}
		got := parseAll(&split, rest, &lim)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("cut at %d (-at once +cut):\n%s", at, diff)
		}
		if want.Err != "" || len(want.Args) == 0 {
			return
		}
		canonical := c.AppendTo(nil, b)
		var again Command
		round := parseAll(&again, canonical, &Limits{MaxInline: 100, MaxArgs: 50, MaxBulk: 200})
		if diff := cmp.Diff(parsed{Args: want.Args, N: len(canonical)}, round); diff != "" {
			t.Fatalf("canonical form (-want +got):\n%s", diff)
		}
		if !c.Inline() && !bytes.Equal(canonical, b[:want.N]) {
			t.Fatalf("canonical form %q of %q", canonical, b[:want.N])
		}
	})
}

// FuzzScanner asserts that Scanner, in any pieces, FrameLen and ParseValue agree
// on where a reply ends, and that Elements cuts it without a rest.
func FuzzScanner(f *testing.F) {
	for _, s := range []string{
		"+OK\r\n", "$3\r\nabc\r\n", "*2\r\n:1\r\n$-1\r\n", "%1\r\n+a\r\n#t\r\n", "|1\r\n+a\r\n:1\r\n=5\r\ntxt:a\r\n",
		"*1\r\n*1\r\n*0\r\n", ">2\r\n_\r\n,1.5\r\n", "*-1\r\n", "~1\r\n(1\r\n", "!1\r\nx\r\n", "$?\r\n", "+a\r\r\n",
	} {
		f.Add([]byte(s), uint8(1))
	}
	f.Fuzz(func(t *testing.T, b []byte, step uint8) {
		lim := fuzzLimits()
		n, err := FrameLen(b, &lim)
		for _, by := range []int{1, int(step)%7 + 2, len(b) + 1} {
			scanned, scanErr := scanSteps(b, by, &lim)
			switch {
			case err == nil && (scanErr != nil || scanned != n):
				t.Fatalf("in steps of %d: Scanner %d, %v; FrameLen %d", by, scanned, scanErr, n)
			case err != nil && scanErr == nil:
				t.Fatalf("in steps of %d: Scanner finds %d bytes; FrameLen %v", by, scanned, err)
			case err != nil && !errors.Is(err, ErrIncomplete) && errors.Is(scanErr, ErrIncomplete):
				t.Fatalf("in steps of %d: Scanner wants more; FrameLen %v", by, err)
			}
		}
		_, parsed, parseErr := ParseValue(b, &lim)
		if parseErr == nil && (err != nil || parsed != n) {
			t.Fatalf("ParseValue %d; FrameLen %d, %v", parsed, n, err)
		}
		if err == nil && errors.Is(parseErr, ErrIncomplete) {
			t.Fatalf("ParseValue wants more; FrameLen %d", n)
		}
		if err == nil {
			checkElements(t, b[:n])
		}
	})
}

func checkElements(t *testing.T, frame []byte) {
	count, seq, err := Elements(frame)
	if err != nil || count < 0 {
		return
	}
	seen, total := 0, 0
	for elem := range seq {
		seen++
		total += len(elem)
	}
	if seen != count {
		t.Fatalf("%d of %d elements", seen, count)
	}
	if count > 0 && !bytes.HasSuffix(frame, frame[len(frame)-total:]) {
		t.Fatalf("elements have %d of %d bytes", total, len(frame))
	}
}

// FuzzKeys asserts that the keys of any request are arguments of it, and that
// what is already in the slice stays.
func FuzzKeys(f *testing.F) {
	for _, s := range []string{
		"get a", "mset a 1 b 2", "eval x 2 a b c", "xread streams a b 0 0", "sort a by x store b", "object encoding a",
		"migrate h 1  0 9 keys a b", "zunionstore d 2 a b", "georadius a 1 2 3 km store b", "json.mget a b .",
		"cms.merge d 2 a b", "msetex 2 a 1 b 2", "bitop and d a b", "lmpop 2 a b left",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		parts := bytes.Split(line, []byte{' '})
		spec := Lookup(parts[0])
		if spec == nil {
			spec = &specs[len(line)*7%len(specs)]
		}
		lim := DefaultLimits()
		frame := AppendArray(nil, len(parts))
		for _, part := range parts {
			frame = AppendBulk(frame, part)
		}
		var c Command
		if _, err := c.Parse(frame, &lim); err != nil {
			t.Fatal(err)
		}
		keys, err := spec.AppendKeys(&c, frame, []int{-1})
		if len(keys) == 0 || keys[0] != -1 || (err != nil && len(keys) > 1) {
			t.Fatalf("%q: keys %v, %v", line, keys, err)
		}
		for _, k := range keys[1:] {
			if k < 1 || k >= len(c.Args) {
				t.Fatalf("%q: key %d of %d arguments", line, k, len(c.Args))
			}
		}
		if first := spec.FirstKeyIndex(); first > 0 && err == nil && !slices.Equal(keys[1:], []int{first}) {
			t.Fatalf("%q: keys %v, FirstKeyIndex %d", line, keys[1:], first)
		}
	})
}
