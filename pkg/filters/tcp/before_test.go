package tcp

import (
	"sync/atomic"
	"testing"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
)

// TestRefusersComeLast: an endpoint that cannot be connected to has no connections, and is not chosen for that.
func TestRefusersComeLast(t *testing.T) {
	t.Parallel()
	refuses := &entry{endpoint: &filters.Endpoint{Address: "refuses"}, open: &atomic.Int64{}}
	works := &entry{endpoint: &filters.Endpoint{Address: "works"}, open: &atomic.Int64{}}
	refuses.endpoint.NoteRefusal()
	works.open.Store(7)
	if !works.before(refuses) || refuses.before(works) {
		t.Error("the endpoint that refuses comes first")
	}
	works.endpoint.NoteRefusal()
	if !refuses.before(works) {
		t.Error("of two that refuse, that with more connections comes first")
	}
}
