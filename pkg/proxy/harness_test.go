package proxy_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/filetest"
	"github.com/dragoman-mesh/dragoman/internal/nettest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/proxy"
)

const limit = time.Minute

// running is a proxy in this process, with a file that it follows.
type running struct {
	*proxy.Proxy
	t      *testing.T
	file   string
	admin  string
	log    *lockedBuffer
	cancel context.CancelFunc
	done   chan struct{}
	err    error // of Run, once done is closed
}

// lockedBuffer is a log that can be read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// launch runs a proxy on a document, with changes to its options.
func launch(t *testing.T, document string, change ...func(*proxy.Options)) *running {
	t.Helper()
	r := &running{
		t: t, file: filepath.Join(t.TempDir(), "mesh.yaml"), log: &lockedBuffer{}, done: make(chan struct{}),
		admin: "127.0.0.1:" + strconv.Itoa(redistest.Port(t)),
	}
	r.write(document)
	o := proxy.Options{
		Source:       proxy.NewFiles([]string{r.file}),
		AdminAddress: r.admin,
		DrainTimeout: 2 * time.Second,
		WarmTimeout:  limit / 2,
		Loops:        1,
		Log:          slog.New(slog.NewTextHandler(r.log, nil)),
	}
	for _, c := range change {
		c(&o)
	}
	var err error
	if r.Proxy, err = proxy.New(o); err != nil {
		t.Fatal(err)
	}
	var ctx context.Context
	ctx, r.cancel = context.WithCancel(context.Background())
	go func() {
		defer close(r.done)
		r.err = r.Run(ctx)
	}()
	t.Cleanup(func() { r.stop() })
	return r
}

func start(t *testing.T, document string, change ...func(*proxy.Options)) *running {
	t.Helper()
	r := launch(t, document, change...)
	r.eventually("the proxy to be ready", func() error {
		select {
		case <-r.done:
			t.Fatalf("the proxy has ended: %v\n%s", r.err, r.log)
		default:
		}
		if ok, reason := r.Ready(); !ok {
			return errors.New(reason)
		}
		return nil
	})
	return r
}

func (r *running) stop() error {
	r.cancel()
	select {
	case <-r.done:
	case <-time.After(limit):
		r.t.Fatalf("the proxy does not end\n%s", r.log)
	}
	return r.err
}

func (r *running) eventually(what string, check func() error) {
	r.t.Helper()
	redistest.Eventually(r.t, limit, what, check)
}

// write replaces the document as an editor does.
func (r *running) write(document string) {
	r.t.Helper()
	filetest.Put(r.t, r.file, document)
}

func (r *running) get(path string) string {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, "http://"+r.admin+path, http.NoBody)
	if err != nil {
		r.t.Fatal(err)
	}
	resp, err := nettest.Client.Do(req)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// shows waits until a page has a text.
func (r *running) shows(path, want string) {
	r.t.Helper()
	r.eventually(path+" to show "+want, func() error {
		if page := r.get(path); !strings.Contains(page, want) {
			return fmt.Errorf("%s\n%s", page, r.log)
		}
		return nil
	})
}

// ambassador is a document for one Redis, or any fields of spec.
func ambassador(name string, port int, environments string, spec ...string) string {
	return fmt.Sprintf(`apiVersion: mesh.dragoman.io/v1alpha1
kind: Ambassador
metadata: {name: %s}
spec:
  protocol: redis
  listen: {port: %d}
  environments: {%s}
  %s
---
`, name, port, environments, strings.Join(spec, "\n  "))
}

func one(addr string) string { return fmt.Sprintf("test: {address: %q}", addr) }

const byDefault = "defaultEnvironment: test"

func local(port int) string { return "127.0.0.1:" + strconv.Itoa(port) }
