package database

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestGiven: what there is nothing to say of is not in the log.
func TestGiven(t *testing.T) {
	t.Parallel()
	var none error
	got := Given("endpoint", "a:1", "hint", "", "error", none, "number", 0, "message", "x")
	if diff := cmp.Diff([]any{"endpoint", "a:1", "number", 0, "message", "x"}, got); diff != "" {
		t.Errorf("attributes (-want +got):\n%s", diff)
	}
	if got := Given("error", errors.New("x")); len(got) != 2 {
		t.Errorf("an error is left out: %v", got)
	}
}
