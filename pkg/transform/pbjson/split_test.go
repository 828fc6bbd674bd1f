package pbjson_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/pkg/transform/pbjson"
)

// split feeds a text in pieces of n bytes.
func split(text string, n, limit int) ([]string, error) {
	s := pbjson.NewSplitter(limit)
	var got []string
	for len(text) > 0 {
		k := min(n, len(text))
		s.Feed([]byte(text[:k]))
		text = text[k:]
		for {
			v, err := s.Next()
			if err != nil {
				return got, err
			}
			if v == nil {
				break
			}
			got = append(got, string(v))
		}
	}
	v, err := s.End()
	if v != nil {
		got = append(got, string(v))
	}
	return got, err
}

func TestSplitter(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in   string
		want []string
		bad  bool
	}{
		{"", nil, false},
		{" \n", nil, false},
		{"[]", nil, false},
		{`[ {"a": "]}\"["} , 5,"x",[1,[2]], null ]` + "\n", []string{`{"a": "]}\"["}`, "5", `"x"`, "[1,[2]]", "null"}, false},
		{"{\"a\":1}\n{\"b\":[\"\\\\\"]}\r\n\n5\ntrue", []string{`{"a":1}`, `{"b":["\\"]}`, "5", "true"}, false},
		{`{}{}`, []string{"{}", "{}"}, false},
		{"[1", nil, true},
		{"[1,", []string{"1"}, true},
		{"[1,]", []string{"1"}, true},
		{"[,1]", nil, true},
		{"[1 2]", []string{"1"}, true},
		{"[1]]", []string{"1"}, true},
		{"[1] 2", []string{"1"}, true},
		{`{"a":`, nil, true},
		{`"x`, nil, true},
		{"}", nil, true},
		{"{} , {}", []string{"{}"}, true},
	}
	for _, test := range tests {
		for _, n := range []int{1, 2, 3, 1000} {
			got, err := split(test.in, n, 100)
			if diff := cmp.Diff(test.want, got); diff != "" || (err != nil) != test.bad {
				t.Errorf("%q by %d: %v (-want +got):\n%s", test.in, n, err, diff)
			}
		}
	}
	if _, err := split(`["`+strings.Repeat("x", 200)+`"]`, 10, 100); !errors.Is(err, pbjson.ErrLarge) {
		t.Errorf("a large value: %v", err)
	}
}

// FuzzSplitter asserts that it is all the same in which pieces a stream comes.
func FuzzSplitter(f *testing.F) {
	f.Add(`[{"a": "b"}, 5]`, 3)
	f.Add("{}\n5 6", 1)
	f.Fuzz(func(t *testing.T, text string, n int) {
		if n < 1 {
			return
		}
		want, bad := split(text, 1<<20, 1<<20)
		got, err := split(text, n, 1<<20)
		if diff := cmp.Diff(want, got); diff != "" || (err != nil) != (bad != nil) {
			t.Errorf("%v, %v\n%s", err, bad, diff)
		}
	})
}
