package kube

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/dragoman-mesh/dragoman/pkg/inventory"
	"github.com/dragoman-mesh/dragoman/pkg/kube/v1alpha1"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
)

// settleLimit bounds how long Synced waits for the Secrets that objects name
// once all else is there: one whose watch the API server keeps waiting must not
// keep everybody waiting.
const settleLimit = 10 * time.Second

// notByKubernetes selects the Endpoints objects that have no slices of their own
// accord: Kubernetes labels those that it makes of a Service's selector, which
// it makes slices of as well.
const notByKubernetes = "endpoints.kubernetes.io/managed-by!=endpoint-controller"

// Source fills an inventory from an API server and follows it.
type Source struct {
	// Read-only after construction.
	clients  *Clients
	logger   *slog.Logger
	assembly *assembly
	wanted   *wanted
	board    *board
	synced   chan struct{}

	mu    sync.Mutex // guards below
	feeds map[string]*health
}

// SourceOptions change a Source; the zero value is ready for use.
type SourceOptions struct {
	Logger *slog.Logger // default: slog.Default()
}

// NewSource returns a source that is not running yet.
func NewSource(clients *Clients, o SourceOptions) *Source {
	logger := o.Logger
	if logger == nil {
		logger = slog.Default()
	}
	board, assembly := newBoard(), newAssembly()
	return &Source{
		clients:  clients,
		logger:   logger,
		assembly: assembly,
		wanted:   newWanted(clients, logger, board.announce, assembly.setLease),
		board:    board,
		synced:   make(chan struct{}),
		feeds:    make(map[string]*health),
	}
}

// Synced is closed once all that was there at the start is in the inventory,
// the Secrets that objects name included, as far as they may be read.
func (s *Source) Synced() <-chan struct{} { return s.synced }

// WaitForSync waits for Synced. Its error says what is not there yet, and why.
func (s *Source) WaitForSync(ctx context.Context) error {
	select {
	case <-s.synced:
		return nil
	case <-ctx.Done():
		return errors.Join(fmt.Errorf("waiting for the API server: %w", ctx.Err()), s.Problem())
	}
}

// Problem says what cannot be followed at the moment, and why, named Secrets and
// ConfigMaps included; nil: nothing.
func (s *Source) Problem() error {
	return errors.Join(append(s.problems(), s.wanted.problems()...)...)
}

// Problems are Problem in lines, for people.
func (s *Source) Problems() []string {
	var out []string
	for _, err := range append(s.problems(), s.wanted.problems()...) {
		out = append(out, err.Error())
	}
	return out
}

func (s *Source) problems() []error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(s.feeds)) {
		if err := s.feeds[name].problem(); err != nil {
			errs = append(errs, fmt.Errorf("watching %s: %w", name, err))
		}
	}
	return errs
}

// Want makes the source follow Secrets and ConfigMaps on behalf of a thing,
// instead of those that it wanted for it before; nil ends that. What the spec of
// an Ambassador names is followed without a call.
func (s *Source) Want(by inventory.Ref, refs []inventory.Ref) { s.wanted.want(by, refs) }

// WantProblem says why a wanted Secret or ConfigMap cannot be read, as a role
// that is missing; nil: it can, or it does not exist.
func (s *Source) WantProblem(ref inventory.Ref) error { return s.wanted.problem(ref) }

// Run follows until ctx is done, and may be called once. Whatever happens to the
// API server, the inventory keeps what it has.
func (s *Source) Run(ctx context.Context, into *inventory.Store) error {
	var running sync.WaitGroup
	defer running.Wait()
	defer s.wanted.wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.wanted.start(ctx, into)

	var seen []<-chan struct{}
	for _, run := range s.all(into) {
		seen = append(seen, run.health.seen)
		running.Go(func() { run.run(ctx) })
	}
	for _, ch := range seen {
		select {
		case <-ch:
		case <-ctx.Done():
			return nil
		}
	}
	s.assembly.flush(into)
	s.wanted.settle(ctx, settleLimit)
	s.assembly.flush(into) // Leases that objects name
	close(s.synced)
	s.logger.Info("everything that was there is known",
		"services", len(into.Refs(inventory.KindService)), "pods", len(into.Refs(inventory.KindPod)),
		"ambassadors", len(into.Refs(inventory.KindAmbassador)), "adapters", len(into.Refs(inventory.KindAdapter)))
	for {
		select {
		case <-s.assembly.wake:
			s.assembly.flush(into)
		case <-ctx.Done():
			return nil
		}
	}
}

// runner is a feed that is ready to run.
type runner struct {
	health *health
	run    func(ctx context.Context)
}

