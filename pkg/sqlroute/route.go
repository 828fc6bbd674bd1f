// Package sqlroute says which endpoint of a cluster a session of a database goes
// to, and whether it may stay there: by the endpoints' roles and health, and by
// how many sessions each has. It is shared by the filters of databases.
package sqlroute

import (
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// policied is a cluster that knows how its endpoints are to be chosen.
type policied interface {
	LoadBalancing() resource.LoadBalancing
}

// Route leads the sessions of one filter to endpoints. It may be used by all
// loops.
type Route struct {
	// read-only after construction
	cluster filters.Cluster
	target  resource.TargetSession
	policy  resource.LBPolicy

	turn atomic.Uint64
}

// New returns a route to the endpoints of a cluster that suit the target.
func New(c filters.Cluster, target resource.TargetSession) *Route {
	r := &Route{cluster: c, target: target, policy: resource.LBRoundRobin}
	if p, ok := c.(policied); ok {
		r.policy = p.LoadBalancing().Policy
	}
	return r
}

// Pick chooses an endpoint for a session that is not among tried: a healthy one
// if there is any, else any; nil when none is left.
//
// With prefer-standby, a healthy primary comes before a standby that is not.
// Among endpoints that would all do, the cluster's policy decides: least_request
// takes the one with the fewest sessions of this process, but for those that have
// turned one away lately.
func (r *Route) Pick(t *filters.Table, tried []*filters.Endpoint) *filters.Endpoint {
	if e := r.PickHealthy(t, tried); e != nil {
		return e
	}
	for _, rank := range r.ranks() {
		if e := r.among(t, rank, func(e *filters.Endpoint) bool { return !slices.Contains(tried, e) }); e != nil {
			return e
		}
	}
	return nil
}

// PickHealthy is Pick for a session that has met with endpoints that failed: it
// should rather wait than go to another that is not healthy.
func (r *Route) PickHealthy(t *filters.Table, tried []*filters.Endpoint) *filters.Endpoint {
	for _, rank := range r.ranks() {
		if e := r.among(t, rank, func(e *filters.Endpoint) bool { return e.Healthy() && !slices.Contains(tried, e) }); e != nil {
			return e
		}
	}
	return nil
}

// rank is a set of roles that are equally welcome.
type rank struct{ primary, readOnlyPrimary, standby bool }

// ranks lists what the target allows, best first.
func (r *Route) ranks() []rank {
	switch r.target {
	case resource.TargetReadWrite:
		return []rank{{primary: true}}
	case resource.TargetReadOnly:
		return []rank{{standby: true, readOnlyPrimary: true}}
	case resource.TargetPrimary:
		return []rank{{primary: true, readOnlyPrimary: true}}
	case resource.TargetStandby:
		return []rank{{standby: true}}
	case resource.TargetPreferStandby:
		return []rank{{standby: true}, {primary: true, readOnlyPrimary: true}}
	case resource.TargetAny:
	}
	return []rank{{primary: true, readOnlyPrimary: true, standby: true}}
}

// allows reports whether the rank has an endpoint of a role.
func (k rank) allows(e *filters.Endpoint, role filters.Role) bool {
	switch {
	case role == filters.RoleReplica:
		return k.standby && !e.Rival()
	case e.ReadOnly():
		return k.readOnlyPrimary
	default:
		return k.primary
	}
}

// among chooses one of the endpoints of a rank that will do.
func (r *Route) among(t *filters.Table, k rank, ok func(*filters.Endpoint) bool) *filters.Endpoint {
	if t.Picker != nil && k.primary {
		if i := t.Picker.Pick(nil); i >= 0 && i < len(t.Shards) {
			if e := t.Shards[i].Primary; e != nil && k.allows(e, filters.RolePrimary) && ok(e) {
				return e
			}
		}
	}
	var few [8]*filters.Endpoint
	list := few[:0]
	each(t, func(e *filters.Endpoint, role filters.Role) {
		if k.allows(e, role) && ok(e) {
			list = append(list, e)
		}
	})
	return r.choose(list)
}

func (r *Route) choose(list []*filters.Endpoint) *filters.Endpoint {
	switch {
	case len(list) == 0:
		return nil
	case len(list) == 1:
		return list[0]
	case r.policy == resource.LBRandom:
		return list[rand.IntN(len(list))] // load balancing, not a secret
	case r.policy != resource.LBLeastRequest:
		return list[(r.turn.Add(1)-1)%uint64(len(list))]
	}
	// Many processes do this side by side: those that have no sessions yet must not
	// all begin with the same endpoint.
	start := rand.IntN(len(list)) // load balancing, not a secret
	best := list[start]
	for i := range list {
		if e := list[(start+i)%len(list)]; before(e, best) {
			best = e
		}
	}
	return best
}

// before reports whether least_request takes e rather than best: one that turns
// sessions away has few of them, and comes after all others.
func before(e, best *filters.Endpoint) bool {
	if refused := e.RefusedLately(); refused != best.RefusedLately() {
		return !refused
	}
	return e.Sessions() < best.Sessions()
}

// Verdict is what is to become of a session at an endpoint.
type Verdict uint8

// The verdicts.
const (
	Stays   Verdict = iota
	Gone            // the cluster does not have the endpoint any more
	Demoted         // the endpoint has another role than the target demands
)

// Judge says whether a session that was led to an endpoint may stay there. A
// session that prefers a standby stays where it is.
func (r *Route) Judge(t *filters.Table, at *filters.Endpoint) Verdict {
	verdict := Gone
	each(t, func(e *filters.Endpoint, role filters.Role) {
		if !same(e, at) || verdict == Stays {
			return
		}
		verdict = Demoted
		for _, k := range r.ranks() {
			if k.allows(e, role) {
				verdict = Stays
			}
		}
	})
	return verdict
}

// same reports whether both are one server, spoken to in the same way.
func same(a, b *filters.Endpoint) bool {
	return a == b || a.Network == b.Network && a.Address == b.Address && (a.TLS == nil) == (b.TLS == nil)
}

// ByRole reports whether the target is more than "any": then a session may wait
// for an endpoint to take on a role, as during a failover.
func (r *Route) ByRole() bool { return r.target != resource.TargetAny }

// Missing says, for people, what there is in the place of what is looked for.
func (r *Route) Missing(t *filters.Table) string {
	var known []string
	each(t, func(e *filters.Endpoint, role filters.Role) {
		text := e.Address + " is a " + named(role)
		if e.Rival() {
			text = e.Address + " is a primary beside the primary"
		}
		if role != filters.RoleReplica && e.ReadOnly() {
			text += " that is read only"
		}
		if !e.Healthy() {
			text += " and not healthy"
		}
		known = append(known, text)
	})
	if len(known) == 0 {
		return "no server of the database is known in this environment: its name does not resolve, or its Service has no endpoints (the proxy's log says more)"
	}
	return "no " + r.target.String() + " server of the database is there: " + strings.Join(known, ", ")
}

func named(role filters.Role) string {
	if role == filters.RoleReplica {
		return "standby"
	}
	return role.String()
}

// each visits the endpoints of a table.
func each(t *filters.Table, visit func(*filters.Endpoint, filters.Role)) {
	for i := range t.Shards {
		if p := t.Shards[i].Primary; p != nil {
			visit(p, filters.RolePrimary)
		}
		for _, e := range t.Shards[i].Replicas {
			visit(e, filters.RoleReplica)
		}
	}
}
