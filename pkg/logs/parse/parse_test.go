package parse_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/internal/goldentest"
	"github.com/dragoman-mesh/dragoman/pkg/logs/parse"
	"github.com/dragoman-mesh/dragoman/pkg/logs/record"
)

// TestGolden parses the lines of each case and compares the records. A line in
// double quotes is one as Go has it, for what a file cannot show.
func TestGolden(t *testing.T) {
	t.Parallel()
	goldentest.Run(t, "testdata/*.txtar", golden)
}

func golden(t *testing.T, c *goldentest.Case) {
	var o parse.Options
	if err := json.Unmarshal(c.Files[0].Data, &o); err != nil {
		t.Fatal(err)
	}
	p, err := parse.New(o)
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	var w record.Writer
	res := record.NewResource(nil)
	for line := range strings.Lines(string(c.Files[1].Data)) {
		line = strings.TrimSuffix(line, "\n")
		if text, err := strconv.Unquote(line); err == nil && strings.HasPrefix(line, `"`) {
			line = text
		}
		var r record.Record
		if !p.Parse([]byte(line), &r) {
			r.Reset()
			r.Body, r.Unparsed = record.Value{Bytes: []byte(line)}, true
		}
		out := w.Append(nil, false, &r, res)
		if !json.Valid(out) {
			t.Errorf("not JSON: %s", out)
		}
		got.Write(append(out, '\n'))
	}
	c.Compare(t, map[string]string{"records": got.String()})
}

func TestOptions(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		o    parse.Options
		ok   bool
	}{
		{"nothing", parse.Options{}, true},
		{"an unknown format", parse.Options{Format: "x"}, false},
		{"a pattern without regex", parse.Options{Pattern: "x"}, false},
		{"regex without a pattern", parse.Options{Format: parse.Regex}, false},
		{"a pattern that is none", parse.Options{Format: parse.Regex, Pattern: "("}, false},
		{"a pattern without names", parse.Options{Format: parse.Regex, Pattern: "(x)"}, false},
		{"fields of plain", parse.Options{Fields: parse.Fields{Body: "x"}}, false},
		{"a time that is none", parse.Options{Format: parse.JSON, Fields: parse.Fields{TimeFormat: "x"}}, false},
		{"a severity that is none", parse.Options{Format: parse.JSON, Fields: parse.Fields{Severities: map[string]string{"a": "b"}}}, false},
		{"one field, two meanings", parse.Options{Format: parse.JSON, Fields: parse.Fields{Body: "a", Severity: "a"}}, false},
	}
	for _, tt := range tests {
		_, err := parse.New(tt.o)
		if (err == nil) != tt.ok || err != nil && !errors.Is(err, parse.ErrOptions) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func TestTimes(t *testing.T) {
	t.Parallel()
	tests := []struct{ form, text, want string }{
		{"", "2026-01-02T15:04:05Z", "2026-01-02T15:04:05.000000000Z"},
		{"", "2026-01-02T15:04:05.123456789+02:00", "2026-01-02T13:04:05.123456789Z"},
		{"", "2026-01-02 15:04:05,5 -0130", "2026-01-02T16:34:05.500000000Z"},
		{"", "2026/01/02 15:04:05", "2026-01-02T15:04:05.000000000Z"},
		{"", "2026-01-02T15:04:05.1234567899Z", "2026-01-02T15:04:05.123456789Z"},
		{"", "02/Jan/2026:15:04:05 +0100", "2026-01-02T14:04:05.000000000Z"},
		{"", "1767366245", "2026-01-02T15:04:05.000000000Z"},
		{"", "1767366245.25", "2026-01-02T15:04:05.250000000Z"},
		{"", "1767366245123", "2026-01-02T15:04:05.123000000Z"},
		{"", "1767366245123456", "2026-01-02T15:04:05.123456000Z"},
		{"", "1767366245123456789", "2026-01-02T15:04:05.123456789Z"},
		{"unix", "1", "1970-01-01T00:00:01.000000000Z"},
		{"unixMilli", "1", "1970-01-01T00:00:00.001000000Z"},
		{"unixMicro", "1", "1970-01-01T00:00:00.000001000Z"},
		{"unixNano", "1", "1970-01-01T00:00:00.000000001Z"},
		{"rfc3339", "2024-02-29T00:00:00Z", "2024-02-29T00:00:00.000000000Z"},
		{"rfc3339", "2026-01-02T23:59:60Z", "2026-01-03T00:00:00.000000000Z"},
		{"2006-01-02 15h04m05", "2026-01-02 15h04m05", "2026-01-02T15:04:05.000000000Z"},
		{"rfc3339", "2026-02-29T00:00:00Z", ""},
		{"rfc3339", "2026-13-01T00:00:00Z", ""},
		{"rfc3339", "2026-01-01T24:00:00Z", ""},
		{"rfc3339", "2026-01-01T00:00:00+2", ""},
		{"rfc3339", "0001-01-01T00:00:00Z", ""},
		{"rfc3339", "9999-01-01T00:00:00Z", ""},
		{"rfc3339", "2026-01-01", ""},
		{"clf", "02/Foo/2026:15:04:05 +0100", ""},
		{"clf", "02/anF/2026:15:04:05 +0100", ""},
		{"unix", "99999999999999999999", ""},
		{"unix", "9999999999999", ""},
		{"unix", "-1", ""},
		{"unix", "1.", ""},
		{"", "", ""},
		{"", "now", ""},
		{"2006-01-02 15:04:05 MST", "2026-01-02 15:04:05 UTC", "2026-01-02T15:04:05.000000000Z"},
		{"2006-01-02 15:04:05 MST", "2026-01-02 15:04:05 GMT", "2026-01-02T15:04:05.000000000Z"},
		{"2006-01-02 15:04:05 MST -0700", "2026-01-02 15:04:05 QST +0200", "2026-01-02T13:04:05.000000000Z"},
		{"2006-01-02 15:04:05 MST", "2026-01-02 15:04:05 QST", ""}, // nobody here knows what that is
		{"2006-01-02 15:04:05", "x", ""},
		{"2006-01-02 15:04:05", "9999-01-02 15:04:05", ""},
	}
	for _, tt := range tests {
		c, err := parse.NewClock(tt.form)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second time from memory
			got := ""
			if nanos, ok := c.Parse([]byte(tt.text)); ok {
				got = time.Unix(0, nanos).UTC().Format("2006-01-02T15:04:05.000000000Z")
			}
			if got != tt.want {
				t.Errorf("%s %q: got %q, want %q", tt.form, tt.text, got, tt.want)
			}
		}
	}
}

