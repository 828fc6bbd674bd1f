package election

import (
	"encoding/json"
	"net/http"
)

// Handler answers an app's questions:
//
//	GET /          {"name": "web-1", "isLeader": false, "expires": "...", "token": 7}
//	GET /leader    the same; 200 where this candidate leads, 503 where it does not, for probes and load balancers
//	GET /healthz   200 if the API server could be asked the last time, else 503 and why
//
// The first member is what the classic elector answered.
func (e *Elector) Handler() http.Handler {
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, code int, s State) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(s) // the client is gone otherwise
	}
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, e.State()) })
	mux.HandleFunc("GET /leader", func(w http.ResponseWriter, _ *http.Request) {
		s, code := e.State(), http.StatusServiceUnavailable
		if s.IsLeader {
			code = http.StatusOK
		}
		answer(w, code, s)
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if err := e.Problem(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write([]byte("OK\n")) // the client is gone otherwise
	})
	return mux
}
