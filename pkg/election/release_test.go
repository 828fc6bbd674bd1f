package election

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"
)

// store has one Lease as an API server has it: who writes says which version he
// has seen.
type store struct {
	mu      sync.Mutex
	lease   *object // guarded by mu; nil: there is none
	version int     // guarded by mu
}

func (s *store) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case r.Method == http.MethodGet && s.lease == nil:
		w.WriteHeader(http.StatusNotFound)
		return
	case r.Method != http.MethodGet:
		next := &object{}
		if err := json.NewDecoder(r.Body).Decode(next); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		if s.lease != nil && next.Metadata["resourceVersion"] != s.lease.Metadata["resourceVersion"] {
			w.WriteHeader(http.StatusConflict)
			return
		}
		s.lease = next
		s.touched()
	}
	_ = json.NewEncoder(w).Encode(s.lease)
}

// touched gives the Lease another version. The caller holds mu.
func (s *store) touched() {
	s.version++
	s.lease.Metadata["resourceVersion"] = strconv.Itoa(s.version)
}

func TestReleaseOfAStaleLease(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		meanwhile func(spec map[string]any)
		want      string // who holds it afterwards
	}{
		"our own renewal, whose answer did not come": {func(map[string]any) {}, ""},
		"another's term":             {func(spec map[string]any) { spec["holderIdentity"] = "web-1" }, "web-1"},
		"a later term of a namesake": {func(spec map[string]any) { spec["leaseTransitions"] = 7 }, "web-0"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &store{}
			server := httptest.NewServer(s)
			t.Cleanup(server.Close)
			e, err := New(Options{
				API:      &API{server: server.URL, client: server.Client(), token: func() (string, error) { return "", nil }},
				Election: "master", Namespace: "shop", ID: "web-0", TTL: 10 * time.Second, Log: slog.New(slog.DiscardHandler),
			})
			if err != nil {
				t.Fatal(err)
			}
			e.round(t.Context())
			if !e.State().IsLeader {
				t.Fatalf("not the leader: %v", e.Problem())
			}
			s.mu.Lock()
			tt.meanwhile(s.lease.Spec)
			s.touched()
			s.mu.Unlock()
			e.release(t.Context())
			if got := s.lease.record().holder; got != tt.want {
				t.Errorf("the lease is held by %q, want %q", got, tt.want)
			}
		})
	}
}