func TestUnwrap(t *testing.T) {
	t.Parallel()
	type u = parse.Unwrapped
	const at = 1767366245123456789
	tests := []struct {
		runtime parse.Runtime
		line    string
		want    *u
	}{
		{parse.CRI, "2026-01-02T15:04:05.123456789Z stdout F hello world", &u{Content: []byte("hello world"), Timestamp: at}},
		{parse.CRI, "2026-01-02T15:04:05.123456789Z stderr P half", &u{Content: []byte("half"), Timestamp: at, Stderr: true, Partial: true}},
		{parse.CRI, "2026-01-02T15:04:05.123456789Z stdout F:x ", &u{Timestamp: at}},
		{parse.CRI, "2026-01-02T15:04:05.123456789Z stdout F", &u{Timestamp: at}},
		{parse.CRI, "2026-01-02T15:04:05.123456789Z stdin F x", nil},
		{parse.CRI, "2026-01-02T15:04:05.123456789Z stdout X x", nil},
		{parse.CRI, "yesterday stdout F x", nil},
		{parse.CRI, "", nil},
		{parse.Docker, `{"log":"a\tb\r\n","stream":"stderr","time":"2026-01-02T15:04:05.123456789Z"}`, &u{Content: []byte("a\tb"), Timestamp: at, Stderr: true}},
		{parse.Docker, `{"log":"half","stream":"stdout","attrs":{"a":"b"},"time":"2026-01-02T15:04:05.123456789Z"}`, &u{Content: []byte("half"), Timestamp: at, Partial: true}},
		{parse.Docker, `{"log":"x\n","stream":"stdout"}`, nil},
		{parse.Docker, `{"stream":"stdout","time":"2026-01-02T15:04:05.123456789Z"}`, nil},
		{parse.Docker, `{"log":1}`, nil},
		{parse.Docker, `{"log":"x\n"`, nil},
		{parse.Docker, `log`, nil},
	}
	for _, tt := range tests {
		got, ok := parse.NewUnwrapper(tt.runtime).Unwrap([]byte(tt.line))
		if ok != (tt.want != nil) {
			t.Errorf("%q: %v", tt.line, ok)
			continue
		}
		if tt.want == nil {
			continue
		}
		if len(got.Content) == 0 {
			got.Content = nil
		}
		if diff := cmp.Diff(*tt.want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", tt.line, diff)
		}
	}
}

func TestJoiner(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		lines []string
		want  []string // with ... where something is missing
	}{
		{"none", nil, nil},
		{"events", []string{"A", " a", " b", "B", "C", " c"}, []string{"A\n a\n b", "B", "C\n c"}},
		{"begins in the middle", []string{" x", " y", "A"}, []string{" x\n y", "A"}},
		{"too many lines", []string{"A", " 1", " 2", " 3", " 4", "B"}, []string{"A\n 1\n 2\n 3", " 4", "B"}},
		{"too many bytes", []string{"A", " " + strings.Repeat("x", 40), " y", "B"}, []string{"A\n " + strings.Repeat("x", 29) + "...", "B"}},
	}
	for _, tt := range tests {
		j := parse.NewJoiner(regexp.MustCompile(`^[A-Z]`), 4, 32)
		var got []string
		take := func(e parse.Event, ok bool) {
			if !ok {
				return
			}
			text := string(e.Text)
			if e.Cut {
				text = strings.TrimRight(text, "\n") + "..."
			}
			got = append(got, text)
		}
		for _, line := range tt.lines {
			take(j.Add([]byte(line), false))
		}
		take(j.Flush())
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
		if j.Pending() {
			t.Errorf("%s: something is left", tt.name)
		}
	}
}
