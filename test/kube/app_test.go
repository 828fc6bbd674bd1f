package kube

import (
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// world is a Redis with a key that says which one it is. It has an address that
// pods and endpoints may have.
func world(t *testing.T, name string, o ...redistest.Option) (node *redistest.Node, host string) {
	t.Helper()
	host = suite.Addresses(t, 1)[0].String()
	return worldAt(t, name, host, o...), host
}

func worldAt(t *testing.T, name, host string, o ...redistest.Option) *redistest.Node {
	t.Helper()
	n := redistest.Server(t, append([]redistest.Option{redistest.WithAddress(host, 6379)}, o...)...)
	n.Do("SET", "where", name)
	return n
}

// bulk is a Redis reply.
func bulk(s string) string { return fmt.Sprintf("$%d\r\n%s\r\n", len(s), s) }

// app is a client that stays connected and asks where it is all the time. It
// must never get an error.
type app struct {
	t    *testing.T
	stop func()

	mu     sync.Mutex // guards what follows
	last   string
	errors []string
}

const pace = 3 * time.Millisecond

// startApp waits until a port answers, and keeps asking until the test ends.
func startApp(t *testing.T, port int, where string) *app {
	t.Helper()
	redistest.Eventually(t, limit, "the port of the app", func() error {
		conn, err := net.Dial("tcp", local(port))
		if err == nil {
			err = conn.Close()
		}
		return err
	})
	client := redistest.Dial(t, local(port))
	redistest.Eventually(t, limit, "the app to be in "+where, func() error {
		if got := client.Do("GET", "where"); got != bulk(where) {
			return fmt.Errorf("%q", got)
		}
		return nil
	})
	a := &app{t: t}
	end, done := make(chan struct{}), make(chan struct{})
	a.stop = sync.OnceFunc(func() {
		close(end)
		<-done
		if len(a.errors) > 0 {
			t.Errorf("the app got %d errors: %.500q", len(a.errors), a.errors)
		}
	})
	go func() {
		defer close(done)
		tick := time.NewTicker(pace)
		defer tick.Stop()
		for a.ask(client) {
			select {
			case <-end:
				return
			case <-tick.C:
			}
		}
	}()
	t.Cleanup(a.stop)
	return a
}

// ask reports whether there is a connection to ask on.
func (a *app) ask(client *redistest.Client) bool {
	got, err := client.TryDo("GET", "where")
	a.mu.Lock()
	defer a.mu.Unlock()
	a.last = got
	switch {
	case err != nil:
		a.errors = append(a.errors, err.Error())
	case !strings.HasPrefix(got, "$") || got == "$-1\r\n":
		a.errors = append(a.errors, got)
	}
	return err == nil
}

// is waits until the app finds itself somewhere.
func (a *app) is(where string) {
	a.t.Helper()
	redistest.Eventually(a.t, limit, "the app to be in "+where, func() error {
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.last != bulk(where) {
			return fmt.Errorf("it is in %q, and got the errors %q", a.last, a.errors)
		}
		return nil
	})
}

// ambassador is one for redis that the pods of web have. Each environment is
// "name: {...}", the first is the default.
func ambassador(name string, port int, environments ...string) string {
	first, _, _ := strings.Cut(environments[0], ":")
	return fmt.Sprintf(`apiVersion: mesh.dragoman.io/v1alpha1
kind: Ambassador
metadata: {name: %s}
spec:
  selector: {matchLabels: {app: web}}
  protocol: redis
  listen: {port: %d}
  environments:
    %s
  defaultEnvironment: %s
`, name, port, strings.Join(environments, "\n    "), first)
}
