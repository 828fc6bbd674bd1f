package database

import (
	"sync"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// OtherLimit is how long it is waited for other credentials than those that a
// server refuses. Apps that limit the time of their connects mostly allow more.
const OtherLimit = 5 * time.Second

// Rotation is how logins get over a password that is changed at the database
// before the proxy has the new one: who is refused waits for a while, and whoever
// has the secrets is asked for them once more. Credentials that have been refused
// for longer than the limit are simply wrong, and nobody waits for others. It is
// for all loops.
type Rotation struct {
	// read-only after construction
	limit  time.Duration
	source filters.SecretSource
	login  *resource.DatabaseLogin

	mu      sync.Mutex // guards below
	refused *Credentials
	since   time.Time
}

// NewRotation returns one for a login whose secrets a source has. It has sessions
// wait for at most limit.
func NewRotation(limit time.Duration, source filters.SecretSource, login *resource.DatabaseLogin) *Rotation {
	return &Rotation{limit: limit, source: source, login: login}
}

// Refused is told which credentials a server refuses, and returns for how long
// others may still be waited for. The first time it has the source get them anew,
// which it does not wait for.
func (r *Rotation) Refused(c Credentials, now time.Time) time.Duration {
	left, first := r.note(c, now)
	source, ok := r.source.(filters.SecretRefetcher)
	if !first || !ok {
		return left
	}
	for _, k := range []resource.SecretKey{r.login.Username, r.login.Password} {
		if k.Set() {
			source.Refetch(k.Name)
		}
	}
	return left
}

func (r *Rotation) note(c Credentials, now time.Time) (left time.Duration, first bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refused == nil || *r.refused != c {
		r.refused, r.since, first = &c, now, true
	}
	return r.limit - now.Sub(r.since), first
}

// Accepted is a login that has gone well.
func (r *Rotation) Accepted(c Credentials) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refused != nil && *r.refused == c {
		r.refused = nil
	}
}
