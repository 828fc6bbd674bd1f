package statsd

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/expfmt"

	"github.com/dragoman-mesh/dragoman/pkg/metrics/statsd/mapping"
	"github.com/dragoman-mesh/dragoman/pkg/statsdproto"
)

func mustParse(tb testing.TB, text string) *mapping.File {
	tb.Helper()
	f, errs := mapping.Parse("mapping.yml", []byte(text))
	if err := errs.Err(); err != nil {
		tb.Fatal(err)
	}
	return f
}

// shows is the samples that a store shows at a time, without help and types.
func shows(t *testing.T, s *store, now int64) string {
	t.Helper()
	var b strings.Builder
	for _, f := range s.gather(now) {
		if _, err := expfmt.MetricFamilyToText(&b, f); err != nil {
			t.Fatal(err)
		}
	}
	var out strings.Builder
	for line := range strings.Lines(b.String()) {
		if line[0] != '#' {
			out.WriteString(line)
		}
	}
	return out.String()
}

func expect(t *testing.T, what, want, got string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// TestAgain: a line that was there before comes to the same as one that was not.
func TestAgain(t *testing.T) {
	t.Parallel()
	lines := []string{
		"c:1|c", "c:x|c", "c:2|c|@0.5", "c:1|c|@x", "g:5|g", "g:-1|g", "g:+1|g|T1656581400", "h:1:2:3|h|#k:v", "h:1:x:3|h|#k:v", "h:1|h|#k:v", "t:20|ms|@0.1", "s:a|s", "s:a:b|s",
		"m,k=v,bad:1|c:2|c", "d:1|d|@2", "n:-1|c", "c:1|g", "x:1|zz", "a[k=v]b:1|c", "c:NaN|c", "c:+Inf|c", "c:1|c|#k:v,bad|c:abc",
	}
	var once, again *store
	for _, rounds := range []int{1, 3} {
		s := newStore(Options{})
		for range rounds {
			for _, l := range lines {
				s.packet([]byte(l+"\n"), 1)
				if rounds == 1 {
					for range 2 { // each time as if it had never been there
						s.lines.reset()
						s.packet([]byte(l+"\n"), 1)
					}
					s.lines.reset()
				}
			}
		}
		once, again = again, s
	}
	// A gauge's value depends on the order; only what was added is compared.
	want, got := shows(t, once, 1), shows(t, again, 1)
	expect(t, "counters", only(want, "c", "h", "t", "s", "m", "ab"), only(got, "c", "h", "t", "s", "m", "ab"))
	if diff := cmp.Diff(once.stats, again.stats); diff != "" {
		t.Errorf("stats (-parsed anew +known):\n%s", diff)
	}
}

func only(text string, prefixes ...string) string {
	var out strings.Builder
	for line := range strings.Lines(text) {
		for _, p := range prefixes {
			if strings.HasPrefix(line, p) {
				out.WriteString(line)
				break
			}
		}
	}
	return out.String()
}

func TestExpiry(t *testing.T) {
	t.Parallel()
	s := newStore(Options{Mapping: mustParse(t, `
defaults: {ttl: 10s}
mappings: [{match: "long.*", name: "long", ttl: 1m, labels: {which: "$1"}}]`)})
	const second = int64(time.Second)
	s.packet([]byte("a:1|c\nlong.x:1|c\nlong.y:1|c"), 0)
	s.packet([]byte("a:1|c\nlong.y:1|c"), 8*second)
	expect(t, "within the time", "a 2\nlong{which=\"x\"} 1\nlong{which=\"y\"} 2\n", shows(t, s, 15*second))
	expect(t, "after 10 s of silence", "long{which=\"x\"} 1\nlong{which=\"y\"} 2\n", shows(t, s, 30*second))
	s.packet([]byte("a:1|g"), 31*second) // free for another type
	expect(t, "as another type", "a 1\nlong{which=\"x\"} 1\nlong{which=\"y\"} 2\n", shows(t, s, 32*second))
	expect(t, "after a minute", "long{which=\"y\"} 2\n", shows(t, s, 61*second))
	s.packet([]byte("long.x:1|c"), 63*second)
	expect(t, "begun anew", "long{which=\"x\"} 1\nlong{which=\"y\"} 2\n", shows(t, s, 64*second))
	if s.stats.Expired != 3 {
		t.Errorf("%d series have expired, want 3", s.stats.Expired)
	}
}

func TestLimit(t *testing.T) {
	s := newStore(Options{MaxSeries: 100, Mapping: mustParse(t, "defaults: {ttl: 10s}")})
	line := func(i int) []byte { return fmt.Appendf(nil, "m%d,k=v%d:1|c", i%7, i) }
	for i := range 1_000_000 {
		s.packet(line(i), 1)
	}
	if s.count != 100 || s.stats.OverLimit != 999_900 {
		t.Errorf("%d series, %d samples lost; want 100 and 999900", s.count, s.stats.OverLimit)
	}
	if n := len(s.lines.young.slots) + len(s.lines.old.slots); n > 4096 {
		t.Errorf("%d slots for lines", n)
	}
	over := line(200)
	if n := testing.AllocsPerRun(100, func() { s.packet(over, 1) }); n > 0 {
		t.Errorf("a sample of a series too many takes memory %v times", n)
	}
	s.packet(over, int64(20*time.Second))
	expect(t, "when room has become free", "m4{k=\"v200\"} 1\n", shows(t, s, int64(20*time.Second)))
}

// TestLinesAreForgotten: a table of lines that has become too large loses what
// is not used, and nothing else changes.
func TestLinesAreForgotten(t *testing.T) {
	t.Parallel()
	s := newStore(Options{MaxSeries: 128})
	for i := range 100_000 {
		s.packet(fmt.Appendf(nil, "a:1|c|@0.%d1", i), 1)
		s.packet([]byte("b:1|c"), 1)
	}
	if s.lines.rotated == 0 || s.lines.young.used > s.lines.most {
		t.Errorf("%d lines are known, the older ones went %d times", s.lines.young.used, s.lines.rotated)
	}
	expect(t, "b", "b 100000\n", only(shows(t, s, 1), "b"))
}

func TestKnownLineTakesNoMemory(t *testing.T) {
	s := newStore(Options{Mapping: mustParse(t, `
mappings: [{match: "h.*", name: "h", observer_type: histogram, labels: {which: "$1"}}]`)})
	for _, l := range []string{"a:1|c|@0.1|#k:v,l:w", "g,k=v:+5|g", "h.x:12|ms", "a:1|c|#k:v|c:x|T1656581400", "s:alice|s"} {
		line := []byte(l)
		s.packet(line, 1)
		if n := testing.AllocsPerRun(100, func() { s.packet(line, 1) }); n > 0 {
			t.Errorf("%q takes memory %v times", l, n)
		}
	}
}

func TestNewMapping(t *testing.T) {
	t.Parallel()
	s := newStore(Options{Mapping: mustParse(t, `mappings: [{match: "a.*", name: "a", labels: {which: "$1"}}]`)})
	s.packet([]byte("a.x:1|c\na.y:2|c|#k:v\nb:3|c:4|g\nc:5|c"), 1)
	expect(t, "before", "a{which=\"x\"} 1\na{k=\"v\",which=\"y\"} 2\nb 3\nc 5\n", shows(t, s, 1))
	s.remap(mustParse(t, `
mappings:
- {match: "a.*", name: "a", labels: {which: "$1"}, help: "New.", scale: 10, match_metric_type: counter}
- {match: "c", name: "renamed"}`))
	s.packet([]byte("a.x:1|c\na.y:2|c|#k:v\nc:5|c"), 1)
	expect(t, "what is mapped to the same goes on", "a{which=\"x\"} 11\na{k=\"v\",which=\"y\"} 22\nb 3\nrenamed 5\n", shows(t, s, 1))
	if help := s.gather(1)[0].GetHelp(); help != "New." {
		t.Errorf("help %q", help)
	}
}

// TestLossesDoNotBreakTheRest: what can't be shown is counted, by its reason.
func TestLossesDoNotBreakTheRest(t *testing.T) {
	t.Parallel()
	s := newStore(Options{MaxLine: 100, Mapping: mustParse(t, `
mappings:
- {match: "nothing(.*)", match_type: regex, name: "$1"}
- {match: "hist", name: "hist", observer_type: histogram}`)})
	for _, l := range []string{
		"ok:1|c", "ok:1|g", "ok:1|ms", "ok:1|s", "t:1|ms", "t_sum:1|c", "hist:1|ms|#le:5,__name__:x,___:y", "t:1|ms|#quantile:0.5", "bad\xff:1|c", "#k=v:1|c", "nothing:1|c",
		"n:-1|c", "i:inf|c", "i:nan|ms", strings.Repeat("x", 101) + ":1|c", "__reserved__:1|c",
	} {
		s.packet([]byte(l), 1)
	}
	want := `__reserved__ 1
hist_bucket{_="y",_name__="x",exported_le="5",le="0.005"} 1
ok 1
t{quantile="0.5"} 0.001
t{exported_quantile="0.5",quantile="0.5"} 0.001
t_sum{exported_quantile="0.5"} 0.001
t_count{exported_quantile="0.5"} 1
`
	got := shows(t, s, 1)
	var kept strings.Builder
	for line := range strings.Lines(got) {
		if strings.Contains(line, `le="0.005"`) || strings.Contains(line, `quantile="0.5"} `) || strings.HasPrefix(line, "ok") || strings.HasPrefix(line, "__") {
			kept.WriteString(line)
		}
	}
	expect(t, "shown", want, kept.String())
	losses := map[string]uint64{}
	for reason, n := range s.stats.losses() {
		if n > 0 {
			losses[reason] = n
		}
	}
	if diff := cmp.Diff(map[string]uint64{
		"type_conflict": 4, "malformed_line": 1, "empty_metric_name": 2, "illegal_negative_counter": 1, "illegal_number": 2, "line_too_long": 1,
	}, losses); diff != "" {
		t.Errorf("losses (-want +got):\n%s", diff)
	}
}

// TestEmptyMember: a member that is empty is none, also of a set that is known.
func TestEmptyMember(t *testing.T) {
	t.Parallel()
	s := newStore(Options{})
	s.packet([]byte("u:a|s\nu:|s\nu:|s"), 0)
	expect(t, "shown", "u 1\n", only(shows(t, s, 0), "u"))
	if n := s.stats.Problems[statsdproto.MalformedValue]; n != 2 {
		t.Errorf("%d are counted as malformed, want 2", n)
	}
}

// TestSets counts members of the last while.
func TestSets(t *testing.T) {
	t.Parallel()
	const step = int64(30 * time.Second)
	s := newStore(Options{})
	s.packet([]byte("u:alice|s\nu:bob|s\nu:alice|s\nu:2001:db8::1|s"), 0)
	expect(t, "distinct", "u 3\n", shows(t, s, 1))
	s.packet([]byte("u:carol|s"), step+1)
	expect(t, "with those of the step before", "u 4\n", shows(t, s, step+1))
	expect(t, "a step later", "u 1\n", shows(t, s, 2*step+1))
	expect(t, "long after", "u 0\n", shows(t, s, 100*step))
}

func TestManyMembersAreEstimated(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 100, exactMembers, 600, 2000, 10_000, 100_000} {
		s := newStore(Options{})
		for i := range 2 * n {
			s.packet(fmt.Appendf(nil, "u:member %d|s", i%n), 1)
		}
		got := s.families["u"].series[""].set.count(1)
		allowed := 0.08 * float64(n) // five times the standard error
		if n <= exactMembers {
			allowed = 0
		}
		if math.Abs(got-float64(n)) > allowed {
			t.Errorf("%v members of %d", got, n)
		}
	}
}

