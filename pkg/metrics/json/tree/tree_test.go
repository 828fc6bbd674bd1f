package tree_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/pkg/metrics/json/tree"
)

func TestDocumentsAreReadAsTheStandardLibraryDoes(t *testing.T) {
	t.Parallel()
	for _, doc := range []string{
		`{"a": [1, 2.50, -3e7, true, false, null, "x\n\u00e9\ud83d\ude00"], "b": {}, "": []}`,
		`  "alone"  `, `0`, `-0.0`, `[[[]]]`, `{"a":{"a":{"a":1}},"z":"\ud800"}`, `"\ud800\u0041"`, "\"\xff\xfe\"", "\"\\t\xff\"",
		`12345678901234567890123`,
	} {
		want, err := standard(doc)
		if err != nil {
			t.Fatalf("%s: %v", doc, err)
		}
		got, err := tree.Parse(doc, tree.Limits{})
		if err != nil {
			t.Errorf("%s: %v", doc, err)
			continue
		}
		if diff := cmp.Diff(want, got.Root().Any()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", doc, diff)
		}
	}
}

func TestWhatIsNoJSONIsRefusedWithItsPlace(t *testing.T) {
	t.Parallel()
	tests := map[string]int{
		"": 0, " ": 1, "{": 1, "[1,]": 3, `{"a" 1}`: 5, `{"a":1,}`: 7, "tru": 0, "01": 1, "1.": 2, "1e": 2, "-": 1, `"a`: 2,
		`"\x"`: 2, `"\u12"`: 2, "\"\n\"": 1, "1 2": 2, "<html>": 0, "NaN": 0, `{a:1}`: 1, "[1 2]": 3,
	}
	for doc, offset := range tests {
		_, err := tree.Parse(doc, tree.Limits{})
		syntax, ok := errors.AsType[*tree.SyntaxError](err)
		if !ok {
			t.Errorf("%q: got %v, want a SyntaxError", doc, err)
			continue
		}
		if syntax.Offset != offset {
			t.Errorf("%q: wrong at byte %d, want %d", doc, syntax.Offset, offset)
		}
	}
}

func TestLimitsHold(t *testing.T) {
	t.Parallel()
	if _, err := tree.Parse(strings.Repeat("[", 1<<20), tree.Limits{}); !errors.Is(err, tree.ErrTooDeep) {
		t.Errorf("a million levels: got %v, want ErrTooDeep", err)
	}
	deep := strings.Repeat("[", 5) + strings.Repeat("]", 5)
	if _, err := tree.Parse(deep, tree.Limits{Depth: 5}); err != nil {
		t.Errorf("as deep as allowed: %v", err)
	}
	if _, err := tree.Parse("[1,2,3]", tree.Limits{Values: 3}); !errors.Is(err, tree.ErrTooMany) {
		t.Errorf("four values of three: got %v, want ErrTooMany", err)
	}
}

func TestLookUps(t *testing.T) {
	t.Parallel()
	doc, err := tree.Parse(`{"n": 1.50, "l": [10, [11], 12], "n": 2e3}`, tree.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	n, ok := doc.Root().Field("n")
	if !ok || n.Text() != "2e3" || n.Kind() != tree.Number {
		t.Errorf("n is %q, want the last one, 2e3", n.Text())
	}
	l, _ := doc.Root().Field("l")
	var got []string
	for c := range l.Children() {
		got = append(got, c.Text())
	}
	if diff := cmp.Diff([]string{"10", "[11]", "12"}, got); diff != "" || l.Len() != 3 {
		t.Errorf("children (-want +got):\n%s", diff)
	}
	if _, ok := l.Field("n"); ok {
		t.Error("an array has a field")
	}
	if _, ok := doc.Root().Field("x"); ok {
		t.Error("a field that is not there was found")
	}
}

// FuzzParse asks whether the standard library takes the same documents, and
// reads the same of them.
func FuzzParse(f *testing.F) {
	for _, doc := range []string{`{"a":[1,-2.5e+3,"\u00e9",true,null]}`, `"\ud83d\ude00"`, `[`, "\"\xff\"", `{"a":1,"a":2}`} {
		f.Add(doc)
	}
	f.Fuzz(func(t *testing.T, doc string) {
		got, err := tree.Parse(doc, tree.Limits{})
		if errors.Is(err, tree.ErrTooDeep) {
			t.Skip()
		}
		if valid := json.Valid([]byte(doc)); valid != (err == nil) {
			t.Fatalf("encoding/json says %v, we say %v", valid, err)
		}
		if err != nil {
			return
		}
		want, err := standard(doc)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got.Root().Any()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func standard(doc string) (any, error) {
	var v any
	d := json.NewDecoder(strings.NewReader(doc))
	d.UseNumber()
	err := d.Decode(&v)
	return v, err
}
