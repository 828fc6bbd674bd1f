package drain_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/pkg/filters/http/drain"
)

// calls notes for which connections a function was called.
type calls []string

func (c *calls) note(conn string) { *c = append(*c, conn) }

func (c *calls) sorted() []string { return slices.Sorted(slices.Values(*c)) }

// shutDown shuts a set down on a goroutine, and returns once it waits for its
// connections, of which there must be some.
func shutDown(ctx context.Context, t *testing.T, s *drain.Set[string], asked, ended *calls) <-chan error {
	t.Helper()
	result := make(chan error, 1)
	waits := make(chan struct{}, s.Len())
	go func() {
		result <- s.Shutdown(ctx, func(c string) {
			asked.note(c)
			waits <- struct{}{}
		}, ended.note)
	}()
	for range cap(waits) {
		<-waits
	}
	return result
}

func TestShutdownWaitsForTheLastConnection(t *testing.T) {
	t.Parallel()
	var (
		s            drain.Set[string]
		asked, ended calls
	)
	for _, c := range []string{"a", "b"} {
		if !s.Add(c) {
			t.Fatalf("%s was refused before the shutdown", c)
		}
	}
	result := shutDown(t.Context(), t, &s, &asked, &ended)
	s.Remove("a")
	s.Remove("a")
	if s.Add("c") || !s.Draining() {
		t.Error("a connection was taken in after the shutdown had begun")
	}
	select {
	case err := <-result:
		t.Fatalf("it returned (%v) while a connection was open", err)
	default:
	}
	s.Remove("b")
	if err := <-result; err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"a", "b"}, asked.sorted()); diff != "" {
		t.Errorf("asked to end (-want +got):\n%s", diff)
	}
	if len(ended) > 0 {
		t.Errorf("ended by force: %v", ended)
	}
}

func TestShutdownEndsWhatIsLeftAtTheDeadline(t *testing.T) {
	t.Parallel()
	var (
		s            drain.Set[string]
		asked, ended calls
	)
	s.Add("prompt")
	s.Add("slow")
	ctx, cancel := context.WithCancel(t.Context())
	result := shutDown(ctx, t, &s, &asked, &ended)
	s.Remove("prompt")
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that the context is done", err)
	}
	if diff := cmp.Diff(calls{"slow"}, ended); diff != "" {
		t.Errorf("ended by force (-want +got):\n%s", diff)
	}
}

func TestShutdownOfNothing(t *testing.T) {
	t.Parallel()
	var s drain.Set[string]
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	none := func(c string) { t.Errorf("called for %q", c) }
	if err := s.Shutdown(ctx, none, none); err != nil {
		t.Error(err)
	}
}

func TestTwoShutdownsWaitForTheSame(t *testing.T) {
	t.Parallel()
	var (
		s            drain.Set[string]
		asked, ended calls
	)
	s.Add("a")
	first := shutDown(t.Context(), t, &s, &asked, &ended)
	second := shutDown(t.Context(), t, &s, &asked, &ended)
	s.Remove("a")
	if err := errors.Join(<-first, <-second); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(calls{"a", "a"}, asked); diff != "" {
		t.Errorf("asked to end (-want +got):\n%s", diff)
	}
}

func TestCloseEndsAll(t *testing.T) {
	t.Parallel()
	var (
		s     drain.Set[string]
		seen  calls
		ended calls
	)
	s.Add("a")
	s.Add("b")
	s.Each(seen.note)
	s.Close(ended.note)
	if diff := cmp.Diff(seen.sorted(), ended.sorted()); diff != "" || s.Len() != 2 {
		t.Errorf("of %d ended (-open +ended):\n%s", s.Len(), diff)
	}
	if s.Add("c") {
		t.Error("a connection was taken in after the close")
	}
}

func TestWaitRefusesNobody(t *testing.T) {
	t.Parallel()
	var s drain.Set[string]
	if err := s.Wait(t.Context()); err != nil {
		t.Errorf("for nothing: %v", err)
	}
	s.Add("a")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Wait(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that the context is done", err)
	}
	if !s.Add("b") || s.Draining() {
		t.Error("a wait alone has the set refuse what comes")
	}
	s.Remove("a")
	s.Remove("b")
	if err := s.Wait(t.Context()); err != nil {
		t.Error(err)
	}
}
