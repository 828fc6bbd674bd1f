package filters_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
)

// TestByListener: a listener has one thing, whoever asks for it.
func TestByListener(t *testing.T) {
	t.Parallel()
	var counts filters.ByListener[int]
	if n := len(counts.All()); n != 0 {
		t.Errorf("%d are there before somebody has asked", n)
	}
	*counts.Of("a")++
	*counts.Of("b") += 5
	*counts.Of("a")++
	two, five := 2, 5
	if diff := cmp.Diff(map[string]*int{"a": &two, "b": &five}, counts.All()); diff != "" {
		t.Error(diff)
	}
}
