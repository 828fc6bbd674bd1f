package statsdproto_test

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/pkg/statsdproto"
)

// spell says what a line was understood as.
func spell(l *statsdproto.Line, err error) string {
	if err != nil {
		return err.Error()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s", l.Name)
	for _, t := range l.Tags {
		fmt.Fprintf(&b, " %s=%s", t.Key, t.Value)
	}
	if l.Container != nil {
		fmt.Fprintf(&b, " container=%s", l.Container)
	}
	if l.Timestamp != nil {
		fmt.Fprintf(&b, " time=%s", l.Timestamp)
	}
	for _, s := range l.Samples {
		b.WriteString("; " + s.Type.String() + " ")
		switch {
		case s.Type == statsdproto.Set:
			fmt.Fprintf(&b, "%q", s.Member)
		case s.Relative:
			fmt.Fprintf(&b, "%+g", s.Value)
		default:
			fmt.Fprintf(&b, "%g", s.Value)
		}
		if s.Rate != 1 {
			fmt.Fprintf(&b, " @%g", s.Rate)
		}
	}
	for r, n := range l.Problems {
		if n > 0 {
			fmt.Fprintf(&b, "; %d %s", n, statsdproto.Reason(r).String())
		}
	}
	if l.BadTags > 0 {
		fmt.Fprintf(&b, "; %d bad tags", l.BadTags)
	}
	return b.String()
}

func TestParse(t *testing.T) {
	t.Parallel()
	tests := []struct{ line, want string }{
		{"a.b:1|c", "a.b; c 1"},
		{"a.b:1|c\r", "a.b; c 1"},
		{"", ""},
		{"a:1.5|c|@0.1", "a; c 1.5 @0.1"},
		{"a:5|g", "a; g 5"},
		{"a:+5|g", "a; g +5"},
		{"a:-5|g", "a; g -5"},
		{"a:1e3|ms", "a; ms 1000"},
		{"a:1|h", "a; h 1"},
		{"a:1|d", "a; d 1"},
		{"a:0x1p4|g", "a; g 16"},
		{"a:alice|s", `a; s "alice"`},
		{"a:2001:db8::1|s", `a; s "2001:db8::1"`},
		{"a:|s", "a; 1 malformed_value"},
		// Several samples.
		{"a:1|c:2|ms|@0.5:3|g", "a; c 1; ms 2 @0.5; g 3"},
		{"a:1|c:x|c:3|g", "a; c 1; g 3; 1 malformed_value"},
		{"a:x|s:y|s", `a; s "x"; s "y"`},
		{"a:1|c|@0.1:2|c:3|c", "a; c 1 @0.1; c 2; c 3"},
		// Extended aggregation.
		{"a:1:2:3|ms", "a; ms 1; ms 2; ms 3"},
		{"a:1:2:3|d|@0.5|#k:v", "a k=v; d 1 @0.5; d 2 @0.5; d 3 @0.5"},
		{"a:1:x|h|#k:v,bad", "a k=v; h 1; 1 malformed_value; 1 bad tags"},
		{"a:1::x|h|#k:v", "a k=v; h 1; 2 malformed_value"},
		{"a:1:2|c", "statsd: invalid_extended_aggregate_type"},
		// Tags.
		{"a[k=v,l=w]:1|c", "a k=v l=w; c 1"},
		{"a[k=v]b:1|c", "ab k=v; c 1"},
		{"[k=v]b:1|c", "b k=v; c 1"},
		{"a[k=v:1|c", "a[k=v; c 1; 1 bad tags"},
		{"]a[:1|c", "]a[; c 1; 1 bad tags"},
		{"a#k=v,l=w:1|c", "a k=v l=w; c 1"},
		{"a,k=v,l=w:1|c", "a k=v l=w; c 1"},
		{"a,k=v,:1|c", "a k=v; c 1"},
		{"a,k=v,,l=w:1|c", "a k=v l=w; c 1; 1 bad tags"},
		{"a,k=,=v,k:1|c", "a; c 1; 3 bad tags"},
		{"a:1|c|#k:v,l:w:x", "a k=v l=w:x; c 1"},
		{"a:1|c|#k:v,#l:w", "a k=v l=w; c 1"},
		{"a:1|c|#k:v,,l:,:w,m", "a k=v; c 1; 4 bad tags"},
		{"a:1|c|#", "a; c 1"},
		{"a,k=v:1|c|#l:w", "statsd: mixed_tagging_styles"},
		{"a,k:1|c|#l:w", "a l=w; c 1; 1 bad tags"},
		// Sections.
		{"a:1|c|#k:v|c:abc|T1656581400", "a k=v container=abc time=1656581400; c 1"},
		{"a:1|c|c:abc", "a container=abc; c 1"},
		{"a:1|c|@0.1|c:abc|T1", "a container=abc time=1; c 1 @0.1"},
		{"a:1|g|T1656581400", "a time=1656581400; g 1"},
		{"a:1|c|#k:v|c:abc|e:it-false,cn-x|card:low", "a k=v container=abc; c 1"},
		{"a:1|c|#k:v|c:", "a k=v; 1 malformed_container_id"},
		{"a:1|c|#k:v|cx", "a k=v; 1 malformed_container_id"},
		{"a:1|c|@x", "a; c 1; 1 invalid_sample_factor"},
		{"a:1|c|@0", "a; c 1"},
		{"a:1|c|x", "a; 1 invalid_sample_factor"},
		{"a:1|c||@0.1", "a; 1 malformed_component"},
		{"a:1|c|", "a; 1 malformed_component"},
		{"a:1|c|@1|@1|@1|@1|@1|@1|@1", "a; 1 malformed_component"},
		// Refused.
		{"a", "statsd: malformed_line"},
		{":1|c", "statsd: malformed_line"},
		{"a\xff:1|c", "statsd: malformed_line"},
		{"a:1", "statsd: not_enough_parts_after_colon"},
		{"a:1|x", "a; 1 illegal_event"},
		{"a:x|c", "a; 1 malformed_value"},
		{"a:1e999|c", "a; 1 malformed_value"},
		{"a:|c", "a; 1 malformed_value"},
	}
	for _, tt := range tests {
		t.Run(tt.line, func(t *testing.T) {
			t.Parallel()
			var l statsdproto.Line
			if diff := cmp.Diff(tt.want, spell(&l, l.Parse([]byte(tt.line), statsdproto.AllStyles))); diff != "" {
				t.Errorf("Parse(%q) (-want +got):\n%s", tt.line, diff)
			}
		})
	}
}

func TestParseLeavesOtherDialectsInTheName(t *testing.T) {
	t.Parallel()
	tests := []struct {
		styles     statsdproto.Styles
		line, want string
	}{
		{0, "a,k=v#l=w[m=x]:1|c|#n:y", "a,k=v#l=w[m=x]; c 1"},
		{statsdproto.Influx, "a[m=x],k=v:1|c", "a[m=x] k=v; c 1"},
		{statsdproto.Librato, "a,b#l=w:1|c", "a,b l=w; c 1"},
		{statsdproto.SignalFX, "a,b[l=w]:1|c", "a,b l=w; c 1"},
		{statsdproto.Datadog, "a,b:1|c|#l:w", "a,b l=w; c 1"},
	}
	for _, tt := range tests {
		var l statsdproto.Line
		if diff := cmp.Diff(tt.want, spell(&l, l.Parse([]byte(tt.line), tt.styles))); diff != "" {
			t.Errorf("Parse(%q, %v) (-want +got):\n%s", tt.line, tt.styles, diff)
		}
	}
}

func TestTimes(t *testing.T) {
	t.Parallel()
	tests := []struct {
		rate float64
		want int
	}{
		{1, 1}, {0.1, 10}, {0.3, 3}, {2, 0}, {-1, 0}, {1e-12, 1000}, {math.NaN(), 0}, {math.Inf(1), 0},
	}
	for _, tt := range tests {
		s := statsdproto.Sample{Rate: tt.rate}
		if got := s.Times(1000); got != tt.want {
			t.Errorf("Times at rate %v is %d, want %d", tt.rate, got, tt.want)
		}
	}
}

func TestParseValueAgreesWithStrconv(t *testing.T) {
	t.Parallel()
	values := []string{
		"0", "-0", "+0", "1", "+1.5", "-1.5", ".5", "5.", ".", "+", "-", "", "1.2.3", "123456789012345", "1234567890123456", "0.1", "0.3",
		"99999999999999.9", "0.000000000000001", "0.0000000000000001", "1e5", "1E-5", "inf", "-Infinity", "nan", "0x1p-2", "1_000", "1,5", "1 ", "é", "1e400",
	}
	for _, s := range values {
		want, err := strconv.ParseFloat(s, 64)
		got, ok := statsdproto.ParseValue([]byte(s))
		if ok != (err == nil) || (ok && math.Float64bits(got) != math.Float64bits(want) && !math.IsNaN(got)) {
			t.Errorf("ParseValue(%q) = %v, %v; strconv says %v, %v", s, got, ok, want, err)
		}
	}
}

func TestCut(t *testing.T) {
	t.Parallel()
	tests := []struct{ line, head, value, suffix string }{
		{"a:1|c", "a", "1", "|c"},
		{"a,k=v:1.5|c|@0.1|#x:y", "a,k=v", "1.5", "|c|@0.1|#x:y"},
		{"a:1:2|ms", "a", "1:2", "|ms"},
		{"a:1", "", "", ""},
		{":1|c", "", "", ""},
		{"a", "", "", ""},
	}
	for _, tt := range tests {
		head, value, suffix, ok := statsdproto.Cut([]byte(tt.line))
		got := []string{string(head), string(value), string(suffix)}
		if diff := cmp.Diff([]string{tt.head, tt.value, tt.suffix}, got); diff != "" || ok != (tt.head != "") {
			t.Errorf("Cut(%q), %v (-want +got):\n%s", tt.line, ok, diff)
		}
	}
}

func TestCutTimestamp(t *testing.T) {
	t.Parallel()
	for suffix, want := range map[string]string{
		"|g|T123": "|g", "|g|#k:v|c:x|T1": "|g|#k:v|c:x", "|g|T": "|g|T", "|g": "|g", "|g|@0.1": "|g|@0.1", "": "", "12": "12", "|g|Tx1": "|g|Tx1", "T1": "T1",
	} {
		if got := string(statsdproto.CutTimestamp([]byte(suffix))); got != want {
			t.Errorf("CutTimestamp(%q) = %q, want %q", suffix, got, want)
		}
	}
}

func TestParseTakesNoMemory(t *testing.T) {
	var l statsdproto.Line
	lines := [][]byte{
		[]byte("http.requests.total:1|c|@0.1|#method:GET,code:200,zone:eu|c:abc|T1656581400"),
		[]byte("a[k=v]b:1|c:2|ms:3|g"), []byte("a:1:2:3:x|ms"), []byte("a\xff:1|c"), []byte("a:zzz|c"), []byte("a:1.23456789012345678|g"),
	}
	for _, line := range lines {
		_ = l.Parse(line, statsdproto.AllStyles) // grows it
		if n := testing.AllocsPerRun(100, func() { _ = l.Parse(line, statsdproto.AllStyles) }); n > 0 {
			t.Errorf("Parse(%q) takes memory %v times", line, n)
		}
	}
}
