package bodies_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/nettest"
	"github.com/dragoman-mesh/dragoman/pkg/bodies"
)

// TestAccounts: what two requests hold together stays within the budget, and all of it is there again when both have ended.
func TestAccounts(t *testing.T) {
	t.Parallel()
	b := bodies.NewBudget(100)
	one, two := b.Open(), b.Open()
	head, body, other := one.Share(), one.Share(), two.Share()
	var none bodies.Share
	steps := []struct {
		what  string
		share *bodies.Share
		n     int
		want  bool
	}{
		{"a part", &head, 30, true},
		{"another of the same request", &body, 50, true},
		{"more than is left", &other, 21, false},
		{"all that is left", &other, 20, true},
		{"more of what is held", &body, 51, false},
		{"less of what is held", &body, 10, true},
		{"what that has given back", &other, 60, true},
		{"nobody's", &none, 1000, true},
	}
	for _, s := range steps {
		if got := s.share.Set(s.n); got != s.want {
			t.Errorf("%s: %v, want %v", s.what, got, s.want)
		}
	}
	one.Close()
	if head.Set(31) {
		t.Error("a request that has ended takes more")
	}
	two.Close()
	two.Close() // once counts
	if !b.Take(100) || b.Take(1) {
		t.Error("the budget is not what it was")
	}
}

// TestTurns: only so many large bodies are converted at once; small ones do not wait for them, and nobody waits longer than its request lasts.
func TestTurns(t *testing.T) {
	t.Parallel()
	const large = 64<<10 + 1
	b := bodies.NewBudget(0)
	var ends []func()
	for range 2 * runtime.GOMAXPROCS(0) {
		end, ok := b.Turn(t.Context(), large)
		if !ok {
			t.Fatal("a turn is refused that is free")
		}
		ends = append(ends, end)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, ok := b.Turn(gone, large); ok {
		t.Error("one turn too many")
	}
	if end, ok := b.Turn(gone, large-1); !ok {
		t.Error("a small body waits")
	} else {
		end()
	}
	ends[0]()
	if _, ok := b.Turn(t.Context(), large); !ok {
		t.Error("a turn that has ended is not given on")
	}
}

// TestDeadline: a client that sends a little all the time, or nothing more, is not waited for longer than it has; one that has sent all is not concerned.
func TestDeadline(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		limit time.Duration
		send  func(ctx context.Context, w *io.PipeWriter)
		want  error
	}{
		"a little all the time": {20 * time.Millisecond, func(ctx context.Context, w *io.PipeWriter) {
			for ctx.Err() == nil {
				if _, err := w.Write([]byte("x")); err != nil {
					return
				}
			}
		}, os.ErrDeadlineExceeded},
		"nothing more": {20 * time.Millisecond, func(ctx context.Context, w *io.PipeWriter) {
			_, _ = w.Write([]byte("x"))
			<-ctx.Done()
		}, os.ErrDeadlineExceeded},
		"all":                  {time.Minute, func(_ context.Context, w *io.PipeWriter) { w.Close() }, nil},
		"all, without a limit": {0, func(_ context.Context, w *io.PipeWriter) { w.Close() }, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ended := make(chan error, 1)
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				d := bodies.NewDeadline(w, tt.limit)
				_, err := io.Copy(io.Discard, d.Reader(r.Body))
				d.Stop()
				ended <- err
			}))
			defer server.Close()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			body, w := io.Pipe()
			defer body.Close()
			go tt.send(ctx, w)
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL, body)
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				if resp, err := nettest.Client.Do(req); err == nil {
					resp.Body.Close()
				}
			}()
			if err := <-ended; !errors.Is(err, tt.want) {
				t.Errorf("reading ended with %v, want %v", err, tt.want)
			}
		})
	}
}
