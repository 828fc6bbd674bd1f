package jq

import (
	"encoding/json"
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/itchyny/gojq"
)

func outputs(t *testing.T, program, doc string) ([]any, error) {
	t.Helper()
	p, err := Compile(program)
	if err != nil {
		t.Fatalf("%s: %v", program, err)
	}
	var out []any
	err = p.Run(t.Context(), decode(t, doc), func(v any) bool { out = append(out, v); return true })
	return out, err
}

func decode(t *testing.T, doc string) any {
	t.Helper()
	var v any
	dec := json.NewDecoder(strings.NewReader(doc))
	dec.UseNumber()
	if err := dec.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

// TestGuardsChangeNothing: programs give what they give without guards.
func TestGuardsChangeNothing(t *testing.T) {
	t.Parallel()
	const doc = `{"a":[3,1,2],"s":"Hello, World","o":{"x":1,"y":{"z":null}},"n":12345678901234567890.50,"l":[{"k":"p","v":1},{"k":"q","v":2}],"e":[]}`
	for _, program := range []string{
		`.`, `.n`, `.a | map(. + 1)`, `.a | add`, `[.a[] * 2]`, `.s + "!"`, `.s * 2`, `.s / ", "`, `.a - [1]`, `.o * {"y":{"w":2}}`, `.a == [3,1,2]`,
		`.a | sort`, `.l | sort_by(.v) | reverse`, `.l | group_by(.k)`, `.l | map({(.k): .v}) | add`, `.l | from_entries?`, `.o | to_entries`,
		`.o | with_entries(.value |= tostring)`, `.a[0] = 5`, `.a[1:] `, `.s[1:3]`, `.s[:-1]`, `.a[-1:]`, `.a[1:] = ["x"]`, `.l[].v |= . + 1`, `.l[].v += 1`,
		`.l[0].v -= 1`, `.l[].v *= 3`, `.l[].v /= 2`, `.l[].v %= 2`, `.missing //= 4`, `.a |= map(select(. > 1))`, `(.l[] | select(.k == "q") | .v) = 9`, `del(.a[0])`, `del(.l[] | select(.v == 1))`,
		`"\(.s): \(.a)"`, `@base64 "x\(.s)"`, `.s | @base64 | @base64d`, `.s | @uri`, `.a | @csv`, `.a | join("-")`, `[.a, .e] | flatten`,
		`.s | test("world"; "i")`, `.s | sub("l"; "L")`, `.s | gsub("(?<x>l)"; "<\(.x)>")`, `[.s | scan("o")]`, `.s | split(", ")`, `.s | [splits(", *")]`, `.s | split("o"; null)`, `.s | capture("(?<first>\\w+)")`,
		`.s | ascii_downcase | explode | implode`, `.a | tojson | fromjson`, `[.a, .a] | transpose`, `.a | contains([1])`, `.a | index(1)`, `.s | indices("o")`, `.a | min, max`, `.l | unique_by(.k) | length`,
		`reduce .a[] as $x (0; . + $x)`, `[foreach .a[] as $x (0; . + $x)]`, `[limit(2; .a[])]`, `first(.a[])`, `def f(x): x * 2; .a | map(f(.))`, `. as {$a, o: {$x}} | [$a, $x]`, `[.a[] as $x | .l[] as $y | $x + $y.v]`,
		`if .a | length > 2 then "many" else "few" end`, `try error("x") catch .`, `[.l[]? | .k]`, `.l | any(.v > 1), all(.v > 1)`, `[paths] | length`, `walk(if type == "number" then 0 else . end)`, `.["a"][0]`, `.["s", "n"]`, `.l[.l | length - 1].k`, `-(.a[0])`, `[.a[] | tostring] | join(",")`, `$__loc__?`, `[.o | keys[]]`, `[(1,2) + (10,20)]`, `[.a[1:][0], .a[:2][1:][0]]`,
		`.a[0] += (1, 2)`, `{a: .s, "b\(1)": 2, (.s): 3, s, "o"}`, `add(.a[])`, `[.a[] | select(. != 1)]`, `.l | map(.v) | add / length`,
	} {
		query, err := gojq.Parse(program)
		if err != nil {
			if !strings.Contains(program, "$__loc__") {
				t.Errorf("%s: %v", program, err)
			}
			continue
		}
		code, err := gojq.Compile(query)
		if err != nil {
			continue
		}
		var want []any
		failed := false
		for iter := code.Run(decode(t, doc)); ; {
			v, ok := iter.Next()
			if !ok {
				break
			}
			if _, failed = v.(error); failed {
				break
			}
			want = append(want, v)
		}
		got, err := outputs(t, program, doc)
		if (err != nil) != failed {
			t.Errorf("%s: error %v, want one: %t", program, err, failed)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", program, diff)
		}
	}
}

// TestRefused: what is known to be without bounds is refused when it is loaded.
func TestRefused(t *testing.T) {
	t.Parallel()
	for _, program := range []string{
		`[range(1e9)]`, `repeat(.)`, `[while(true; .)]`, `until(false; .)`, `def f: f; f`, `..`, `recurse(.[])`, `input`, `env`, `$ENV`, `halt`, `import "a" as a; .`,
		`_guard_deep(0)`, `def _guard_add(a; b): [a, b]; 1`, `$__x`, `. as $__d | $__d`, `test(.pattern)`, `test("a\(.)")`, `pick(.a)`, `tostream`, `nosuchfunction`,
	} {
		if _, err := Compile(program); err == nil {
			t.Errorf("%s is not refused", program)
		}
	}
}

// TestStopped: what takes too much with some documents is stopped there, whatever
// errors it catches. What is measured is all that was ever taken, most of which is
// given back at once.
func TestStopped(t *testing.T) { //nolint:paralleltest // It measures memory.
	list := "[" + strings.Repeat("0,", 2999) + "0]"
	for _, tt := range []struct{ program, doc string }{
		{". * 1000000000", `"abc"`},
		{strings.Repeat(". + . | ", 60) + ".", `"abcdefgh"`},
		{strings.Repeat("[., .] | ", 60) + "tojson", `1`},
		{strings.Repeat("[., .] | ", 60) + ". == .", `1`},
		{strings.Repeat("[., .] | ", 60) + "flatten", `1`},
		{strings.Repeat(`"\(.)\(.)" | `, 60) + ".", `"abcdefgh"`},
		{strings.Repeat("tojson | ", 60) + ".", `"\"\""`},
		{strings.Repeat("@base64 | ", 80) + ".", `"abcdefghijkl"`},
		{strings.Repeat("try (. * .) catch . | ", 60) + ".", `12345678901234567890`},
		{strings.Repeat(".a += .a | ", 60) + ".", `{"a":"abcdefgh"}`},
		{".[1000000000] = 1", `[]`},
		{"setpath([1000000000]; 1)?", `[]`},
		{"[.[] as $a | .[] as $b | .[] as $c | 1] | length", list},
		{"[.[] as $a | .[1:]] | [.[] | tojson] | length", list},
		{"[.[] as $a | .[] as $b | sort] | length", list},
		{"[.[] as $a | .[] as $b | .[0] = 1] | length", list},
		{". as $l | [.[] as $a | $l | join(\"x\")] | length", list},
		{"[.[] | [.]] + [.] | transpose | length", list},
		{"(. | tojson) as $t | [.[] as $a | $t[1:]] | length", list},
		{"(. | tojson) as $t | $t | gsub(\"\"; $t) | length", list},
		{"[.[] as $a | try explode catch .] | length | . as $n | [limit(1000000; $n)]", list},
		{"try (" + strings.Repeat(". + . | ", 60) + ".) catch 1", `"abcdefgh"`},
	} {
		p, err := Compile(tt.program)
		if errors.Is(err, ErrRefused) {
			continue
		}
		if err != nil {
			t.Fatalf("%s: %v", tt.program, err)
		}
		p.fuel = fuel / 16 // so that it takes little time
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err = p.Run(t.Context(), decode(t, tt.doc), func(any) bool { return true })
		runtime.ReadMemStats(&after)
		if took := after.TotalAlloc - before.TotalAlloc; took > 4*fuel*unit {
			t.Errorf("%.60s took %d MB", tt.program, took>>20)
		}
		if err == nil {
			t.Errorf("%.60s is not stopped", tt.program)
		}
	}
}
