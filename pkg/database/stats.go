package database

import (
	"sync"
	"sync/atomic"
)

// Reason says why a filter refused or ended a session.
type Reason uint8

// The reasons.
const (
	BadClient     Reason = iota // its start-up is not what it should be
	SlowClient                  // it did not say in time who it is
	BadPassword                 // appAuth
	TooMany                     // limits
	NoEndpoint                  // in time
	NoSecret                    // in time
	ConnectFailed               // no server could be reached
	LoginError                  // the server is not one to log in at
	ServerRefused               // the server's own error
	ProtocolError
	ServerClosed
	IdleTimeout
	Drained
	Retired
	reasons
)

// String is the reason's name in metrics and logs.
func (r Reason) String() string {
	return [...]string{
		"bad_client", "slow_client", "bad_password", "too_many", "no_endpoint", "no_secret", "connect_failed", "login_error",
		"server_refused", "protocol_error", "server_closed", "idle_timeout", "drained", "retired",
	}[r]
}

// Stats are the counters of one listener on one loop. They outlive filters.
type Stats struct {
	Accepted, Logins, Queued     atomic.Uint64
	Queries, Transactions        atomic.Uint64
	Received, Sent               atomic.Uint64 // bytes
	ConnectFailures, SlowQueries atomic.Uint64
	Open                         atomic.Int64
	Refused, Closed              [reasons]atomic.Uint64
	Latency, Login, Wait         Histogram

	// Requests to cancel what a session has asked for, or to kill it: those of
	// clients that reached a server, those that did not, and the filter's own.
	Cancels, LostCancels, OwnCancels atomic.Uint64

	mu     sync.Mutex
	errors map[ErrorKind]uint64 // guarded by mu
}

// OtherError takes the place of a code or class that is none.
const OtherError = "other"

// ErrorKind is what errors that clients are told are counted by.
type ErrorKind struct{ Code, Class string }

// maxErrorKinds bounds how many kinds of errors a server can make up.
const maxErrorKinds = 256

// Failed counts an error that the client was told.
func (s *Stats) Failed(kind ErrorKind) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.errors[kind]; !known && len(s.errors) >= maxErrorKinds {
		kind = ErrorKind{OtherError, OtherError}
	}
	if s.errors == nil {
		s.errors = map[ErrorKind]uint64{}
	}
	s.errors[kind]++
}

// addErrors adds what was counted to a sum.
func (s *Stats) addErrors(to map[ErrorKind]uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for kind, n := range s.errors {
		to[kind] += n
	}
}

// PlainState reports whether all characters are such as a SQLSTATE is made of.
func PlainState(state string) bool {
	for i := range len(state) {
		if c := state[i]; (c < '0' || c > '9') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return true
}
