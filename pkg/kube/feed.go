package kube

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"github.com/dragoman-mesh/dragoman/pkg/inventory"
)

// feed follows one resource. It is the store of a client-go reflector, and keeps
// nothing but the keys: values go on to the sink as they come.
type feed[V any] struct {
	// Read-only after construction.
	name    string
	example runtime.Object // of what the API server sends
	convert func(raw any) (V, error)
	// put and remove are called from the reflector's goroutine alone.
	put    func(k inventory.Key, v V, at time.Time)
	remove func(k inventory.Key, at time.Time)
	health *health

	// Of the reflector's goroutine only.
	known map[inventory.Key]struct{}
}

// item carries a converted value through client-go, which wants metadata.
type item[V any] struct {
	metav1.ObjectMeta
	value V
}

// run follows until ctx is done.
func (f *feed[V]) run(ctx context.Context, lw cache.ListerWatcher) {
	f.known = make(map[inventory.Key]struct{})
	cache.NewReflectorWithOptions(lw, f.example, f, cache.ReflectorOptions{
		Name:            f.name,
		TypeDescription: f.name,
		Clock:           endingClock{done: ctx.Done()},
		Backoff:         &wait.Backoff{Duration: 400 * time.Millisecond, Cap: 4 * time.Second, Steps: 4, Factor: 2, Jitter: 0.5},
	}).RunWithContext(klog.NewContext(ctx, klog.Logger{})) // health says it all, once
}

// Transformer lets the reflector convert while it gathers what is there at the
// start, so that it need not hold whole objects.
func (f *feed[V]) Transformer() cache.TransformFunc {
	return func(raw any) (any, error) { return f.item(raw) }
}

func (f *feed[V]) item(raw any) (*item[V], error) {
	if it, ok := raw.(*item[V]); ok {
		return it, nil
	}
	m, err := meta.Accessor(raw)
	if err != nil {
		return nil, fmt.Errorf("reading metadata of %s: %w", f.name, err)
	}
	v, err := f.convert(raw)
	if err != nil {
		return nil, fmt.Errorf("reading %s %s/%s: %w", f.name, m.GetNamespace(), m.GetName(), err)
	}
	return &item[V]{metav1.ObjectMeta{Namespace: m.GetNamespace(), Name: m.GetName()}, v}, nil
}

// Add implements cache.ReflectorStore.
func (f *feed[V]) Add(raw any) error { return f.set(raw, time.Now()) }

// Update implements cache.ReflectorStore.
func (f *feed[V]) Update(raw any) error { return f.set(raw, time.Now()) }

func (f *feed[V]) set(raw any, at time.Time) error {
	it, err := f.item(raw)
	if err != nil {
		return err
	}
	k := inventory.Key{Namespace: it.Namespace, Name: it.Name}
	f.known[k] = struct{}{}
	f.put(k, it.value, at)
	return nil
}

// Delete implements cache.ReflectorStore.
func (f *feed[V]) Delete(raw any) error {
	m, err := meta.Accessor(raw)
	if err != nil {
		return fmt.Errorf("reading metadata of %s: %w", f.name, err)
	}
	k := inventory.Key{Namespace: m.GetNamespace(), Name: m.GetName()}
	delete(f.known, k)
	f.remove(k, time.Now())
	return nil
}

// Replace implements cache.ReflectorStore: all that is there now. It is called
// at the start, and after an absence that was too long to catch up with.
func (f *feed[V]) Replace(all []any, _ string) error {
	at := time.Now()
	gone := f.known
	f.known = make(map[inventory.Key]struct{}, len(all))
	for _, raw := range all {
		if err := f.set(raw, at); err != nil {
			return err
		}
	}
	for k := range gone {
		if _, ok := f.known[k]; !ok {
			f.remove(k, at)
		}
	}
	f.health.settled()
	return nil
}

// Resync implements cache.ReflectorStore.
func (*feed[V]) Resync() error { return nil }

// health is how it stands with a feed.
type health struct {
	name   string
	logger *slog.Logger
	// told is called, if it is not nil, when err has changed.
	told func(err error)

	seen chan struct{} // closed once all was there, or why it was not is known

	once sync.Once

	mu  sync.Mutex // guards below
	err error      // why it is not fed at the moment; nil: it is
}

func newHealth(name string, logger *slog.Logger) *health {
	return &health{name: name, logger: logger, seen: make(chan struct{})}
}

// settled ends the waiting for the first sight.
func (h *health) settled() { h.once.Do(func() { close(h.seen) }) }

// outcome notes that of a request, unless it was ended from here.
func (h *health) outcome(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	var request *url.Error
	switch {
	case errors.As(err, &request):
		err = request.Err // its URL has a random part, and says nothing new
	case apierrors.IsForbidden(err):
		err = fmt.Errorf("%w (allow it to the control plane's service account, as manifests/controlplane/rbac.yaml does)", err)
	case apierrors.IsNotFound(err):
		err = fmt.Errorf("%w (is the kind installed? kubectl apply -f manifests/crds)", err)
	}
	h.note(err)
}

// note keeps an error, and logs when it is another than before.
func (h *health) note(err error) {
	h.mu.Lock()
	changed := (err == nil) != (h.err == nil) || err != nil && err.Error() != h.err.Error()
	before := h.err
	h.err = err
	h.mu.Unlock()
	switch {
	case !changed:
		return
	case err != nil && before == nil:
		h.logger.Warn("cannot watch; what is known stays in use", "resource", h.name, "error", err)
	case err == nil:
		h.logger.Info("watching again", "resource", h.name)
	}
	if h.told != nil {
		h.told(err)
	}
}

func (h *health) problem() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.err
}

// lister is the part of a client that a feed needs.
type lister[L runtime.Object] interface {
	List(ctx context.Context, opts metav1.ListOptions) (L, error)
	Watch(ctx context.Context, opts metav1.ListOptions) (watch.Interface, error)
}

// follow makes a reflector's source of a client; narrow limits what it asks for.
func follow[L runtime.Object](c lister[L], h *health, narrow func(*metav1.ListOptions)) *cache.ListWatch {
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			narrow(&o)
			list, err := c.List(ctx, o)
			h.outcome(ctx, err)
			return list, err
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			narrow(&o)
			w, err := c.Watch(ctx, o)
			// A server that cannot stream what is there says so, and is asked to list it.
			if o.SendInitialEvents == nil || !apierrors.IsInvalid(err) {
				h.outcome(ctx, err)
			}
			return w, err
		},
	}
}

// endingClock lets nobody wait beyond the end: a reflector that backs off would.
type endingClock struct {
	clock.RealClock
	done <-chan struct{}
}

// After implements clock.Clock.
func (c endingClock) After(d time.Duration) <-chan time.Time {
	out := make(chan time.Time, 1)
	timer := time.NewTimer(d)
	go func() {
		defer timer.Stop()
		select {
		case at := <-timer.C:
			out <- at
		case <-c.done:
			out <- time.Now()
		}
	}()
	return out
}
