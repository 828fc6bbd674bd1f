package kube

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"

	"github.com/dragoman-mesh/dragoman/pkg/inventory"
)

// wanted follows Secrets, ConfigMaps and Leases by name, for as long as somebody
// wants them.
type wanted struct {
	clients *Clients
	logger  *slog.Logger
	running sync.WaitGroup
	// told is called for each that wants what cannot be read any more, or can again.
	told func(by inventory.Ref)
	// leases takes what Leases say; nil: one is gone, or wanted no more.
	leases func(k inventory.Key, l *tenure, at time.Time)

	mu      sync.Mutex // guards below
	ctx     context.Context
	into    *inventory.Store
	by      map[inventory.Ref][]inventory.Ref // what each wants
	watches map[inventory.Ref]*namedWatch
}

// namedWatch follows one thing.
type namedWatch struct {
	wanters int
	stop    context.CancelFunc
	health  *health
	stopped bool // what arrives now is late
}

func newWanted(clients *Clients, logger *slog.Logger, told func(by inventory.Ref),
	leases func(k inventory.Key, l *tenure, at time.Time),
) *wanted {
	return &wanted{
		clients: clients, logger: logger, told: told, leases: leases,
		by: make(map[inventory.Ref][]inventory.Ref), watches: make(map[inventory.Ref]*namedWatch),
	}
}

// start begins to follow what is wanted so far.
func (w *wanted) start(ctx context.Context, into *inventory.Store) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ctx, w.into = ctx, into
	for ref, watch := range w.watches {
		w.followLocked(ref, watch)
	}
}

// wait returns when nothing is running any more, the context of start being done.
func (w *wanted) wait() {
	w.mu.Lock()
	w.ctx = nil // nothing starts any more
	w.mu.Unlock()
	w.running.Wait()
}

func (w *wanted) want(by inventory.Ref, refs []inventory.Ref) {
	w.mu.Lock()
	defer w.mu.Unlock()
	refs = slices.Clone(refs)
	slices.SortFunc(refs, inventory.Ref.Compare)
	refs = slices.Compact(refs)
	for _, ref := range refs {
		watch := w.watches[ref]
		if watch == nil {
			watch = &namedWatch{}
			w.watches[ref] = watch
			w.followLocked(ref, watch)
		}
		watch.wanters++
	}
	for _, ref := range w.by[by] {
		watch := w.watches[ref]
		if watch.wanters--; watch.wanters == 0 {
			delete(w.watches, ref)
			w.endLocked(ref, watch)
		}
	}
	if len(refs) == 0 {
		delete(w.by, by)
	} else {
		w.by[by] = refs
	}
}

func (w *wanted) followLocked(ref inventory.Ref, watch *namedWatch) {
	if w.ctx == nil {
		return
	}
	ctx, stop := context.WithCancel(w.ctx)
	watch.stop = stop
	watch.health = newHealth(ref.Kind.String()+" "+ref.String(), w.logger)
	watch.health.told = func(error) {
		watch.health.settled()
		w.touch(ref)
	}
	run := w.feed(ref, watch)
	w.running.Go(func() { run(ctx) })
}

func (w *wanted) endLocked(ref inventory.Ref, watch *namedWatch) {
	watch.stopped = true
	if watch.stop == nil {
		return
	}
	watch.stop()
	if ref.Kind == inventory.KindLease {
		w.leases(ref.Key, nil, time.Now())
	} else {
		putIfNew[*inventory.Secret](w.into, ref, nil, sameSecret, time.Now())
	}
}

// set puts what a watch has seen, unless nobody wants it any more.
func (w *wanted) set(ref inventory.Ref, watch *namedWatch, value *inventory.Secret, at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !watch.stopped {
		putIfNew(w.into, ref, value, sameSecret, at)
	}
}

// touch tells those that want a thing that it can be read no more, or again.
func (w *wanted) touch(ref inventory.Ref) {
	w.mu.Lock()
	var wanters []inventory.Ref
	for by, refs := range w.by {
		if slices.Contains(refs, ref) {
			wanters = append(wanters, by)
		}
	}
	w.mu.Unlock()
	for _, by := range wanters {
		w.told(by)
	}
}

// problemsOf says what of that which somebody wants cannot be read, and why.
func (w *wanted) problemsOf(by inventory.Ref) []error {
	w.mu.Lock()
	refs := w.by[by]
	w.mu.Unlock()
	var out []error
	for _, ref := range refs {
		if err := w.problem(ref); err != nil {
			out = append(out, fmt.Errorf("%s %s: %w", ref.Kind, ref.Key, err))
		}
	}
	return out
}

// problems says what cannot be read, and why, in order.
func (w *wanted) problems() []error {
	w.mu.Lock()
	refs := slices.SortedFunc(maps.Keys(w.watches), inventory.Ref.Compare)
	w.mu.Unlock()
	var out []error
	for _, ref := range refs {
		if err := w.problem(ref); err != nil {
			out = append(out, fmt.Errorf("watching %s %s: %w", ref.Kind, ref.Key, err))
		}
	}
	return out
}

// feed makes what follows one thing.
func (w *wanted) feed(ref inventory.Ref, watch *namedWatch) func(ctx context.Context) {
	byName := func(o *metav1.ListOptions) {
		o.FieldSelector = fields.OneTermEqualSelector(metav1.ObjectNameField, ref.Name).String()
	}
	set := func(_ inventory.Key, value *inventory.Secret, at time.Time) { w.set(ref, watch, value, at) }
	switch ref.Kind {
	case inventory.KindLease:
		return w.leaseFeed(ref, watch, byName)
	case inventory.KindConfigMap:
		f := newFeed(watch.health, &corev1.ConfigMap{}, ConfigMapOf, set)
		lw := follow(w.clients.Typed.CoreV1().ConfigMaps(ref.Namespace), watch.health, byName)
		return func(ctx context.Context) { f.run(ctx, lw) }
	default:
	}
	f := newFeed(watch.health, &corev1.Secret{}, SecretOf, set)
	lw := follow(w.clients.Typed.CoreV1().Secrets(ref.Namespace), watch.health, byName)
	return func(ctx context.Context) { f.run(ctx, lw) }
}

// settle waits until each that is wanted was seen, or cannot be.
func (w *wanted) settle(ctx context.Context, limit time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	w.mu.Lock()
	var seen []<-chan struct{}
	for _, watch := range w.watches {
		if watch.health != nil {
			seen = append(seen, watch.health.seen)
		}
	}
	w.mu.Unlock()
	for _, ch := range seen {
		select {
		case <-ch:
		case <-ctx.Done():
			return
		}
	}
}

// problem says why one cannot be read.
func (w *wanted) problem(ref inventory.Ref) error {
	w.mu.Lock()
	watch := w.watches[ref]
	w.mu.Unlock()
	if watch == nil || watch.health == nil {
		return nil
	}
	return watch.health.problem()
}