// TestStableFamilies: what Gather returned stays the same objects, for those who
// keep what they made of them.
func TestStableFamilies(t *testing.T) {
	s := newStore(Options{})
	s.packet([]byte("b:1|c|#k:v\nc:1|c"), 1)
	first := s.gather(1)
	b, metric := first[0], first[0].Metric[0]
	s.packet([]byte("b:1|c|#k:v\nb:1|c|#k:a\na:1|c"), 1)
	second := s.gather(1)
	if second[1] != b || second[1].Metric[1] != metric || metric.Counter.GetValue() != 2 {
		t.Errorf("the family or the metric has changed: %v", second)
	}
	if n := testing.AllocsPerRun(10, func() { s.gather(1) }); n > 0 {
		t.Errorf("gathering what is known takes memory %v times", n)
	}
}

func TestCreated(t *testing.T) {
	t.Parallel()
	s := newStore(Options{})
	at := time.Unix(1_700_000_000, 0)
	s.packet([]byte("c:1|c\nt:1|ms"), at.UnixNano())
	s.packet([]byte("c:1|c\nt:1|ms"), at.Add(time.Hour).UnixNano())
	families := s.gather(at.Add(time.Hour).UnixNano())
	if got := families[0].Metric[0].Counter.CreatedTimestamp.AsTime(); !got.Equal(at) {
		t.Errorf("the counter was made at %v, want %v", got, at)
	}
	if got := families[1].Metric[0].Summary.CreatedTimestamp.AsTime(); !got.Equal(at) {
		t.Errorf("the summary was made at %v, want %v", got, at)
	}
}

