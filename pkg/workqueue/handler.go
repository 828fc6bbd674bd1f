package workqueue

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// listLimit bounds the names of one answer.
const listLimit = 100_000

// Server is the source interface of a queue, and leases for workers that are no
// processes of this program. It is a [prometheus.Collector].
//
//	GET  /api/v1/items             {"kind":"ItemList","apiVersion":"v1","items":["a","b"]}; also /items
//	GET  /api/v1/items/NAME        {"kind":"Item","apiVersion":"v1","data":{...}}; also /items/NAME
//	POST /api/v1/leases?worker=W   201 {"kind":"Lease","apiVersion":"v1","id":"...","item":"a","attempt":1,"expires":"...","data":{...}},
//	                               204 nothing is waiting at present, 410 nothing waits and nobody is at work
//	POST /api/v1/leases/ID/renew, /done, /failed?reason=...
//	                               204; 409 the lease has run out, and the item may be another's
type Server struct {
	queue   Queue
	mux     *http.ServeMux
	log     *slog.Logger
	settled *prometheus.CounterVec
	leased  prometheus.Counter
}

// NewServer returns the server of a queue.
func NewServer(q Queue, log *slog.Logger) *Server {
	s := &Server{
		queue: q, mux: http.NewServeMux(), log: log,
		leased: prometheus.NewCounter(prometheus.CounterOpts{Name: "dragoman_workqueue_leases_total", Help: "Leases given to workers."}),
		settled: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "dragoman_workqueue_settled_total", Help: "What workers said of their leases: done, failed, renewed, or lost, which was too late.",
		}, []string{"outcome"}),
	}
	for _, prefix := range []string{"/api/v1/items", "/items"} {
		s.mux.HandleFunc("GET "+prefix, s.list)
		s.mux.HandleFunc("GET "+prefix+"/{name}", s.get)
	}
	s.mux.HandleFunc("POST /api/v1/leases", s.lease)
	s.mux.HandleFunc("POST /api/v1/leases/{id}/{outcome}", s.settle)
	return s
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// Describe implements prometheus.Collector.
func (s *Server) Describe(ch chan<- *prometheus.Desc) {
	s.leased.Describe(ch)
	s.settled.Describe(ch)
}

// Collect implements prometheus.Collector.
func (s *Server) Collect(ch chan<- prometheus.Metric) {
	s.leased.Collect(ch)
	s.settled.Collect(ch)
}

type itemList struct {
	Kind       string   `json:"kind"`
	APIVersion string   `json:"apiVersion"`
	Items      []string `json:"items"`
}

type itemAnswer struct {
	Kind       string         `json:"kind"`
	APIVersion string         `json:"apiVersion"`
	ID         string         `json:"id,omitempty"`
	Item       string         `json:"item,omitempty"`
	Attempt    int            `json:"attempt,omitempty"`
	Expires    time.Time      `json:"expires,omitzero"`
	Data       map[string]any `json:"data"`
}

func (s *Server) list(w http.ResponseWriter, r *http.Request) {
	names, err := s.queue.List(r.Context(), listLimit)
	if err != nil {
		s.fail(w, err)
		return
	}
	s.answer(w, http.StatusOK, itemList{"ItemList", "v1", append([]string{}, names...)})
}

func (s *Server) get(w http.ResponseWriter, r *http.Request) {
	item, err := s.queue.Get(r.Context(), r.PathValue("name"))
	if err != nil {
		s.fail(w, err)
		return
	}
	s.answer(w, http.StatusOK, itemAnswer{Kind: "Item", APIVersion: "v1", Data: item.JSON()})
}

func (s *Server) lease(w http.ResponseWriter, r *http.Request) {
	worker := r.URL.Query().Get("worker")
	if worker == "" {
		worker = "http"
	}
	l, err := s.queue.Lease(r.Context(), worker)
	if err != nil {
		s.fail(w, err)
		return
	}
	s.leased.Inc()
	s.answer(w, http.StatusCreated, itemAnswer{
		Kind: "Lease", APIVersion: "v1", ID: l.ID, Item: l.Name, Attempt: l.Attempt, Expires: l.Expires, Data: l.JSON(),
	})
}

func (s *Server) settle(w http.ResponseWriter, r *http.Request) {
	outcomes := map[string]Outcome{"renew": Renewed, "done": Done, "failed": Failed}
	outcome, ok := outcomes[r.PathValue("outcome")]
	if !ok {
		http.Error(w, fmt.Sprintf("%q: want renew, done or failed", r.PathValue("outcome")), http.StatusNotFound)
		return
	}
	if err := s.conclude(r, outcome); err != nil {
		s.fail(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (s *Server) conclude(r *http.Request, outcome Outcome) error {
	reason := r.URL.Query().Get("reason")
	err := s.queue.Settle(r.Context(), r.PathValue("id"), Result{outcome, reason})
	s.Note(outcome, err)
	return err
}

// Note counts what became of a lease.
func (s *Server) Note(outcome Outcome, err error) {
	names := [...]string{"renewed", "done", "failed"}
	switch {
	case err == nil:
		s.settled.WithLabelValues(names[outcome]).Inc()
	case errors.Is(err, ErrLost):
		s.settled.WithLabelValues("lost").Inc()
	}
}

// fail answers with an error's meaning.
func (s *Server) fail(w http.ResponseWriter, err error) {
	code := http.StatusBadGateway
	switch {
	case errors.Is(err, ErrEmpty):
		w.WriteHeader(http.StatusNoContent)
		return
	case errors.Is(err, ErrDrained):
		code = http.StatusGone
	case errors.Is(err, ErrNotFound):
		code = http.StatusNotFound
	case errors.Is(err, ErrLost):
		code = http.StatusConflict
	default:
		s.log.Warn("the queue cannot be used", "error", err)
	}
	http.Error(w, err.Error(), code)
}

func (s *Server) answer(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v) // the client is gone otherwise
}
