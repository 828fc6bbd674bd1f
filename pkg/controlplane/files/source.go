package files

import (
	"context"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/controlplane/trust"
	"github.com/dragoman-mesh/dragoman/pkg/inventory"
	"github.com/dragoman-mesh/dragoman/pkg/proxy/watch"
)

// Options of a Source.
type Options struct {
	// Paths are files and folders with documents.
	Paths []string
	// NodesFile describes proxies outside Kubernetes; "": there are none.
	NodesFile string
	// OnNodes is told of the nodes, at the start and after each change.
	OnNodes func(*trust.Nodes)
	Log     *slog.Logger
	// Watch are for tests; the zero value is what a program wants.
	Watch watch.Options
}

// Source fills an inventory from files and follows their changes.
type Source struct {
	opts   Options
	synced chan struct{}
	kick   chan struct{}

	mu sync.Mutex
	// mu guards below
	problems []string // of the last look
	at       time.Time

	// Run's goroutine only
	current map[inventory.Ref]any
}

// New returns a source that has not read anything yet.
func New(o Options) *Source {
	if o.OnNodes == nil {
		o.OnNodes = func(*trust.Nodes) {}
	}
	return &Source{opts: o, synced: make(chan struct{}), kick: make(chan struct{}, 1), current: map[inventory.Ref]any{}}
}

// Synced is closed when the documents that are there at the start have been
// read.
func (s *Source) Synced() <-chan struct{} { return s.synced }

// Reload looks at all files again.
func (s *Source) Reload() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// Problems are the errors of the last look, none if it was taken.
func (s *Source) Problems() (errs []string, since time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.problems), s.at
}

// Run follows until ctx is done. Documents that are wrong at the start are an
// error; later they leave everything as it is.
func (s *Source) Run(ctx context.Context, into *inventory.Store) error {
	paths := s.opts.Paths
	if s.opts.NodesFile != "" {
		paths = append(slices.Clone(paths), s.opts.NodesFile)
	}
	// Made before the first look, so that a change between the two is seen.
	changes := watch.New(paths, s.opts.Watch, s.Reload)
	if err := s.load(into, time.Now()); err != nil {
		return err
	}
	close(s.synced)

	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	running.Go(func() { changes.Run(ctx) })
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.kick:
		}
		if err := s.load(into, time.Now()); err != nil {
			s.opts.Log.Error("documents refused, all stays as it was", "errors", strings.Split(err.Error(), "\n"))
		}
	}
}

func (s *Source) load(into *inventory.Store, at time.Time) error {
	docs, err := Load(s.opts.Paths, s.opts.NodesFile)
	s.note(err, at)
	if err != nil {
		return err
	}
	n := s.put(into, docs, at)
	s.opts.OnNodes(docs.Nodes)
	s.opts.Log.Info("documents read", "things", docs.Count(), "changed", n)
	return nil
}

func (s *Source) note(err error, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.problems, s.at = nil, at
	if err != nil {
		s.problems = strings.Split(err.Error(), "\n")
	}
}

// change is what happened to a thing, and when.
type change struct {
	generation int64 // of an object
	at         time.Time
}

// put makes the documents the inventory's state, and counts what has changed.
func (s *Source) put(into *inventory.Store, docs *Documents, at time.Time) int {
	changed := 0
	for ref, thing := range docs.things {
		old, was := s.current[ref]
		generation := int64(1)
		if o, ok := old.(*inventory.Object); ok {
			generation = o.Generation
		}
		if was && same(old, thing) {
			docs.things[ref] = old
			continue
		}
		if was {
			generation++
		}
		put(into, ref, thing, change{generation, at})
		changed++
	}
	for ref := range s.current {
		if _, ok := docs.things[ref]; !ok {
			into.Delete(ref, at)
			changed++
		}
	}
	s.current = docs.things
	return changed
}

// same reports whether a thing says the same as before. A mesh object that has
// only moved within its file is not the same: errors name its lines.
func same(a, b any) bool {
	if x, ok := a.(*inventory.Object); ok {
		y, ok := b.(*inventory.Object)
		return ok && reflect.DeepEqual(x.Object, y.Object)
	}
	return reflect.DeepEqual(a, b)
}

func put(into *inventory.Store, ref inventory.Ref, thing any, c change) {
	switch v := thing.(type) {
	case *inventory.Object:
		if c.generation > 0 {
			v.Generation = c.generation
		}
		inventory.Put(into, ref, v, c.at)
	case *inventory.Service:
		inventory.Put(into, ref, v, c.at)
	case *inventory.Secret:
		inventory.Put(into, ref, v, c.at)
	case *inventory.Pod:
		inventory.Put(into, ref, v, c.at)
	case *inventory.Namespace:
		inventory.Put(into, ref, v, c.at)
	}
}
