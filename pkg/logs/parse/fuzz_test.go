package parse_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/dragoman-mesh/dragoman/pkg/logs/parse"
	"github.com/dragoman-mesh/dragoman/pkg/logs/record"
)

// FuzzParse: whatever a line is, the record of it is one object of JSON whose body
// is the text, and a line of JSON that is taken is one for encoding/json, too.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		`{"level":"info","msg":"x","a":{"b":[1,2.5e3,"\u00e9"]},"ts":1}`, `{"msg":"\ud83d\ude00\ud83d"}`,
		`127.0.0.1 - - [02/Jan/2026:15:04:05 +0000] "GET / HTTP/1.1" 200 5 "-" "x"`,
		`2026/01/02 15:04:05 [error] 1#1: *1 x, client: 1, server: y, request: "GET / HTTP/1.1", host: "z"`,
		`a=b c="d \"e\"" f`, "ERROR x", "\x00\xff\xfe", `{"a":1`, "2026-01-02T15:04:05Z stdout F x", `{"log":"x\n","stream":"stdout","time":"2026-01-02T15:04:05Z"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		for _, format := range []parse.Format{parse.Plain, parse.NginxCombined, parse.NginxError, parse.JSON, parse.Logfmt, parse.Regex} {
			o := parse.Options{Format: format}
			if o.Format == parse.Regex {
				o.Pattern = `^(?P<level>\w+) (?P<rest>.*)$`
			}
			p, err := parse.New(o)
			if err != nil {
				t.Fatal(err)
			}
			var r record.Record
			ok := p.Parse(line, &r)
			if ok && o.Format == parse.JSON && !json.Valid(bytes.ToValidUTF8(line, []byte("\uFFFD"))) {
				t.Errorf("%q is taken for JSON", line)
			}
			if !ok {
				r.Reset()
				r.Body = record.Value{Bytes: line}
			}
			check(t, &r, o.Format == parse.Plain, line)
		}
		for _, runtime := range []parse.Runtime{parse.CRI, parse.Docker} {
			parse.NewUnwrapper(runtime).Unwrap(line)
		}
	})
}

func check(t *testing.T, r *record.Record, plain bool, line []byte) {
	t.Helper()
	var w record.Writer
	out := w.Append(nil, true, r, record.NewResource(map[string]string{"a": "b"}))
	var back struct {
		Body       string
		Attributes map[string]json.RawMessage
	}
	if err := json.Unmarshal(out, &back); err != nil || !utf8.Valid(out) {
		t.Fatalf("%q becomes %q: %v", line, out, err)
	}
	if want := strings.ToValidUTF8(string(line), "\uFFFD"); plain && utf8.Valid(line) && back.Body != want {
		t.Errorf("%q becomes the body %q", line, back.Body)
	}
	if len(back.Attributes) > len(r.Attributes) {
		t.Errorf("%q has more attributes than were found", line)
	}
}

// FuzzUnescape: what encoding/json writes is read back.
func FuzzUnescape(f *testing.F) {
	f.Add("a\"\\\n\u00e9\U0001F600\x00")
	f.Fuzz(func(t *testing.T, text string) {
		text = strings.ToValidUTF8(text, "x")
		quoted := record.AppendString(nil, []byte(text))
		if got := string(record.Unescape(nil, quoted[1:len(quoted)-1])); got != text {
			t.Errorf("%q comes back as %q", text, got)
		}
		theirs, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(record.Unescape(nil, theirs[1:len(theirs)-1])); got != text {
			t.Errorf("%q of encoding/json comes back as %q", text, got)
		}
	})
}
