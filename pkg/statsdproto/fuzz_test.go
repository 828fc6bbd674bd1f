package statsdproto_test

import (
	"bytes"
	"math"
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/pkg/statsdproto"
)

var seeds = []string{
	"a.b:1|c", "a:1.5|c|@0.1", "a:+5|g", "a:-0|g", "a:1|c:2|ms|@0.5:3|g", "a:1:2:3|ms|#k:v", "a[k=v]b:1|c", "]a[:1|c", "a#k=v,l=w:1|c", "a,k=v,l=w:1|c:2|c",
	"a:1|c|#k:v,#l:w,m|c:abc|T1656581400", "a:2001:db8::1|s", "a:1|c|c:2|c", "a:nan|g", "a:1e999|c", "a\xff:1|c", "a:1|d|@-0.5", "a:x|s:y|s", "a:|s",
}

// FuzzParse asserts that what was understood of a line can be written, and is
// understood to be the same then.
func FuzzParse(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		if bytes.IndexByte(line, '\n') >= 0 {
			return
		}
		var l statsdproto.Line
		err := l.Parse(line, statsdproto.AllStyles)
		if err != nil || len(l.Samples) == 0 || !spellable(&l) {
			return
		}
		want := clean(&l)
		spelled := want.Append(nil)
		var again statsdproto.Line
		if err := again.Parse(spelled, statsdproto.AllStyles); err != nil {
			t.Fatalf("%q was written as %q, which is refused: %v", line, spelled, err)
		}
		if diff := cmp.Diff(spell(&want, nil), spell(&again, nil)); diff != "" {
			t.Fatalf("%q was written as %q (-want +got):\n%s", line, spelled, diff)
		}
	})
}

// clean is the line without what was wrong with it, and what its spelling has no
// place for.
func clean(l *statsdproto.Line) statsdproto.Line {
	out := statsdproto.Line{Name: l.Name, Tags: l.Tags, Container: l.Container, Timestamp: l.Timestamp, Samples: l.Samples}
	if len(out.Samples) > 1 {
		out.Container, out.Timestamp = nil, nil
	}
	if len(out.Timestamp) == 0 {
		out.Timestamp = nil
	}
	return out
}

// spellable tells whether names and values are free of what separates them in
// another dialect than the one they came in.
func spellable(l *statsdproto.Line) bool {
	if len(l.Name) == 0 || bytes.ContainsAny(l.Name, "[]#,") {
		return false
	}
	for _, t := range l.Tags {
		if bytes.ContainsAny(t.Key, ":=#,|[]") || bytes.ContainsAny(t.Value, ":=#,|[]") {
			return false
		}
	}
	for _, s := range l.Samples {
		if bytes.ContainsAny(s.Member, ":#\r") || (s.Relative && math.IsNaN(s.Value)) {
			return false
		}
	}
	return !bytes.HasSuffix(l.Container, []byte("\r")) && !bytes.HasSuffix(l.Timestamp, []byte("\r"))
}

// FuzzParseValue asserts that a number is what strconv says, whichever way it
// was read.
func FuzzParseValue(f *testing.F) {
	for _, s := range []string{"1", "-1.5", "0.000000000000001", "123456789012345678", "1e5", ".5", "inf"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		want, err := strconv.ParseFloat(s, 64)
		got, ok := statsdproto.ParseValue([]byte(s))
		if len(s) > 400 && !ok {
			return
		}
		if ok != (err == nil) {
			t.Fatalf("ParseValue(%q) = %v, %v; strconv says %v, %v", s, got, ok, want, err)
		}
		if ok && math.Float64bits(got) != math.Float64bits(want) {
			t.Fatalf("ParseValue(%q) = %v, strconv says %v", s, got, want)
		}
	})
}

// FuzzCut asserts that the parts of a line make the line.
func FuzzCut(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		head, value, suffix, ok := statsdproto.Cut(line)
		if !ok {
			return
		}
		if again := bytes.Join([][]byte{head, slices.Concat(value, suffix)}, []byte(":")); !bytes.Equal(again, line) {
			t.Fatalf("Cut(%q) makes %q", line, again)
		}
		if short := statsdproto.CutTimestamp(suffix); !bytes.HasPrefix(suffix, short) {
			t.Fatalf("CutTimestamp(%q) = %q", suffix, short)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	line := []byte("http.requests.total:1|c|@0.1|#method:GET,code:200,zone:eu")
	var l statsdproto.Line
	b.ReportAllocs()
	for b.Loop() {
		_ = l.Parse(line, statsdproto.AllStyles)
	}
}