// FuzzTake asserts that a line means the same when it comes again, and that
// nothing it says makes what is shown invalid.
func FuzzTake(f *testing.F) {
	for _, s := range []string{"a:1|c", "a:1:2|ms|#k:v", "a[k=v]:1|c:2|g", "a:x|s", "a,__name__=b,le=c:1|h|@0.1", "a:1|c|c:x|T5", "-:1|c", "é:1|c"} {
		f.Add([]byte(s))
	}
	file := mustParse(f, `mappings: [{match: "*.*", name: "m_${1}", observer_type: histogram, labels: {l: "$2"}}]`)
	f.Fuzz(func(t *testing.T, line []byte) {
		known, anew := newStore(Options{Mapping: file}), newStore(Options{Mapping: file})
		for range 3 {
			known.packet(line, 1)
			anew.packet(line, 1)
			anew.lines.reset()
		}
		if diff := cmp.Diff(anew.stats, known.stats); diff != "" {
			t.Fatalf("stats (-parsed anew +known):\n%s", diff)
		}
		if diff := cmp.Diff(shows(t, anew, 1), shows(t, known, 1)); diff != "" && known.stats.Events[setEvent] == 0 {
			t.Fatalf("shown (-parsed anew +known):\n%s", diff)
		}
		for _, family := range known.gather(1) {
			if name := family.GetName(); strings.ContainsFunc(name, func(r rune) bool { return r > 'z' }) || name == "" {
				t.Fatalf("a family is called %q", name)
			}
			for _, m := range family.Metric {
				for i, l := range m.Label {
					if strings.HasPrefix(l.GetName(), "__") || l.GetName() == "" || (i > 0 && l.GetName() <= m.Label[i-1].GetName()) {
						t.Fatalf("labels %v", m.Label)
					}
				}
			}
		}
	})
}
