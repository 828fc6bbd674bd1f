package sqlroute

import (
	"errors"
	"slices"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// ErrElsewhere is an attempt to log in that was given up for another endpoint.
var ErrElsewhere = errors.New("another server has its role now")

// Watch has fn called soon after endpoints have changed their roles or health,
// until stop is called; never, where roles do not matter.
func (r *Route) Watch(fn func()) (stop func()) {
	if n, ok := r.cluster.(filters.Notifier); ok && r.ByRole() {
		return n.Notify(fn)
	}
	return func() {}
}

// Next is Pick for a session that may have met with endpoints that failed
// already: where roles may move, it waits for one that is healthy.
func (r *Route) Next(t *filters.Table, tried []*filters.Endpoint, failed bool) *filters.Endpoint {
	if failed && r.ByRole() {
		return r.PickHealthy(t, tried)
	}
	return r.Pick(t, tried)
}

// Beside reports whether another endpoint that has not been tried is well, and would
// have done as well as one that has no room: a primary has none for those whom its
// standbys turn away.
func (r *Route) Beside(t *filters.Table, full *filters.Endpoint, tried []*filters.Endpoint) bool {
	for _, rank := range r.ranks() {
		same, other := false, false // without a choice among them, which would be somebody's turn
		each(t, func(e *filters.Endpoint, role filters.Role) {
			if rank.allows(e, role) {
				same = same || e == full
				other = other || e.Healthy() && !slices.Contains(tried, e)
			}
		})
		if same {
			return other
		}
	}
	return false
}

// Better reports whether a login at an endpoint is to be given up: it does not
// have the role any more, or is not healthy while another is.
func (r *Route) Better(t *filters.Table, than *filters.Endpoint) bool {
	if r.Judge(t, than) != Stays {
		return true
	}
	return !than.Healthy() && r.PickHealthy(t, nil) != nil
}

// Refresh has all endpoints asked for their roles, where those matter. reason is
// what a server said or did.
func (r *Route) Refresh(reason string) {
	if r.ByRole() {
		r.cluster.Refresh(reason)
	}
}

// Refused is Refresh after a server has refused to write. Sessions that are not
// meant to write meet with that by themselves.
func (r *Route) Refused(reason string, readOnly bool) {
	if !readOnly && (r.target == resource.TargetReadWrite || r.target == resource.TargetPrimary) {
		r.cluster.Refresh(reason)
	}
}
