package pool

import (
	"net/http"
	"sync"
)

// maxHints is how many 1xx responses wait for a client; the rest are dropped.
const maxHints = 16

// hints passes 1xx responses on beside the connection that they come by, which other
// requests share: a client that reads nothing holds up its own alone.
type hints struct {
	inform func(status int, h http.Header) // nil: nobody wants them

	mu      sync.Mutex
	waiting []hint        // guarded by mu
	passing chan struct{} // closed when none waits any more; nil: none does; guarded by mu
	over    bool          // no more are taken; guarded by mu
}

type hint struct {
	status int
	header http.Header
}

// add takes a response.
func (s *hints) add(status int, h http.Header) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.inform == nil || s.over || len(s.waiting) == maxHints {
		return
	}
	s.waiting = append(s.waiting, hint{status, h})
	if s.passing == nil {
		s.passing = make(chan struct{})
		go s.pass(s.passing)
	}
}

func (s *hints) pass(done chan struct{}) {
	defer close(done)
	for {
		s.mu.Lock()
		if len(s.waiting) == 0 {
			s.passing = nil
			s.mu.Unlock()
			return
		}
		next := s.waiting[0]
		s.waiting = s.waiting[1:]
		s.mu.Unlock()
		s.inform(next.status, next.header)
	}
}

// end waits until nothing is passed on any more. answered: what waits still goes before
// the answer, else nobody needs it.
func (s *hints) end(answered bool) {
	s.mu.Lock()
	s.over = true
	if !answered {
		s.waiting = nil
	}
	passing := s.passing
	s.mu.Unlock()
	if passing != nil {
		<-passing
	}
}
