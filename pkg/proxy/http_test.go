package proxy_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/proxy"
	"github.com/dragoman-mesh/dragoman/pkg/proxy/environment"
)

// site is a server that says its name; of /slow, when it is let.
func site(t *testing.T, name string, entered, leave chan struct{}) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			close(entered)
			<-leave
		}
		fmt.Fprint(w, name)
	}))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func httpAmbassador(port int, environments string, spec ...string) string {
	return strings.Replace(ambassador("web", port, environments, spec...), "protocol: redis", "protocol: http", 1)
}

// line is one connection to the proxy that is kept.
type line struct {
	t  *testing.T
	c  net.Conn
	in *bufio.Reader
}

func open(t *testing.T, port int) *line {
	t.Helper()
	c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", local(port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(2 * limit)); err != nil {
		t.Fatal(err)
	}
	return &line{t, c, bufio.NewReader(c)}
}

func (l *line) send(path string) {
	if _, err := fmt.Fprintf(l.c, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path); err != nil {
		l.t.Error(err)
	}
}

func (l *line) receive() (string, error) {
	resp, err := http.ReadResponse(l.in, nil)
	if err != nil {
		return "", err
	}
	body, err := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusOK {
		return resp.Status, err
	}
	return string(body), err
}

func (l *line) ask(path string) (string, error) {
	l.send(path)
	return l.receive()
}

// TestHTTPEnvironment changes the environment under open connections: none of
// them ends, no request is lost, and the one under way ends where it began.
func TestHTTPEnvironment(t *testing.T) {
	t.Parallel()
	entered, leave := make(chan struct{}), make(chan struct{})
	dev, prod := site(t, "dev", entered, leave), site(t, "prod", nil, nil)
	labels := filepath.Join(t.TempDir(), "labels")
	label := func(env string) { put(t, labels, "mesh.dragoman.io/environment=\""+env+"\"\n") }
	label("dev")
	port := redistest.Port(t)
	r := start(t, httpAmbassador(port, fmt.Sprintf("dev: {address: %q}, prod: {address: %q}", dev, prod), "drainDeadline: 1m"),
		func(o *proxy.Options) { o.Detector = environment.Detector{LabelsFile: labels} })
	kept, slow := open(t, port), open(t, port)
	if got, err := kept.ask("/"); got != "dev" || err != nil {
		t.Fatalf("%q, %v", got, err)
	}
	slow.send("/slow")
	<-entered
	var count atomic.Int64
	stop := make(chan struct{})
	var load sync.WaitGroup
	for range 3 {
		l := open(t, port)
		load.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if got, err := l.ask("/"); err != nil || got != "dev" && got != "prod" {
					t.Errorf("under load: %q, %v", got, err)
					return
				}
				count.Add(1)
			}
		})
	}
	label("prod")
	r.eventually("the open connection to lead to prod", func() error {
		got, err := kept.ask("/")
		if err != nil {
			t.Fatal(err)
		}
		if got != "prod" {
			return errors.New(got)
		}
		return nil
	})
	close(leave)
	if got, err := slow.receive(); got != "dev" || err != nil {
		t.Errorf("the request under way: %q, %v", got, err)
	}
	if got, err := slow.ask("/"); got != "prod" || err != nil {
		t.Errorf("after it: %q, %v", got, err)
	}
	close(stop)
	load.Wait()
	if count.Load() == 0 {
		t.Error("no request while the environment changed")
	}
}

// TestRoutesOfAnother takes routes from a foreign control plane. Other routes
// are felt by the next request, and by nothing else.
func TestRoutesOfAnother(t *testing.T) {
	t.Parallel()
	entered, leave := make(chan struct{}), make(chan struct{})
	addr := site(t, "there", entered, leave)
	port := redistest.Port(t)
	f := startForeign(t)
	m := translated(t, httpAmbassador(port, one(addr), "http: {routes: [{prefix: /no, status: 403}]}"), "test")
	f.publish(&m.Set)
	r := launch(t, "", f.options())
	l, slow := open2(t, r, port), open2(t, r, port)
	if got, err := l.ask("/"); got != "there" || err != nil {
		t.Fatalf("%q, %v", got, err)
	}
	if got, err := l.ask("/no"); got != "403 Forbidden" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	slow.send("/slow")
	<-entered
	m.Routes[0].VirtualHosts[0].Routes[0].Action = &routev3.Route_DirectResponse{DirectResponse: &routev3.DirectResponseAction{Status: 410}}
	f.publish(&m.Set)
	r.eventually("the routes to change", func() error {
		got, err := l.ask("/no")
		if err != nil {
			t.Fatal(err)
		}
		if got != "410 Gone" {
			return errors.New(got)
		}
		return nil
	})
	close(leave)
	if got, err := slow.receive(); got != "there" || err != nil {
		t.Errorf("the request under way: %q, %v", got, err)
	}
	if n := strings.Count(r.log.String(), "msg=listening"); n != 1 {
		t.Errorf("the listener was built %d times:\n%s", n, r.log)
	}
	m.Routes[0].VirtualHosts[0].Routes[0].Action = &routev3.Route_Route{Route: &routev3.RouteAction{
		ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: "nowhere"},
	}}
	f.publish(&m.Set)
	r.eventually("a cluster that is not there to be reported", func() error {
		if !strings.Contains(r.get("/config_dump"), "nowhere") {
			return errors.New("not yet")
		}
		return nil
	})
	if got, err := l.ask("/no"); got != "410 Gone" || err != nil {
		t.Errorf("with routes that cannot be: %q, %v", got, err)
	}
}

// open2 is open for a proxy that may not listen yet.
func open2(t *testing.T, r *running, port int) *line {
	t.Helper()
	r.eventually("the listener to be there", func() error {
		c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", local(port))
		if err != nil {
			return err
		}
		return c.Close()
	})
	return open(t, port)
}
