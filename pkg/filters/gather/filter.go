// Package gather is the scatter/gather filter: one request is answered by
// several servers, and one answer is made of theirs.
//
// See README.md for what becomes of requests and answers.
package gather

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/filters/gather/merge"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

const (
	// maxLeaves bounds what one request sets going.
	maxLeaves = 1024
	// grace is what the router has to end branches in time and to say why, before
	// they are ended from here.
	grace = 100 * time.Millisecond
)

var errTooLarge = errors.New("a body is too large")

// filter is the filter of one listener's chain. It is read-only.
type filter struct {
	name     string
	counters *counters
}

// Close implements filters.HTTP.
func (*filter) Close() {}

// Handler implements filters.HTTP. Requests whose route says nothing for the
// filter are next's.
func (f *filter) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x := filters.ExchangeOf(r.Context())
		conf, ok := x.FilterConfig(f.name).(*resource.GatherRoute)
		if !ok {
			next.ServeHTTP(w, r)
			return
		}
		f.serve(w, r, x, conf, next)
	})
}

func (f *filter) serve(w http.ResponseWriter, r *http.Request, x filters.Exchange, conf *resource.GatherRoute, next http.Handler) {
	f.counters.requests.Inc()
	began := time.Now()
	brancher, ok := x.(filters.Brancher)
	if !ok {
		f.refuse(w, x, problem{status: http.StatusInternalServerError, reason: "no_branches", detail: "the filter is not beneath a connection manager"})
		return
	}
	leaves := leavesOf(brancher, conf)
	if n := len(leaves); n == 0 || n > maxLeaves {
		f.refuse(w, x, problem{status: http.StatusServiceUnavailable, reason: "no_leaves", detail: "there are " + strconv.Itoa(n) + " servers to ask"})
		return
	}
	body, err := readBody(w, r, conf.MaxBytes)
	if err != nil {
		f.refuseBody(w, x, err)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), conf.Deadline+grace)
	s := &scatter{conf: conf, counters: f.counters, brancher: brancher, next: next, request: r, body: body, began: began}
	answers := s.ask(ctx, leaves)
	cancel()
	if r.Context().Err() != nil {
		panic(http.ErrAbortHandler) // nobody waits for it
	}
	f.answer(r.Context(), w, x, conf, answers)
	f.counters.duration.Observe(time.Since(began).Seconds())
}

// readBody reads what is sent to all.
func readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	if r.Body == nil || r.Body == http.NoBody {
		return nil, nil
	}
	var buf bytes.Buffer
	_, err := buf.ReadFrom(http.MaxBytesReader(w, r.Body, limit))
	return buf.Bytes(), err
}

func (f *filter) refuseBody(w http.ResponseWriter, x filters.Exchange, err error) {
	if large, ok := errors.AsType[*http.MaxBytesError](err); ok {
		f.refuse(w, x, problem{
			status: http.StatusRequestEntityTooLarge, reason: "request_too_large",
			detail: "a request for several servers may have " + strconv.FormatInt(large.Limit, 10) + " bytes",
		})
		return
	}
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, context.Canceled) {
		panic(http.ErrAbortHandler)
	}
	f.refuse(w, x, problem{status: http.StatusBadRequest, reason: "request_body_unreadable", detail: "the body could not be read"})
}

// answer makes one answer of all.
func (f *filter) answer(ctx context.Context, w http.ResponseWriter, x filters.Exchange, conf *resource.GatherRoute, answers []answer) {
	s := summary{leaves: len(answers)}
	defer f.count(answers)
	var parts []merge.Answer
	for i := range answers {
		a := &answers[i]
		switch a.outcome {
		case outcomeAnswered:
			s.answered++
			parts = append(parts, merge.Answer{Leaf: a.leaf, Status: a.status, Body: a.body})
		case outcomeEmpty:
			s.answered++
		default:
			s.missing = append(s.missing, a)
		}
	}
	minimum := min(conf.Minimum, s.leaves)
	if s.answered < minimum {
		f.refuse(w, x, s.problem(minimum))
		return
	}
	merged, dropped, err := merge.All(ctx, &conf.Merge, parts)
	for _, d := range dropped {
		at := slices.IndexFunc(answers, func(a answer) bool { return a.leaf == d.Leaf })
		answers[at].outcome, answers[at].detail = outcomeUnusable, d.Reason
		s.missing, s.answered = append(s.missing, &answers[at]), s.answered-1
	}
	switch {
	case s.answered < minimum:
		f.refuse(w, x, s.problem(minimum))
		return
	case errors.Is(err, merge.ErrEmpty):
		f.deliver(w, x, &s, http.StatusNoContent, nil)
		return
	case err != nil:
		f.refuse(w, x, problem{status: http.StatusBadGateway, reason: "not_merged", detail: err.Error(), missing: s.missing})
		return
	}
	f.deliver(w, x, &s, http.StatusOK, merged)
}

// deliver answers with what was merged.
func (f *filter) deliver(w http.ResponseWriter, x filters.Exchange, s *summary, status int, body []byte) {
	h := w.Header()
	if status != http.StatusNoContent {
		h.Set("Content-Type", "application/json")
		h.Set("Content-Length", strconv.Itoa(len(body)))
	}
	h.Set(Header, s.header())
	if len(s.missing) > 0 {
		f.counters.partial.Inc()
		h.Set("Cache-Control", "no-store")
	}
	x.Explain("", "gathered")
	w.WriteHeader(status)
	if len(body) > 0 {
		_, _ = w.Write(body) // a client that is gone needs no answer
	}
}

// count adds up what became of the leaves.
func (f *filter) count(answers []answer) {
	for i := range answers {
		f.counters.leaves.WithLabelValues(answers[i].outcome).Inc()
	}
}
