package scrape_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/dragoman-mesh/dragoman/internal/tooltest"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/families"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/relabel"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/scrape"
)

const patience = time.Minute

// source is one whose answer is a function's.
type source struct {
	gather func(ctx context.Context) ([]*dto.MetricFamily, error)
	closed atomic.Bool
}

func (s *source) Gather(ctx context.Context) ([]*dto.MetricFamily, error) { return s.gather(ctx) }

func (s *source) Close() error {
	s.closed.Store(true)
	return nil
}

func (s *source) Losses() map[string]uint64 { return map[string]uint64{"kernel": 3} }

// prompt is one that is asked in the goroutine of who waits.
type prompt struct{ *source }

func (prompt) Prompt() {}

// value is an exposition with one gauge.
func value(v float64) ([]*dto.MetricFamily, error) {
	b := &families.Builder{}
	b.Gauge("app_value", "", v)
	return b.Done()
}

// runner runs a source that counts how often it was asked.
func runner(t *testing.T, gather func(ctx context.Context, n int64) ([]*dto.MetricFamily, error)) (*scrape.Runner, *source, *atomic.Int64) {
	t.Helper()
	asked := &atomic.Int64{}
	s := &source{gather: func(ctx context.Context) ([]*dto.MetricFamily, error) { return gather(ctx, asked.Add(1)) }}
	return scrape.NewRunner(s, slog.New(slog.DiscardHandler)), s, asked
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func TestTimeout(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]time.Duration{
		"": 9500 * time.Millisecond, "10": 9500 * time.Millisecond, "1": 800 * time.Millisecond, "0.5": 400 * time.Millisecond,
		"2.5": 2 * time.Second, "-1": 9500 * time.Millisecond, "nonsense": 9500 * time.Millisecond, "1e9": 9500 * time.Millisecond, "NaN": 9500 * time.Millisecond,
	} {
		h := http.Header{}
		if header != "" {
			h.Set(scrape.TimeoutHeader, header)
		}
		if got := scrape.Timeout(h); got != want {
			t.Errorf("%q: %v, want %v", header, got, want)
		}
	}
}

// waiter is a context that tells when somebody waits for its end.
type waiter struct {
	context.Context
	waits chan<- struct{}
}

func (w waiter) Done() <-chan struct{} {
	w.waits <- struct{}{}
	return w.Context.Done()
}

