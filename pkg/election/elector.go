package election

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"regexp"
	"sync"
	"time"
)

// MinTTL is the shortest time of a term: a Lease counts whole seconds.
const MinTTL = 2 * time.Second

// Options of an Elector.
type Options struct {
	API *API
	// Election is the name of the Lease, Namespace its namespace.
	Election, Namespace string
	// ID is the name of this candidate, which no other has.
	ID string
	// TTL is for how long a leader that vanished is still believed to be there.
	TTL time.Duration
	Log *slog.Logger
}

// State is what is known of an election at a moment.
type State struct {
	// Name is the leader's; "" if none is known.
	Name string `json:"name"`
	// IsLeader says that it is this candidate.
	IsLeader bool `json:"isLeader"`
	// Expires is until when all this holds, unless it is renewed.
	Expires time.Time `json:"expires,omitzero"`
	// Token is that of the leader's term, which no later one has and no earlier.
	Token int64 `json:"token,omitempty"`
}

// Elector is a candidate.
type Elector struct {
	opts   Options
	leases leases

	mu     sync.Mutex // guards below
	core   core
	object *object // as it was last read or written; nil: there is none
	last   error   // why the last round failed; nil: it did not
	leader string  // as it was logged last
}

// ErrOptions is what is wrong with Options.
var ErrOptions = errors.New("wrong election")

var namePattern = regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$`)

// New returns a candidate that does not run yet.
func New(o Options) (*Elector, error) {
	switch {
	case !namePattern.MatchString(o.Election):
		return nil, fmt.Errorf("%w: the name %q; want lower-case letters, digits, - and . as a Lease has", ErrOptions, o.Election)
	case !namePattern.MatchString(o.Namespace):
		return nil, fmt.Errorf("%w: the namespace %q", ErrOptions, o.Namespace)
	case o.ID == "":
		return nil, fmt.Errorf("%w: no id: each candidate needs a name of its own, such as its pod's", ErrOptions)
	case o.TTL < MinTTL:
		return nil, fmt.Errorf("%w: the ttl %s; want %s or more", ErrOptions, o.TTL, MinTTL)
	}
	o.TTL = o.TTL.Round(time.Second)
	return &Elector{opts: o, leases: leases{o.API, o.Namespace}, core: core{id: o.ID, ttl: o.TTL}}, nil
}

// State is what is known now.
func (e *Elector) State() State {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now()
	name, until := e.core.leader(now)
	s := State{Name: name, IsLeader: e.core.leading(now)}
	if name != "" {
		s.Expires, s.Token = until.Round(time.Millisecond), e.core.seen.transitions
	}
	return s
}

// Problem is why the API server could not be asked the last time; nil: it could.
func (e *Elector) Problem() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.last
}

// Run takes part until ctx is done, and then gives up what it has.
func (e *Elector) Run(ctx context.Context) {
	for {
		e.round(ctx)
		timer := time.NewTimer(e.pause())
		select {
		case <-ctx.Done():
			timer.Stop()
			e.release(context.WithoutCancel(ctx))
			return
		case <-timer.C:
		}
	}
}

// pause until the next round: a fifth of the term, so that a leader has four
// attempts, and somewhat more or less, so that candidates do not meet.
func (e *Elector) pause() time.Duration {
	fifth := e.opts.TTL / 5
	return fifth - fifth/10 + rand.N(fifth/5)
}

// round looks, and does what is to be done.
func (e *Elector) round(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, e.opts.TTL/3)
	defer cancel()
	err := e.attempt(ctx)
	if errors.Is(err, ErrConflict) {
		err = nil // another was faster, which the next round sees
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if err != nil && (e.last == nil || e.last.Error() != err.Error()) && !errors.Is(err, context.Canceled) {
		e.opts.Log.Warn("cannot take part in the election", "election", e.opts.Election, "error", err)
	}
	e.last = err
	if name, _ := e.core.leader(time.Now()); name != e.leader {
		e.leader = name
		e.opts.Log.Info("another leader", "election", e.opts.Election, "leader", name, "token", e.core.seen.transitions, "here", name == e.opts.ID)
	}
}

func (e *Elector) attempt(ctx context.Context) error {
	o, r, err := e.leases.read(ctx, e.opts.Election)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	now := time.Now()
	e.mu.Lock()
	e.object = o
	e.core.observe(r, now)
	todo := e.core.decide(now)
	claim := e.core.claim(todo)
	e.mu.Unlock()
	if todo == wait {
		return nil
	}
	sent := time.Now()
	o, r, err = e.leases.write(ctx, e.opts.Election, o, claim, todo == acquire)
	if err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.object = o
	e.core.wrote(r, sent)
	return nil
}

// release gives up a term that is not over, so that another begins at once.
func (e *Elector) release(ctx context.Context) {
	e.mu.Lock()
	o, mine := e.object, e.core.leading(time.Now())
	claim := e.core.seen
	e.core.leads = time.Time{} // before others can know
	e.mu.Unlock()
	if !mine || o == nil {
		return
	}
	claim.holder, claim.duration = "", time.Second
	ctx, cancel := context.WithTimeout(ctx, e.opts.TTL/3)
	defer cancel()
	_, _, err := e.leases.write(ctx, e.opts.Election, o, claim, false)
	if errors.Is(err, ErrConflict) { // with our own last renewal, perhaps, whose answer did not come any more
		var now record
		if o, now, err = e.leases.read(ctx, e.opts.Election); err == nil && now.holder == e.opts.ID && now.transitions == claim.transitions {
			_, _, err = e.leases.write(ctx, e.opts.Election, o, claim, false)
		}
	}
	if err != nil {
		e.opts.Log.Warn("the lease is not released and will run out", "election", e.opts.Election, "error", err)
		return
	}
	e.opts.Log.Info("leading no more", "election", e.opts.Election)
}
