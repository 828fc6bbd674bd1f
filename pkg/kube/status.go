package kube

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/util/flowcontrol"
	"k8s.io/client-go/util/workqueue"

	"github.com/dragoman-mesh/dragoman/pkg/inventory"
	"github.com/dragoman-mesh/dragoman/pkg/kube/v1alpha1"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
)

// Bounds of the writing.
const (
	statusHold     = 200 * time.Millisecond // gathers what changes together
	statusInterval = time.Second            // between two writes of one object
	statusRetry    = 5 * time.Second        // after an error
	statusTimeout  = 10 * time.Second       // of a write
	statusQPS      = 20                     // writes a second, of all objects
	statusBurst    = 40
)

// Status keeps what became of objects in their status. SetStatus may be called
// from any goroutine; Run belongs to every replica, Lead is a task of the leader.
type Status struct {
	// Read-only after construction.
	clients *Clients
	board   *board
	wanted  *wanted
	replica Replica
	logger  *slog.Logger
	others  *others
	limiter flowcontrol.RateLimiter
	heard   *health // of the other replicas

	mu    sync.Mutex // guards below
	local map[inventory.Ref]inventory.Status
	queue workqueue.TypedDelayingInterface[inventory.Ref] // nil: does not lead
	wrote map[inventory.Ref]time.Time
}

// NewStatus returns a writer for the objects of a source.
func NewStatus(clients *Clients, source *Source, replica Replica, logger *slog.Logger) *Status {
	s := &Status{
		clients: clients, board: source.board, wanted: source.wanted, replica: replica,
		logger:  cmp.Or(logger, slog.Default()),
		limiter: flowcontrol.NewTokenBucketRateLimiter(statusQPS, statusBurst),
		local:   make(map[inventory.Ref]inventory.Status),
		wrote:   make(map[inventory.Ref]time.Time),
	}
	s.heard = newHealth("counts of other replicas", s.logger)
	s.others = &others{self: replica.countsName(), all: make(map[string]*report), changed: func(name string) {
		if ref, ok := countsRef(name); ok {
			s.enqueue(ref, statusHold)
		}
	}}
	s.board.listen(s.look)
	return s
}

// look takes that the API server has another status of an object, or the object
// no more.
func (s *Status) look(ref inventory.Ref) {
	if _, there := s.board.get(ref); there {
		s.enqueue(ref, statusHold)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.local, ref)
	delete(s.wrote, ref)
}

// SetStatus takes what this replica says of an object. It does not block.
func (s *Status) SetStatus(ref inventory.Ref, status inventory.Status) {
	s.mu.Lock()
	s.local[ref] = status
	s.mu.Unlock()
	s.enqueue(ref, statusHold)
}

// enqueue has the leader look at an object, unless it is about to do so anyhow.
func (s *Status) enqueue(ref inventory.Ref, after time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.queue != nil {
		s.queue.AddAfter(ref, max(after, statusInterval-time.Since(s.wrote[ref])))
	}
}

// Run tells the other replicas what this one counts, and listens to them, until
// ctx is done. Then it takes its counts away.
func (s *Status) Run(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	running.Go(func() { s.listen(ctx) })
	p := &publisher{clients: s.clients, replica: s.replica}
	tick := time.NewTicker(countsInterval)
	defer tick.Stop()
	failed := false
	for {
		err := p.publish(ctx, time.Now(), s.counts())
		if err != nil && !failed && ctx.Err() == nil {
			s.logger.Warn("the leader cannot be told how many proxies run what", "error", err)
		}
		failed = err != nil
		select {
		case <-tick.C:
		case <-ctx.Done():
			return s.withdraw(context.WithoutCancel(ctx))
		}
	}
}

// withdraw removes the own counts: their proxies are about to be another's.
func (s *Status) withdraw(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	err := s.clients.Typed.CoreV1().ConfigMaps(s.replica.Namespace).Delete(ctx, s.replica.countsName(), metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		s.logger.Warn("the counts of this replica stay until they expire", "error", err)
	}
	return nil
}

// listen follows the counts of the other replicas.
func (s *Status) listen(ctx context.Context) {
	labelled := func(o *metav1.ListOptions) { o.LabelSelector = countsLabel + "=true" }
	f := newFeed(s.heard, &corev1.ConfigMap{}, countsOf, s.others.set)
	f.run(ctx, follow(s.clients.Typed.CoreV1().ConfigMaps(s.replica.Namespace), s.heard, labelled))
}

// counts gives the own ones, of objects that proxies have.
func (s *Status) counts() counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make(counts)
	for ref := range s.local {
		if st := s.local[ref]; st.Proxies > 0 {
			out[countsName(ref)] = countOf(&st)
		}
	}
	return out
}

