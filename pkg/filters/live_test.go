package filters_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
)

// TestLive: a filter is there from Add to Remove, once, and who has asked keeps
// what was told.
func TestLive(t *testing.T) {
	t.Parallel()
	var live filters.Live[string]
	live.Remove("nobody")
	for _, f := range []string{"a", "b", "b", "c"} {
		live.Add(f)
	}
	before := live.All()
	live.Remove("b")
	if diff := cmp.Diff([]string{"a", "c"}, slices.Sorted(slices.Values(live.All()))); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"a", "b", "c"}, slices.Sorted(slices.Values(before))); diff != "" {
		t.Error(diff)
	}
}