// TestMoreTime: who joins a fetch that has less time than itself, and gets nothing of
// it, has the source asked again.
func TestMoreTime(t *testing.T) {
	t.Parallel()
	began := make(chan struct{})
	r, _, asked := runner(t, func(ctx context.Context, n int64) ([]*dto.MetricFamily, error) {
		if n == 1 {
			close(began)
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return value(float64(n))
	})
	hurried, over := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer over()
	var first *scrape.Fetch
	var wg sync.WaitGroup
	wg.Go(func() {
		first = r.Fetch(hurried, 0)
		first.Release()
	})
	<-began
	second := r.Fetch(within(t, patience), 0)
	defer second.Release()
	wg.Wait()
	if first.Err == nil || second.Err != nil || asked.Load() != 2 {
		t.Errorf("the hurried one: %v, the other: %v, asked %d times", first.Err, second.Err, asked.Load())
	}
}

// TestConcurrentScrapesShare: all who ask while the source works get its answer,
// and those who ask later have it asked again.
func TestConcurrentScrapesShare(t *testing.T) {
	t.Parallel()
	began, goOn := make(chan struct{}), make(chan struct{})
	r, _, asked := runner(t, func(_ context.Context, n int64) ([]*dto.MetricFamily, error) {
		if n == 1 {
			close(began)
			<-goOn
		}
		return value(float64(n))
	})
	const scrapers = 10
	got := make(chan float64, scrapers)
	var wg sync.WaitGroup
	waits := make(chan struct{}, 2*scrapers)
	ask := func() {
		f := r.Fetch(waiter{within(t, patience), waits}, 0)
		defer f.Release()
		if f.Err != nil {
			t.Error(f.Err)
			return
		}
		got <- f.Families[0].GetMetric()[0].GetGauge().GetValue()
	}
	wg.Go(ask)
	<-began
	for range scrapers - 1 {
		wg.Go(ask)
	}
	waiting := within(t, 50*time.Millisecond) // one who does not wait so long gets nothing, and disturbs nobody
	if f := r.Fetch(waiting, 0); !errors.Is(f.Err, scrape.ErrLate) {
		t.Errorf("one who is in a hurry: %v", f.Err)
	}
	for range scrapers {
		<-waits
	}
	close(goOn)
	wg.Wait()
	close(got)
	for v := range got {
		if v != 1 {
			t.Errorf("an answer is number %v", v)
		}
	}
	f := r.Fetch(within(t, patience), time.Hour)
	n := asked.Load()
	f.Release()
	if f = r.Fetch(within(t, patience), time.Hour); asked.Load() != n {
		t.Error("what is fresh was asked for again")
	}
	f.Release()
	if f = r.Fetch(within(t, patience), 0); asked.Load() != n+1 {
		t.Error("what is old was given again")
	}
	f.Release()
}

// TestFaults: what a source does wrong is an error of its own.
func TestFaults(t *testing.T) {
	t.Parallel()
	t.Run("a defect", func(t *testing.T) {
		t.Parallel()
		for _, wrap := range []func(*source) *scrape.Runner{
			func(s *source) *scrape.Runner { return scrape.NewRunner(s, slog.New(slog.DiscardHandler)) },
			func(s *source) *scrape.Runner { return scrape.NewRunner(prompt{s}, slog.New(slog.DiscardHandler)) },
		} {
			r := wrap(&source{gather: func(context.Context) ([]*dto.MetricFamily, error) { panic("a defect") }})
			if f := r.Fetch(within(t, patience), 0); f.Err == nil || !strings.Contains(f.Err.Error(), "a defect") {
				t.Errorf("got %v", f.Err)
			}
		}
	})
	t.Run("one that does not obey", func(t *testing.T) {
		t.Parallel()
		goOn := make(chan struct{})
		r, s, asked := runner(t, func(context.Context, int64) ([]*dto.MetricFamily, error) {
			<-goOn
			return value(1)
		})
		ctx := within(t, time.Millisecond)
		if f := r.Fetch(ctx, 0); !errors.Is(f.Err, scrape.ErrLate) {
			t.Errorf("got %v", f.Err)
		}
		<-ctx.Done()
		if f := r.Fetch(within(t, patience), 0); !errors.Is(f.Err, scrape.ErrBusy) || asked.Load() != 1 {
			t.Errorf("while it works: %v, asked %d times", f.Err, asked.Load())
		}
		close(goOn)
		if err := r.Close(); err != nil || !s.closed.Load() {
			t.Errorf("closed: %v, %v", s.closed.Load(), err)
		}
		if f := r.Fetch(within(t, patience), 0); !errors.Is(f.Err, scrape.ErrClosed) {
			t.Errorf("after that: %v", f.Err)
		}
	})
	t.Run("one who goes away", func(t *testing.T) {
		t.Parallel()
		began, goOn, waits := make(chan struct{}), make(chan struct{}), make(chan struct{}, 1)
		r, _, asked := runner(t, func(ctx context.Context, _ int64) ([]*dto.MetricFamily, error) {
			close(began)
			<-goOn
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			return value(1)
		})
		first, leave := context.WithCancel(t.Context())
		gone := make(chan error, 1)
		go func() { gone <- r.Fetch(first, 0).Err }()
		<-began
		leave()
		if err := <-gone; !errors.Is(err, context.Canceled) {
			t.Errorf("who has gone gets %v", err)
		}
		other := make(chan error, 1)
		go func() { other <- r.Fetch(waiter{within(t, patience), waits}, 0).Err }()
		<-waits
		close(goOn)
		if err := <-other; err != nil || asked.Load() != 1 {
			t.Errorf("the other gets %v, asked %d times", err, asked.Load())
		}
	})
}

// scraper is one of a source, with the proxy's own metrics.
func scraper(t *testing.T, r *scrape.Runner, proxy prometheus.Gatherer) *scrape.Scraper {
	t.Helper()
	none, err := relabel.New(relabel.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return scrape.New(scrape.Options{Parts: []scrape.Part{{Name: "app", Runner: r, Relabeler: none, MaxSeries: 2}}, Proxy: proxy})
}

// TestGather: what sources give, what is told of them and what the process has of
// its own is one exposition, in order.
func TestGather(t *testing.T) {
	t.Parallel()
	r, _, _ := runner(t, func(_ context.Context, n int64) ([]*dto.MetricFamily, error) {
		b := &families.Builder{}
		b.Gauge("adapter_source_up", "A name that is taken.", 7)
		for _, l := range []string{"1", "2", "3"} {
			b.Gauge("zz", "", float64(n), "l", l)
		}
		out, _ := b.Done()
		return out, errors.New("a part is missing")
	})
	proxy := prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
		b := &families.Builder{}
		b.Gauge("go_goroutines", "", 5)
		b.Gauge("dragoman_up", "", 1)
		return b.Done()
	})
	list, release := scraper(t, r, proxy).Gather(within(t, patience))
	defer release()
	var got []string
	for line := range strings.Lines(tooltest.Text(t, list)) {
		if !strings.HasPrefix(line, "#") && !strings.Contains(line, "duration") {
			got = append(got, strings.TrimSpace(line))
		}
	}
	want := []string{
		`adapter_source_dropped_total{reason="kernel",source="app"} 3`, `adapter_source_dropped_total{reason="series_limit",source="app"} 2`,
		`adapter_source_series{source="app"} 2`, `adapter_source_up{source="app"} 0`, "dragoman_go_goroutines 5", "dragoman_up 1", `zz{l="1"} 1`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if !slices.IsSortedFunc(list, func(a, b *dto.MetricFamily) int { return strings.Compare(a.GetName(), b.GetName()) }) {
		t.Error("families are not in order")
	}
}

// TestReadersAreWaitedFor: a source is not asked again while somebody reads what
// it gave, since it may give the same objects again.
func TestReadersAreWaitedFor(t *testing.T) {
	t.Parallel()
	for _, inline := range []bool{false, true} {
		var reading atomic.Bool
		s := &source{gather: func(context.Context) ([]*dto.MetricFamily, error) {
			if reading.Load() {
				t.Error("it was asked while its families are read")
			}
			return value(1)
		}}
		r := scrape.NewRunner(s, slog.New(slog.DiscardHandler))
		if inline {
			r = scrape.NewRunner(prompt{s}, slog.New(slog.DiscardHandler))
		}
		f := r.Fetch(within(t, patience), 0)
		reading.Store(true)
		second := make(chan error, 1)
		go func() {
			f := r.Fetch(within(t, patience), 0)
			f.Release()
			second <- f.Err
		}()
		_ = f.Families[0].String()
		reading.Store(false)
		f.Release()
		if err := <-second; err != nil {
			t.Error(err)
		}
	}
}
