package transform_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/pkg/transform"
	"github.com/dragoman-mesh/dragoman/pkg/transform/mapping"
	"github.com/dragoman-mesh/dragoman/pkg/transform/value"
)

// TestStreamIsApply: whatever the pieces in which a body arrives, a stream of it
// becomes what the whole does.
func TestStreamIsApply(t *testing.T) {
	t.Parallel()
	bodies := map[transform.Format][]string{
		transform.NDJSON: {"", "{\"a\":1}\n\n{\"a\":\"x\\ny\"}\r\n{\"a\":null}", "[1]\n2\n"},
		transform.CSV:    {"a\r\n1\r\n\"2\n\"\"3\"\r\n", "a\n", "a\n1", "\ufeffa\r\n\ufeffb\r\n"},
		transform.JSON:   {"[]", " [ ] ", `[{"a":"],["},{"a":[1,2]} , {"a":{"b":"\""}}]`, `{"a":1}`, "[\n1,\n2]\n"},
	}
	for from, texts := range bodies {
		for _, to := range []transform.Format{transform.NDJSON, transform.CSV, transform.JSON} {
			spec := transform.Spec{From: transform.Side{Format: from}, To: transform.Side{Format: to}}
			p := compile(t, &spec)
			if p.Streams() != (from != transform.JSON || to != transform.JSON) {
				t.Errorf("%s to %s: Streams is %t", from, to, p.Streams())
			}
			if !p.Streams() {
				continue
			}
			for _, text := range texts {
				want, wantErr := p.Apply(t.Context(), nil, []byte(text), "")
				for name, r := range map[string]io.Reader{"whole": strings.NewReader(text), "bytes": iotest.OneByteReader(strings.NewReader(text)), "halves": iotest.HalfReader(iotest.DataErrReader(strings.NewReader(text)))} {
					var got bytes.Buffer
					err := p.Stream(t.Context(), &got, r, "")
					if (err == nil) != (wantErr == nil) {
						t.Errorf("%s to %s, %s, %q: %v; Apply: %v", from, to, name, text, err, wantErr)
					}
					if err == nil && got.String() != string(want) {
						t.Errorf("%s to %s, %s, %q:\n%s", from, to, name, text, cmp.Diff(string(want), got.String()))
					}
				}
			}
		}
	}
}

func compile(t testing.TB, spec *transform.Spec) *transform.Program {
	t.Helper()
	p, err := transform.Compile(spec)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// endless gives records without end, and counts what has been asked for.
type endless struct {
	record string
	left   int
	at     int
}

func (e *endless) Read(b []byte) (int, error) {
	if e.left == 0 {
		return 0, io.EOF
	}
	n := copy(b, e.record[e.at:])
	if e.at += n; e.at == len(e.record) {
		e.at = 0
		e.left--
	}
	return n, nil
}

func TestStreamMap(t *testing.T) {
	t.Parallel()
	p := compile(t, &transform.Spec{
		From: transform.Side{Format: transform.JSON}, To: transform.Side{Format: transform.CSV},
		Map: &mapping.Map{Move: map[string]string{"[].a": "[].b"}, Coerce: map[string]mapping.Type{"[].b": mapping.String}},
	})
	if !p.Streams() {
		t.Fatal("a map of elements does not stream")
	}
	var got bytes.Buffer
	if err := p.Stream(t.Context(), &got, strings.NewReader(`[{"a":1},{"a":2}]`), ""); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("b\r\n1\r\n2\r\n", got.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	whole := compile(t, &transform.Spec{
		From: transform.Side{Format: transform.JSON}, To: transform.Side{Format: transform.CSV},
		Map: &mapping.Map{Move: map[string]string{"orders": "."}},
	})
	if whole.Streams() {
		t.Error("a map of the whole body streams")
	}
}

// TestStreamMemory: a hundred megabytes go through in the memory of a few records.
func TestStreamMemory(t *testing.T) {
	t.Parallel()
	p := compile(t, &transform.Spec{From: transform.Side{Format: transform.NDJSON}, To: transform.Side{Format: transform.CSV}})
	record := fmt.Sprintf("{\"a\":%q}\n", strings.Repeat("x", 1000))
	r := &endless{record: record, left: 20000}
	w := &largest{}
	if err := p.Stream(t.Context(), w, r, ""); err != nil {
		t.Fatal(err)
	}
	if w.total != 20000*1002+3 {
		t.Errorf("%d bytes were written", w.total)
	}
	if w.most > 128<<10 {
		t.Errorf("%d bytes were written at once", w.most)
	}
}

// largest remembers the largest write.
type largest struct{ most, total int }

func (l *largest) Write(b []byte) (int, error) {
	l.most = max(l.most, len(b))
	l.total += len(b)
	return len(b), nil
}

func TestStreamErrors(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		from, to transform.Format
		in       string
		is       error
		want     string
		written  string
	}{
		{"a bad line", transform.NDJSON, transform.JSON, "1\n\n{\"a\":tru}\n", value.ErrMalformed, `ndjson line 3, byte 6, [1].a: a value was expected`, "[1"},
		{"a long record", transform.NDJSON, transform.JSON, strings.Repeat(" ", 2<<20), value.ErrTooLarge, `ndjson, [0]: a record of more than 1048576 bytes`, "["},
		{"another column", transform.NDJSON, transform.CSV, "{\"a\":1}\n{\"b\":1}\n", value.ErrInexpressible, `csv, [1].b: no column of that name: the option columns names them, or else the first record`, "a\r\n1\r\n"},
		{"a list's end", transform.JSON, transform.NDJSON, `[1,2`, value.ErrMalformed, `json line 1, byte 1, [1]: the list ends too early`, "1\n"},
		{"a list's end after a comma", transform.JSON, transform.NDJSON, `[1,]`, value.ErrMalformed, `json line 1, byte 1, [1]: it ends too early`, "1\n"},
		{"after a list", transform.JSON, transform.NDJSON, `[1] x`, value.ErrMalformed, `json line 1, byte 1: something follows the document`, "1\n"},
		{"a quote", transform.CSV, transform.NDJSON, "a,b\n1,2\n\"3\n4,5\n", value.ErrMalformed, `csv line 3, byte 1, [1]: a quote without its end`, "{\"a\":\"1\",\"b\":\"2\"}\n"},
		{"fields", transform.CSV, transform.NDJSON, "a,b\n1\n", value.ErrMalformed, `csv line 2, byte 1, [0]: 1 fields instead of 2`, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := compile(t, &transform.Spec{From: transform.Side{Format: tt.from}, To: transform.Side{Format: tt.to}})
			var got bytes.Buffer
			err := p.Stream(t.Context(), &got, iotest.OneByteReader(strings.NewReader(tt.in)), "")
			if !errors.Is(err, tt.is) || err.Error() != tt.want {
				t.Errorf("error %q, want %q", err, tt.want)
			}
			if diff := cmp.Diff(tt.written, got.String()); diff != "" && tt.written != "" {
				t.Errorf("written (-want +got):\n%s", diff)
			}
		})
	}
}