// maxDenied bounds the reason why proxies are not given an object, and what else is wrong.
const maxDenied = 512

func countOf(st *inventory.Status) count {
	return count{
		UID: st.UID, Proxies: st.Proxies, Running: st.Running, Refused: st.Refused, Refusals: refusals(st.Refusals),
		Denied: clip(st.Denied, maxDenied), DeniedReason: st.DeniedReason, Problem: clip(st.Problem, maxDenied), ProblemReason: st.ProblemReason,
	}
}

// Lead writes the status of all objects for as long as ctx is not done.
func (s *Status) Lead(ctx context.Context) {
	select {
	case <-s.heard.seen: // or the first counts written would be too low
	case <-time.After(statusRetry):
	case <-ctx.Done():
		return
	}
	queue := workqueue.NewTypedDelayingQueue[inventory.Ref]()
	s.mu.Lock()
	s.queue = queue
	for ref := range s.local {
		queue.Add(ref)
	}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.queue = nil
		s.mu.Unlock()
	}()
	defer context.AfterFunc(ctx, queue.ShutDown)()
	var running sync.WaitGroup
	defer running.Wait()
	running.Go(func() { s.expire(ctx) })
	for {
		ref, end := queue.Get()
		if end {
			return
		}
		if err := s.write(ctx, ref); err != nil && ctx.Err() == nil {
			s.logger.Warn("writing a status", "kind", ref.Kind.String(), "object", ref.String(), "error", err)
			s.enqueue(ref, statusRetry)
		}
		queue.Done(ref)
	}
}

// expire forgets replicas that have vanished.
func (s *Status) expire(ctx context.Context) {
	tick := time.NewTicker(countsLife / 10)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			for _, name := range s.others.expire(now) {
				err := s.clients.Typed.CoreV1().ConfigMaps(s.replica.Namespace).Delete(ctx, name, metav1.DeleteOptions{})
				if err != nil && !apierrors.IsNotFound(err) {
					s.logger.Warn("removing what a vanished replica left", "configmap", name, "error", err)
				}
			}
		case <-ctx.Done():
			return
		}
	}
}

// write brings the status of an object up to date, if it is not.
func (s *Status) write(ctx context.Context, ref inventory.Ref) error {
	posted, there := s.board.get(ref)
	s.mu.Lock()
	st, told := s.local[ref]
	s.mu.Unlock()
	if !there || !told || st.UID != posted.uid || st.Generation < posted.status.ObservedGeneration {
		return nil // what is told of an earlier object, or spec, is out of date
	}
	total := countOf(&st)
	s.others.sum(countsName(ref), &total)
	st.Conditions = withProblems(st.Conditions, s.wanted.problemsOf(ref))
	want := newStatus(&st, &total, &posted.status, metav1.Now())
	if sameStatus(&want, &posted.status) {
		return nil
	}
	if err := s.limiter.Wait(ctx); err != nil {
		return fmt.Errorf("waiting to write: %w", err)
	}
	if err := s.apply(ctx, ref, posted.uid, &want); err != nil {
		return err
	}
	s.mu.Lock()
	s.wrote[ref] = time.Now()
	s.mu.Unlock()
	return nil
}

// apply writes a status, unless the object is another one by now.
func (s *Status) apply(ctx context.Context, ref inventory.Ref, uid string, want *v1alpha1.ObjectStatus) error {
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(want)
	if err != nil {
		return fmt.Errorf("encoding the status: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	patch := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": mesh.APIVersion,
		"kind":       ref.Kind.String(),
		"metadata":   map[string]any{"namespace": ref.Namespace, "name": ref.Name, "uid": uid},
		"status":     fields,
	}}
	options := metav1.ApplyOptions{FieldManager: fieldManager, Force: true}
	written, err := s.clients.Dynamic.Resource(resourceOf(ref.Kind)).Namespace(ref.Namespace).
		ApplyStatus(ctx, ref.Name, patch, options)
	switch {
	case apierrors.IsNotFound(err), apierrors.IsConflict(err):
		return nil // deleted, or made anew: the watch will tell
	case err != nil:
		return fmt.Errorf("applying the status: %w", err)
	}
	s.board.wrote(ref, uid, statusOf(written))
	return nil
}

// refusals keeps a few reasons, each once and not too long.
func refusals(in []string) []string {
	const most, longest = 8, 512
	out := slices.Clone(in)
	for i := range out {
		out[i] = clip(out[i], longest)
	}
	slices.Sort(out)
	out = slices.Compact(out)
	return out[:min(len(out), most)]
}

func clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "..."
}