// all makes the feeds of what is followed as a whole.
func (s *Source) all(into *inventory.Store) []runner {
	c, a := s.clients, s.assembly
	everything := func(*metav1.ListOptions) {}
	byHand := func(o *metav1.ListOptions) { o.LabelSelector = notByKubernetes }
	core := c.Typed.CoreV1()
	metadata := func(resource string) lister[*metav1.PartialObjectMetadataList] {
		return c.Metadata.Resource(corev1.SchemeGroupVersion.WithResource(resource))
	}
	return []runner{
		newRunner(s, "services", core.Services(""), everything, &corev1.Service{}, ServiceOf, a.setService),
		newRunner(s, "endpointslices", c.Typed.DiscoveryV1().EndpointSlices(""), everything, &discoveryv1.EndpointSlice{}, SliceOf, a.setSlice),
		newRunner(s, "endpoints", core.Endpoints(""), byHand, &corev1.Endpoints{}, EndpointsOf, a.setCore), //nolint:staticcheck // see EndpointsOf
		newRunner(s, "pods", core.Pods(""), everything, &corev1.Pod{}, PodOf, a.setPod),
		newRunner(s, "nodes", metadata("nodes"), everything, &metav1.PartialObjectMetadata{}, labelsOnly,
			func(k inventory.Key, labels map[string]string, at time.Time) { a.setNode(k.Name, labels, at) }),
		newRunner(s, "namespaces", metadata("namespaces"), everything, &metav1.PartialObjectMetadata{}, namespaceOnly,
			func(k inventory.Key, n *inventory.Namespace, at time.Time) {
				s.board.setInject(k.Name, n != nil && n.Labels[mesh.InjectLabel] == mesh.InjectEnabled)
				putIfNew(into, inventory.Ref{Kind: inventory.KindNamespace, Key: k}, n, sameNamespace, at)
			}),
		s.objects(inventory.KindAmbassador, into),
		s.objects(inventory.KindAdapter, into),
	}
}

func labelsOnly(m *metav1.PartialObjectMetadata) map[string]string { return m.GetLabels() }

func namespaceOnly(m *metav1.PartialObjectMetadata) *inventory.Namespace { return NamespaceOf(m) }

// newRunner makes a feed of a client, a conversion and a place for the results;
// the zero V says that a thing is gone.
func newRunner[L runtime.Object, O runtime.Object, V any](s *Source, name string, client lister[L],
	narrow func(*metav1.ListOptions), example O, convert func(O) V, set func(inventory.Key, V, time.Time),
) runner {
	h := newHealth(name, s.logger)
	s.mu.Lock()
	s.feeds[name] = h
	s.mu.Unlock()
	f := newFeed(h, example, convert, set)
	return runner{health: h, run: func(ctx context.Context) { f.run(ctx, follow(client, h, narrow)) }}
}

func newFeed[O runtime.Object, V any](h *health, example O, convert func(O) V, set func(inventory.Key, V, time.Time)) *feed[V] {
	return &feed[V]{
		name:    h.name,
		example: example,
		health:  h,
		put:     set,
		remove: func(k inventory.Key, at time.Time) {
			var gone V
			set(k, gone, at)
		},
		convert: func(raw any) (V, error) {
			in, ok := raw.(O)
			if !ok {
				var none V
				return none, fmt.Errorf("the API server sent a %T", raw)
			}
			return convert(in), nil
		},
	}
}

// objects makes the feed of one of the project's own kinds.
func (s *Source) objects(kind inventory.Kind, into *inventory.Store) runner {
	example := &unstructured.Unstructured{}
	example.SetAPIVersion(mesh.APIVersion)
	example.SetKind(kind.String())
	resource := resourceOf(kind)
	return newRunner(s, resource.Resource, s.clients.Dynamic.Resource(resource), func(*metav1.ListOptions) {}, example, newReading,
		func(k inventory.Key, r *reading, at time.Time) {
			s.setObject(into, inventory.Ref{Kind: kind, Key: k}, r, at)
		})
}

// resourceOf is where the API server has the objects of a kind of the project.
func resourceOf(kind inventory.Kind) schema.GroupVersionResource {
	if kind == inventory.KindAdapter {
		return v1alpha1.Adapters()
	}
	return v1alpha1.Ambassadors()
}

// reading is an object as it was read.
type reading struct {
	object *inventory.Object
	status v1alpha1.ObjectStatus
}

func newReading(in *unstructured.Unstructured) *reading {
	return &reading{object: ObjectOf(in), status: statusOf(in)}
}

// setObject puts an object, and has what it names followed. A status alone that
// has changed is no change of the object.
func (s *Source) setObject(into *inventory.Store, ref inventory.Ref, r *reading, at time.Time) {
	if r == nil {
		s.wanted.want(ref, nil)
		s.board.remove(ref)
		into.Delete(ref, at)
		return
	}
	if !sameObject(inventory.Get[*inventory.Object](into, ref), r.object) {
		if r.object.Err == nil {
			// One that is broken is served as it was before, with what that named.
			s.wanted.want(ref, Named(r.object.Object))
		}
		inventory.Put(into, ref, r.object, at)
	}
	s.board.set(ref, r.object.UID, r.status)
}
