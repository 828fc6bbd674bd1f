package upstream

import (
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/upstream/topology"
)

// word is what an endpoint says of its role.
type word struct {
	topology.Role
	// timeline of a PostgreSQL primary: who was promoted later has a higher one. 0:
	// not known.
	timeline uint32
	// readOnly is a primary that does not write unless it is told to.
	readOnly bool
}

// claim is what an endpoint last said of its role.
type claim struct {
	word
	known bool      // it has answered at least once
	fresh bool      // it answered the latest probe
	at    time.Time // of the answer
	// promoted is when it was found to be a primary after it had been a replica, with
	// what it had then; zero: it has been a primary all along, or was started as one.
	promoted time.Time
	// replicated is the offset of a replica when it had a primary last.
	replicated int64
}

// follows is the claim of who had said before what c has. Who has less than before has
// not been promoted: a replica of Redis that was started again without its primary's
// address, and perhaps without its data.
func (c claim) follows(before *claim) claim {
	switch {
	case !c.Primary && c.Offset < 0: // of Redis: it is not connected to a primary
		c.replicated = before.replicated
	case !c.Primary:
		c.replicated = c.Offset
	case before.known && !before.Primary && c.Offset >= before.replicated:
		c.promoted = c.at
	default:
		c.promoted = before.promoted
	}
	return c
}

// candidate is an endpoint of a shard in the choice of the primary.
type candidate struct {
	configured filters.Role
	claim      claim
	current    bool // it is the primary now
	well       bool // it is not out of use
	sql        bool // it is a database, whose replicas may well say that they are primaries
}

// answers reports whether the endpoint says now what it has claimed. The current
// primary may miss a probe or two until it is out of use: a rival may be an old primary
// that comes back, or a replica of a database that nobody has made read only. A rival
// of Redis that was promoted after it takes over at once.
func (c *candidate) answers(rival *candidate) bool {
	return c.claim.fresh || c.current && c.well && (c.sql || !rival.claim.promoted.After(c.claim.promoted))
}

// elect returns the index of the shard's primary, -1 if there is none.
//
// Where several say that they are primary, as happens between the promotion of
// one and the demotion of the other, or when a dead primary comes back:
//
//  1. the one of the higher timeline, even if it does not answer: what is written
//     to an older one is lost when both meet again;
//  2. one that answers goes before one that once answered, unless that is the current
//     one and not out of use; of Redis, one that was promoted later does nevertheless;
//  3. then one that writes before one that is read only;
//  4. then the one that more replicas are connected to: they have been told;
//  5. then the current one, so that nothing changes without a reason;
//  6. then the one whose replication is further ahead;
//  7. then the first in configuration.
//
// Where none says so, the current primary remains as long as it does not say
// that it is a replica; without a current one, an endpoint that was never heard
// is taken for what the configuration says, unknown for primary.
func elect(candidates []candidate) int {
	best := -1
	for i := range candidates {
		c := &candidates[i].claim
		if c.known && c.Primary && (best < 0 || better(&candidates[i], &candidates[best])) {
			best = i
		}
	}
	if best >= 0 {
		return best
	}
	for i := range candidates {
		if candidates[i].current && !candidates[i].claim.known {
			return i
		}
	}
	for _, role := range []filters.Role{filters.RolePrimary, filters.RoleUnknown} {
		for i := range candidates {
			if candidates[i].configured == role && !candidates[i].claim.known {
				return i
			}
		}
	}
	return -1
}

// rivals counts those that say now that they are primary.
func rivals(candidates []candidate) int {
	n := 0
	for i := range candidates {
		if c := &candidates[i].claim; c.Primary && c.fresh {
			n++
		}
	}
	return n
}

// better says whether a has the better claim than b, which comes earlier.
func better(a, b *candidate) bool {
	switch {
	case a.claim.timeline != b.claim.timeline && a.claim.timeline > 0 && b.claim.timeline > 0:
		return a.claim.timeline > b.claim.timeline
	case a.answers(b) != b.answers(a):
		return a.answers(b)
	case a.claim.readOnly != b.claim.readOnly:
		return b.claim.readOnly
	case a.claim.Replicas != b.claim.Replicas:
		return a.claim.Replicas > b.claim.Replicas
	case a.current != b.current:
		return a.current
	default:
		return a.claim.Offset > b.claim.Offset
	}
}
