package resource

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/types/known/anypb"

	gatherv1 "github.com/dragoman-mesh/dragoman/api/dragoman/filters/http/gather/v1"
)

func parseGather(t *testing.T, text string) (*GatherRoute, []string) {
	t.Helper()
	var p gatherv1.GatherPerRoute
	if err := prototext.Unmarshal([]byte(text), &p); err != nil {
		t.Fatal(err)
	}
	packed, err := anypb.New(&p)
	if err != nil {
		t.Fatal(err)
	}
	r := &reader{}
	g := r.gatherRoute(packed, "g")
	var problems []string
	for _, e := range r.errs {
		problems = append(problems, e.Path+" "+e.Reason)
	}
	return g, problems
}

func TestGatherRoute(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, proto string
		want        *GatherRoute
	}{
		{"defaults", `merge {sum {}}`, &GatherRoute{
			Merge: GatherMerge{Kind: MergeSum}, Deadline: time.Second, Minimum: 1, MaxBytes: 1 << 20, Empty: []int{204},
		}},
		{
			"all of it", `
			leaves {name: "a" cluster: "c/a"} leaves {name: "b" cluster: "c/b"}
			merge {concat {path: "result.hits" sort_by: "score" descending: true limit: 10}}
			deadline {nanos: 300000000} minimum {value: 2} hedge_after {nanos: 50000000} empty_statuses: 404 max_body_bytes {value: 1024}`,
			&GatherRoute{
				Leaves:   []GatherLeaf{{"a", "c/a"}, {"b", "c/b"}},
				Merge:    GatherMerge{Kind: MergeConcat, Path: []string{"result", "hits"}, SortBy: []string{"score"}, Descending: true, Limit: 10},
				Deadline: 300 * time.Millisecond, Minimum: 2, Hedge: 50 * time.Millisecond, Empty: []int{404}, MaxBytes: 1024,
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, problems := parseGather(t, tt.proto)
			if diff := cmp.Diff(tt.want, got); diff != "" || problems != nil {
				t.Errorf("route (-want +got):\n%s%v", diff, problems)
			}
		})
	}
}

func TestGatherRouteRefused(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, proto string
		want        []string
	}{
		{"no merge", ``, []string{"g.merge says nothing: one of concat, sum, objects and jq is needed"}},
		{
			"leaves", `merge {sum {}} leaves {name: "a"} leaves {name: "a" cluster: "c"}`,
			[]string{`g.leaves[0].cluster is missing`, `g.leaves[1].name "a" is missing or there twice`},
		},
		{"a hedge without leaves", `merge {sum {}} hedge_after {seconds: 1}`, []string{"g.hedge_after needs leaves: an endpoint has no other that could answer for it"}},
		{
			"numbers", `merge {objects {}} deadline {} minimum {} empty_statuses: 100 max_body_bytes {value: 100000000}`,
			[]string{"g.deadline must be longer than 0", "g.minimum must be at least 1", "g.empty_statuses[0] must be from 200 to 599", "g.max_body_bytes must be from 1 to 67108864"},
		},
		{"a path", `merge {concat {path: "a..b"}}`, []string{`g.merge.concat.path "a..b" has an empty name`}},
		{"a program without end", `merge {jq: "[range(1e9)]"}`, []string{"g.merge.jq the function range is not allowed"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, problems := parseGather(t, tt.proto)
			if diff := cmp.Diff(tt.want, problems); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}
