package election

import "time"

// record is what a Lease says.
type record struct {
	holder      string // "": nobody
	duration    time.Duration
	transitions int64  // how often it has changed hands: the fencing token of the present term
	version     string // of the object; "" if there is none
	renewals    string // differs after each renewal
}

// action is what a candidate is to do.
type action uint8

const (
	wait    action = iota
	acquire        // nobody leads: try to
	renew          // this one leads: go on
)

// core decides. It does no I/O and has no clock: all times are the caller's, of
// one monotonic clock.
type core struct {
	// Read-only after construction.
	id  string
	ttl time.Duration

	seen   record
	seenAt time.Time // since when the record is as it is, as far as is known here
	// leads is until when this one claims to lead; zero: it does not.
	leads time.Time
	token int64 // of that term
	// highest is the highest token seen: a Lease that was deleted begins anew, and
	// tokens must not.
	highest int64
}

// margin is what clocks may differ in speed, and a claim ends before others may
// believe that it has.
func (c *core) margin() time.Duration { return c.ttl / 10 }

// observe takes what was read at a time.
func (c *core) observe(r record, now time.Time) {
	if c.seenAt.IsZero() || r.holder != c.seen.holder || r.renewals != c.seen.renewals || r.transitions != c.seen.transitions {
		c.seenAt = now
	}
	c.seen = r
	c.highest = max(c.highest, r.transitions)
	if r.holder != c.id || r.transitions != c.token {
		c.leads = time.Time{} // somebody else has it, or has had it
	}
}

// wrote takes that a record was written, by a request that was sent at a time.
func (c *core) wrote(r record, sent time.Time) {
	c.seen, c.seenAt = r, sent
	c.leads, c.token = sent.Add(c.ttl-c.margin()), r.transitions
	c.highest = max(c.highest, r.transitions)
}

// leading reports whether this one may claim to lead.
func (c *core) leading(now time.Time) bool { return now.Before(c.leads) }

// expired reports whether the holder, if there is one, has to be believed gone.
func (c *core) expired(now time.Time) bool {
	return c.seen.holder == "" || !now.Before(c.until())
}

// until is when the term that was seen runs out unless it is renewed.
func (c *core) until() time.Time {
	if c.seen.duration <= 0 { // the holder does not say
		return c.seenAt.Add(c.ttl)
	}
	return c.seenAt.Add(c.seen.duration)
}

// leader is who leads as far as is known here, and until when that holds; "" if
// nobody does.
func (c *core) leader(now time.Time) (name string, until time.Time) {
	switch {
	case c.leading(now):
		return c.id, c.leads
	case c.seenAt.IsZero() || c.expired(now) || c.seen.holder == c.id:
		return "", time.Time{}
	}
	return c.seen.holder, c.until()
}

// decide says what to do now.
func (c *core) decide(now time.Time) action {
	switch {
	case c.leading(now):
		return renew
	case c.expired(now):
		return acquire
	}
	return wait
}

// claim is the record to write for a decision.
func (c *core) claim(a action) record {
	r := c.seen
	r.holder, r.duration = c.id, c.ttl
	if a == acquire {
		r.transitions = c.highest + 1
	}
	return r
}
