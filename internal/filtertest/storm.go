package filtertest

import (
	"sync"
	"sync/atomic"
	"testing"
)

// Storm is many clients that come at once, of which only so many may be shown to the server at a time.
type Storm struct {
	// Clients that come, and how many may log in at a time.
	Clients, Limit int

	busy, most atomic.Int64
	release    chan struct{}
}

// NewStorm makes one, for a server that holds its logins.
func NewStorm(clients, limit int) *Storm {
	return &Storm{Clients: clients, Limit: limit, release: make(chan struct{})}
}

// Begin is for the server, which has a connection. It returns end, which waits until the storm has been seen, and is called before the server says
// that the client is in.
func (s *Storm) Begin() (end func()) {
	n := s.busy.Add(1)
	for old := s.most.Load(); n > old && !s.most.CompareAndSwap(old, n); old = s.most.Load() { //nolint:revive // until it is in
	}
	return func() {
		<-s.release
		s.busy.Add(-1) // before the proxy can know
	}
}

// Run has the clients come, and looks at what becomes of them. metric reads one of the filter's, by the end of its name. come connects one client and
// returns what it does while others do the same; it fails the test if the client does not get in.
func (s *Storm) Run(t *testing.T, metric func(name string) float64, come func() (goOn func())) {
	t.Helper()
	var wg sync.WaitGroup
	for range s.Clients {
		wg.Go(come())
	}
	waiting := float64(s.Clients - s.Limit)
	for name, want := range map[string]float64{
		"downstream_connections_total": float64(s.Clients), "upstream_connecting": float64(s.Limit), "upstream_connect_queue": waiting,
		"upstream_connect_queued_total": waiting, "upstream_connect_queue_left_total": 0,
	} {
		Eventually(t, name, func() bool { return metric(name) == want })
	}
	Eventually(t, "the server to have as many as may be", func() bool { return s.busy.Load() == int64(s.Limit) })
	close(s.release)
	wg.Wait()
	if got := s.most.Load(); got != int64(s.Limit) {
		t.Errorf("%d logins at once, want %d", got, s.Limit)
	}
}
