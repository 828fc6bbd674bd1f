package database

import (
	"sync"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

const (
	// OtherLimit is how long it is waited for other credentials than those that a
	// server refuses. Apps that limit the time of their connects mostly allow more.
	OtherLimit = 5 * time.Second
	// retryEvery is how often one session tries refused credentials again for all
	// that wait: somebody may change the password at the server last.
	retryEvery = 500 * time.Millisecond
)

// Rotation is how logins get over a password that is changed at the database
// before the proxy has the new one, or after: who is refused waits for a while, and
// whoever has the secrets is asked for them once more. Meanwhile the server sees
// few logins with a wrong password: it may lock users out that fail too often.
// Credentials that have been refused for longer than the limit are simply wrong, and
// nobody waits for others. It is for all loops.
type Rotation struct {
	// read-only after construction
	limit  time.Duration
	source filters.SecretSource
	login  *resource.DatabaseLogin

	mu      sync.Mutex // guards below
	refused *Credentials
	since   time.Time
	wrong   bool      // it was the password that was refused: so it will be for all
	tried   time.Time // when they were tried last

	letIn   Credentials // that were accepted last
	letInAt string      // the address where that was; "": the server there refuses them by now
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
	if !r.refusesLocked(c) {
		r.refused, r.since, r.wrong, r.tried, first = &c, now, false, now, true
	}
	return r.limit - now.Sub(r.since), first
}

// WrongPassword says that it was for their password that credentials were refused,
// by the server at an address. Where another has let somebody in with them it is that
// server's own affair, and nobody else's.
func (r *Rotation) WrongPassword(c Credentials, at string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.letInAt == at {
		r.letInAt = ""
	}
	if r.refusesLocked(c) && (r.letInAt == "" || r.letIn != c) {
		r.wrong = true
	}
}

// refuses reports whether credentials have been refused, and not been accepted since
// then.
func (r *Rotation) refuses(c Credentials) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.refusesLocked(c)
}

func (r *Rotation) refusesLocked(c Credentials) bool { return r.refused != nil && *r.refused == c }

// MayTry reports whether a session may log in with credentials: with those that
// were refused only one may, from time to time. For one that was refused itself
// that is so whatever the reason, and never after the limit. left is how much of
// that there is.
func (r *Rotation) MayTry(c Credentials, itself bool, now time.Time) (ok bool, left time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mayTryLocked(c, itself, now), r.limit - now.Sub(r.since)
}

// Try is MayTry for a session that does so.
func (r *Rotation) Try(c Credentials, itself bool, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	ok := r.mayTryLocked(c, itself, now)
	if ok {
		r.tried = now
	}
	return ok
}

func (r *Rotation) mayTryLocked(c Credentials, itself bool, now time.Time) bool {
	switch {
	case !r.refusesLocked(c):
		return true
	case now.Sub(r.since) >= r.limit:
		return !itself
	case !itself && !r.wrong:
		return true
	}
	return now.Sub(r.tried) >= retryEvery
}

// Accepted is a login that has gone well, at the server at an address.
func (r *Rotation) Accepted(c Credentials, at string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.letIn, r.letInAt = c, at
	if r.refusesLocked(c) {
		r.refused = nil
	}
}
