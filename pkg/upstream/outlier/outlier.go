// Package outlier decides when an endpoint is taken out of use because of what
// real requests saw, and when it may come back. It does no I/O and reads no
// clock: the caller says what happened and when.
package outlier

import "time"

// Cause is what ejected an endpoint.
type Cause uint8

// The causes. A probe that connects refutes Connect; it says little about the
// others.
const (
	None    Cause = iota
	Connect       // no connection could be made
	Request       // connected, but timed out, hung up or refused to serve
)

// Policy says when to eject and for how long at least.
type Policy struct {
	ConnectFailures uint32        // failed connects in a row that eject; never 0
	Failures        uint32        // failures of any kind in a row that eject; never 0
	Base            time.Duration // shortest ejection, times the number of ejections in a row
	Max             time.Duration // bound of that product; 0: none
	// HoldConnect applies Base to failed connects too. Without it they end with
	// the first probe that succeeds.
	HoldConnect bool
	// Window is how long a failed request counts: filters do not report that one
	// went well, so failures with more time between them are not in a row.
	Window time.Duration
	// Forget is how long an endpoint must have been well for its earlier
	// ejections not to count any more.
	Forget time.Duration
}

// State is what is remembered of one endpoint. The zero value is an endpoint
// without failures. It is not safe for concurrent use.
type State struct {
	connects  uint32    // in a row
	failures  uint32    // in a row, connects included
	ejections uint32    // in a row: without being well for Policy.Forget in between
	latest    time.Time // failed request
	cause     Cause
	until     time.Time // the ejection lasts so long at least
	restored  time.Time // end of the latest ejection
}

// Ejected reports whether the endpoint is out of use, and why.
func (s *State) Ejected() (Cause, bool) { return s.cause, s.cause != None }

// Until is the earliest end of the current ejection; zero when there is none.
func (s *State) Until() time.Time {
	if s.cause == None {
		return time.Time{}
	}
	return s.until
}

// Success says that the endpoint answered a request.
func (s *State) Success() { s.connects, s.failures = 0, 0 }

// Failure counts a failure and reports whether it is one too many. The caller
// then calls Eject, unless it can't do without the endpoint.
func (s *State) Failure(c Cause, now time.Time, p *Policy) (tooMany bool) {
	switch {
	case c == Connect:
		s.connects++
	case now.Sub(s.latest) > p.Window:
		s.connects, s.failures, s.latest = 0, 0, now
	default:
		s.connects, s.latest = 0, now
	}
	s.failures++
	return s.cause == None && (s.connects >= p.ConnectFailures || s.failures >= p.Failures)
}

// Eject takes the endpoint out of use.
func (s *State) Eject(c Cause, now time.Time, p *Policy) {
	if !s.restored.IsZero() && now.Sub(s.restored) >= p.Forget {
		s.ejections = 0
	}
	s.ejections++
	s.connects, s.failures = 0, 0
	s.cause, s.until = c, now
	if c == Request || p.HoldConnect {
		s.until = now.Add(s.hold(p))
	}
}

// Probed says that a probe succeeded. It reports whether that ends an ejection;
// if one goes on, until Until.
func (s *State) Probed(now time.Time) (restored bool) {
	if s.cause == None || now.Before(s.until) {
		return false
	}
	s.cause, s.restored = None, now
	return true
}

func (s *State) hold(p *Policy) time.Duration {
	hold := p.Base
	// Grows step by step so that the product cannot overflow.
	for range min(s.ejections, 1<<10) - 1 {
		hold += p.Base
		if p.Max > 0 && hold >= p.Max {
			return p.Max
		}
	}
	return hold
}
