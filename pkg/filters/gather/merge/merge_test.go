package merge_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/pkg/filters/gather/merge"
	"github.com/dragoman-mesh/dragoman/pkg/transform/jq"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

func concat(path, sortBy []string, descending bool, limit int) resource.GatherMerge {
	return resource.GatherMerge{Kind: resource.MergeConcat, Path: path, SortBy: sortBy, Descending: descending, Limit: limit}
}

func program(t *testing.T, text string) resource.GatherMerge {
	t.Helper()
	p, err := jq.Compile(text)
	if err != nil {
		t.Fatal(err)
	}
	return resource.GatherMerge{Kind: resource.MergeJQ, Program: p}
}

func TestAll(t *testing.T) {
	t.Parallel()
	sum, objects := resource.GatherMerge{Kind: resource.MergeSum}, resource.GatherMerge{Kind: resource.MergeObjects}
	hits, score := []string{"hits"}, []string{"score"}
	tests := []struct {
		name    string
		how     resource.GatherMerge
		answers []string
		want    string
		dropped []merge.Dropped
	}{
		{"lists", concat(nil, nil, false, 0), []string{`[1,2]`, `[]`, `[3,{"a":1.50}]`}, `[1,2,3,{"a":1.50}]`, nil},
		{"one list", concat(nil, nil, false, 0), []string{`[1]`}, `[1]`, nil},
		{"no list", concat(nil, nil, false, 0), nil, `[]`, nil},
		{"no list at a path", concat([]string{"result", "hits"}, nil, false, 0), nil, `{"result":{"hits":[]}}`, nil},
		{
			"lists within objects", concat(hits, nil, false, 0),
			[]string{`{"took":3,"hits":["a"],"of":"eu"}`, `{"hits":["b"],"took":9}`},
			`{"took":3,"hits":["a","b"],"of":"eu"}`, nil,
		},
		{
			"the best three", concat(hits, score, true, 3),
			[]string{`{"hits":[{"score":1,"n":"a"},{"score":9,"n":"b"}]}`, `{"hits":[{"score":5,"n":"c"},{"n":"d"},{"score":5,"n":"e"}]}`},
			`{"hits":[{"score":9,"n":"b"},{"score":5,"n":"c"},{"score":5,"n":"e"}]}`, nil,
		},
		{
			"numbers before texts, and nothing last", concat(nil, score, false, 0),
			[]string{`[{},{"score":"b"},{"score":"a"}]`, `[{"score":10},{"score":9.5},{"score":null}]`},
			`[{"score":9.5},{"score":10},{"score":"a"},{"score":"b"},{},{"score":null}]`, nil,
		},
		{
			"integers that floats cannot tell apart", concat(nil, score, false, 0),
			[]string{`[{"score":9007199254740993}]`, `[{"score":9007199254740992},{"score":-9007199254740993},{"score":-9007199254740992}]`},
			`[{"score":-9007199254740993},{"score":-9007199254740992},{"score":9007199254740992},{"score":9007199254740993}]`, nil,
		},
		{
			"answers that cannot be used", concat(hits, nil, false, 0),
			[]string{`{"hits":[1]}`, `{"hits":{"a":1}}`, `{"other":[]}`, `{"hits":[2]} x`, `{"hits":[2]}`},
			`{"hits":[1,2]}`,
			[]merge.Dropped{
				{Leaf: "b", Reason: "hits is an object, and lists are merged"},
				{Leaf: "c", Reason: "there is no hits"},
				{Leaf: "d", Reason: "json line 1, byte 14: something follows the document"},
			},
		},

		{"numbers", sum, []string{`1`, `2.50`, `-4`}, `-0.50`, nil},
		{
			"counts", sum,
			[]string{`{"orders":{"open":2,"name":"eu"},"total":10}`, `{"total":5,"orders":{"open":1,"late":7,"name":"us"}}`},
			`{"orders":{"open":3,"name":"eu","late":7},"total":15}`, nil,
		},
		{"beyond 64 bits", sum, []string{`9223372036854775807`, `1`, `0.1`}, `9223372036854775808.1`, nil},
		{"with exponents", sum, []string{`1e3`, `2E-3`, `15e0`}, `1015.002`, nil},
		{"long ones", sum, []string{`1e60`, `2e60`}, `3e60`, nil},
		{
			"numbers too far apart change nothing", sum,
			[]string{`{"a":1,"b":1}`, `{"a":2,"b":1e1500}`, `{"a":4}`},
			`{"a":5,"b":1}`,
			[]merge.Dropped{{Leaf: "b", Reason: "has a number that is too large or too small to be added up"}},
		},
		{
			"no sum of lists", sum,
			[]string{`[1]`, `{"a":1}`},
			`{"a":1}`,
			[]merge.Dropped{{Leaf: "a", Reason: "is a list, and numbers and objects are added up"}},
		},

		{
			"members of all", objects,
			[]string{`{"a":1,"deep":{"x":1}}`, `{"b":2,"a":9,"deep":{"y":[2],"x":{}}}`},
			`{"a":1,"deep":{"x":1,"y":[2]},"b":2}`, nil,
		},
		{
			"a list is no object", objects,
			[]string{`[]`, `{"b":2}`},
			`{"b":2}`,
			[]merge.Dropped{{Leaf: "a", Reason: "is a list, and objects are merged"}},
		},

		{
			"a program", program(t, `map({(.leaf): .body.n}) | add`),
			[]string{`{"n":1.10}`, `{"n":12345678901234567890}`},
			`{"a":1.10,"b":12345678901234567890}`, nil,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var answers []merge.Answer
			for i, body := range tt.answers {
				answers = append(answers, merge.Answer{Leaf: string(rune('a' + i)), Status: 200, Body: []byte(body)})
			}
			got, dropped, err := merge.All(t.Context(), &tt.how, answers)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, string(got)); diff != "" {
				t.Errorf("merged (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.dropped, dropped); diff != "" {
				t.Errorf("dropped (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNothing(t *testing.T) {
	t.Parallel()
	for name, how := range map[string]resource.GatherMerge{
		"sum": {Kind: resource.MergeSum}, "objects": {Kind: resource.MergeObjects}, "a program": program(t, `empty`),
	} {
		if _, _, err := merge.All(t.Context(), &how, nil); !errors.Is(err, merge.ErrEmpty) {
			t.Errorf("%s of nothing: %v, want ErrEmpty", name, err)
		}
	}
}

// FuzzAll has whatever comes merged, which ends, and gives something that can be merged again.
func FuzzAll(f *testing.F) {
	f.Add(`{"hits":[{"score":1}]}`, `{"hits":[{"score":"x"},3]}`, uint8(0))
	f.Add(`{"a":1e10,"b":{"c":-0.5}}`, `{"a":2,"b":{"c":1,"d":null}}`, uint8(1))
	f.Add(`{"a":{"b":1}}`, `{"a":{"b":2,"c":3}}`, uint8(2))
	f.Fuzz(func(t *testing.T, a, b string, kind uint8) {
		how := concat([]string{"hits"}, []string{"score"}, true, 2)
		if kind%3 > 0 {
			how = resource.GatherMerge{Kind: resource.MergeKind(kind % 3)}
		}
		answers := []merge.Answer{{Leaf: "a", Body: []byte(a)}, {Leaf: "b", Body: []byte(b)}}
		got, dropped, err := merge.All(t.Context(), &how, answers)
		if err != nil {
			if !errors.Is(err, merge.ErrEmpty) || len(dropped) != len(answers) {
				t.Fatalf("%v, %v", err, dropped)
			}
			return
		}
		again, dropped, err := merge.All(t.Context(), &how, []merge.Answer{{Leaf: "again", Body: got}})
		if err != nil || len(dropped) > 0 || string(again) != string(got) {
			t.Fatalf("%s became %s, %v, %v", got, again, dropped, err)
		}
	})
}
