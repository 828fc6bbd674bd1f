package gather

import (
	"bytes"
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// What became of a leaf, as header, metrics and problems name it.
const (
	outcomeAnswered = "answered"
	outcomeEmpty    = "empty"    // one of the statuses that mean so
	outcomeTimeout  = "timeout"  // no answer before the deadline
	outcomeDown     = "down"     // no endpoint, or none that is healthy
	outcomeConnect  = "connect"  // it could not be connected to
	outcomeReset    = "reset"    // it ended the connection
	outcomeBusy     = "busy"     // the cluster's limits
	outcomeStatus   = "status"   // another status
	outcomeLarge    = "large"    // more bytes than allowed
	outcomeUnusable = "unusable" // no JSON, or not of the kind that is merged
)

// answer is what a leaf has said, or why it has not.
type answer struct {
	leaf    string
	outcome string
	detail  string // for people
	status  int
	body    []byte
}

// useful says that no other answer of the leaf is needed.
func (a *answer) useful() bool { return a.outcome == outcomeAnswered || a.outcome == outcomeEmpty }

// leaf is one of those that are asked for an answer.
type leaf struct {
	name string
	to   filters.Branch
	down bool // known to be, without asking
}

// leavesOf lists those of a route: the clusters it names, or each endpoint of
// its own.
func leavesOf(b filters.Brancher, conf *resource.GatherRoute) []leaf {
	if len(conf.Leaves) > 0 {
		list := make([]leaf, len(conf.Leaves))
		for i, l := range conf.Leaves {
			_, known := b.Cluster(l.Cluster)
			list[i] = leaf{name: l.Name, to: filters.Branch{Cluster: l.Cluster}, down: !known}
		}
		return list
	}
	cluster, ok := b.Cluster("")
	if !ok {
		return nil
	}
	var list []leaf
	add := func(e *filters.Endpoint) {
		if e == nil {
			return
		}
		list = append(list, leaf{name: e.Address, to: filters.Branch{Only: e}, down: !e.Healthy()})
	}
	t := cluster.Table()
	for i := range t.Shards {
		add(t.Shards[i].Primary)
		for _, e := range t.Shards[i].Replicas {
			add(e)
		}
	}
	slices.SortFunc(list, func(a, b leaf) int { return strings.Compare(a.name, b.name) })
	return list
}

// scatter is one request on its way to all leaves.
type scatter struct {
	conf     *resource.GatherRoute
	counters *counters
	brancher filters.Brancher
	next     http.Handler
	request  *http.Request
	body     []byte
	began    time.Time

	branches sync.WaitGroup
}

// ask returns an answer of each leaf, in their order. No branch is left when it
// returns.
func (s *scatter) ask(ctx context.Context, leaves []leaf) []answer {
	answers := make([]answer, len(leaves))
	var wg sync.WaitGroup
	for i, l := range leaves {
		if l.down {
			answers[i] = answer{leaf: l.name, outcome: outcomeDown, detail: "it has no healthy endpoint"}
			continue
		}
		wg.Go(func() { answers[i] = s.leaf(ctx, &l) })
	}
	wg.Wait()
	s.branches.Wait()
	return answers
}

// leaf asks one of them, and once more where it is late or fails.
func (s *scatter) leaf(ctx context.Context, l *leaf) answer {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	to := l.to
	if s.conf.Hedge > 0 {
		to.Tried = &filters.Tried{}
	}
	results := make(chan answer, 2)
	send := func() {
		s.branches.Go(func() { results <- s.branch(ctx, l.name, to) })
	}
	send()
	if s.conf.Hedge == 0 {
		return <-results
	}
	timer := time.NewTimer(s.conf.Hedge)
	defer timer.Stop()
	select {
	case a := <-results:
		if a.useful() || ctx.Err() != nil {
			return a
		}
		results <- a // for the comparison below
	case <-timer.C:
	}
	s.counters.hedges.Inc()
	send()
	first := <-results
	if first.useful() {
		return first
	}
	if second := <-results; second.useful() {
		return second
	}
	return first
}

// branch sends one request.
func (s *scatter) branch(ctx context.Context, name string, to filters.Branch) answer {
	left := s.conf.Deadline - time.Since(s.began)
	if left <= 0 {
		return answer{leaf: name, outcome: outcomeTimeout}
	}
	to.Timeout = left
	rec := &recorder{header: http.Header{}, limit: s.conf.MaxBytes}
	w, r := s.brancher.Branch(rec, s.copyOf(ctx), to)
	broken := s.serve(w, r)
	a := answer{leaf: name, status: rec.status, body: rec.body}
	flag := ""
	if b, ok := filters.ExchangeOf(r.Context()).(filters.Brancher); ok {
		flag, a.detail = b.Explanation()
	}
	a.outcome = s.outcome(rec, flag, broken)
	switch {
	case a.useful():
		a.detail = ""
	case a.outcome == outcomeUnusable:
		a.detail = "its Content-Type is not JSON's"
	}
	return a
}

// serve has the rest of the chain answer, and says whether the answer is not
// whole.
func (s *scatter) serve(w http.ResponseWriter, r *http.Request) (broken bool) {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		broken = true
		if err, ok := p.(error); !ok || !errors.Is(err, http.ErrAbortHandler) {
			s.counters.panics.Inc()
		}
	}()
	s.next.ServeHTTP(w, r)
	return false
}

// copyOf makes a branch's request: that of the client, without what would give
// other answers than whole, plain ones.
func (s *scatter) copyOf(ctx context.Context) *http.Request {
	r := s.request.Clone(ctx)
	for _, name := range [...]string{
		"Accept-Encoding", "Range", "If-Range", "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "Upgrade", "Expect",
	} {
		delete(r.Header, name)
	}
	if r.Method == http.MethodHead {
		r.Method = http.MethodGet
	}
	r.Body, r.ContentLength, r.TransferEncoding, r.Trailer = http.NoBody, 0, nil, nil
	if s.body != nil {
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(s.body)), int64(len(s.body))
	}
	return r
}

// outcome says what an answer is worth.
func (s *scatter) outcome(rec *recorder, flag string, broken bool) string {
	switch {
	case rec.large:
		return outcomeLarge
	case strings.Contains(flag, "UT"), strings.Contains(flag, "SI"):
		return outcomeTimeout
	case strings.Contains(flag, "UH"), strings.Contains(flag, "NC"):
		return outcomeDown
	case strings.Contains(flag, "UF"):
		return outcomeConnect
	case strings.Contains(flag, "UO"):
		return outcomeBusy
	case broken && time.Since(s.began) >= s.conf.Deadline:
		return outcomeTimeout
	case broken, strings.Contains(flag, "UC"):
		return outcomeReset
	case slices.Contains(s.conf.Empty, rec.status):
		return outcomeEmpty
	case rec.status < 200 || rec.status > 299:
		return outcomeStatus
	case !isJSON(rec.header.Get("Content-Type")):
		return outcomeUnusable
	default:
		return outcomeAnswered
	}
}

// isJSON says that a type is JSON's, or built on it.
func isJSON(contentType string) bool {
	t, _, err := mime.ParseMediaType(contentType)
	return err == nil && (t == "application/json" || t == "text/json" || strings.HasSuffix(t, "+json"))
}
