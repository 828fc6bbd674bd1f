package kube

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/kubetest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/controlplane/engine"
)

// limit is generous on purpose: the tests run beside every other package's on
// few cores, and the programs under the race detector.
const limit = 90 * time.Second

var suite kubetest.Suite

func TestMain(m *testing.M) {
	flag.Parse()
	// The tests wait for others nearly all the time.
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		_ = f.Value.Set("8") // a number
	}
	os.Exit(suite.Main(tests(func() int {
		go built.make() // while the API servers start
		defer built.remove()
		return m.Run()
	})))
}

type tests func() int

func (t tests) Run() int { return t() }

// programs are those under test, built once for the whole test binary.
type programs struct {
	once sync.Once
	dir  string
	err  error
}

var built programs

func (p *programs) make() {
	p.once.Do(func() {
		if p.dir, p.err = os.MkdirTemp("", "kube"); p.err != nil {
			return
		}
		cmd := exec.Command("go", "build", "-race", "-o", p.dir, "./cmd/proxy", "./cmd/controlplane")
		cmd.Dir = filepath.Join("..", "..")
		if out, err := cmd.CombinedOutput(); err != nil {
			p.err = fmt.Errorf("%v: %w\n%s", cmd, err, out)
		}
	})
}

func (p *programs) remove() {
	p.make() // it may be on its way
	_ = os.RemoveAll(p.dir)
}

func binary(t *testing.T, name string) string {
	t.Helper()
	built.make()
	if built.err != nil {
		t.Fatal(built.err)
	}
	return filepath.Join(built.dir, name)
}

func local(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// program is a running proxy or control plane.
type program struct {
	*redistest.Process
	t     *testing.T
	name  string
	admin string
	env   []string
	args  []string // without the admin server's
}

// run starts one with an admin server, and further variables.
func run(t *testing.T, name string, env, args []string) *program {
	t.Helper()
	admin := local(redistest.Port(t))
	all := append([]string{"DRAGOMAN_LOG_FORMAT=json"}, env...)
	all = append(append(all, binary(t, name)), args...)
	all = append(all, "--admin-address", admin)
	p := &program{Process: redistest.Run(t, "env", all...), t: t, name: name, admin: admin, env: env, args: args}
	t.Cleanup(p.stop)
	return p
}

// stop tells the program to end, which it has to do well, unless it is gone.
func (p *program) stop() {
	p.t.Helper()
	select {
	case <-p.Done():
	default:
		if err := p.Signal(syscall.SIGINT); err != nil && !errors.Is(err, os.ErrProcessDone) {
			p.t.Errorf("stopping the %s: %v", p.name, err)
		}
		select {
		case <-p.Done():
			if code := p.ExitCode(); code != 0 {
				p.t.Errorf("exit code of the %s: %d", p.name, code)
			}
		case <-time.After(limit):
			p.t.Errorf("the %s does not end", p.name)
		}
	}
	if bytes.Contains(p.Output(), []byte("WARNING: DATA RACE")) {
		p.t.Errorf("data race in the %s:\n%s", p.name, p.Output())
	}
}

// get asks the admin server.
func (p *program) get(path string) (int, string) {
	return get(http.DefaultClient, "http://"+p.admin+path, "")
}

func get(client *http.Client, url, token string) (int, string) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return 0, err.Error()
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(body)
}

// shows waits until an admin page has all of some texts.
func (p *program) shows(path string, texts ...string) {
	p.t.Helper()
	p.eventually(path, func() error {
		_, body := p.get(path)
		return holds(body, texts...)
	})
}

// logs waits until the program has logged all of some texts.
func (p *program) logs(texts ...string) {
	p.t.Helper()
	p.eventually("the log", func() error { return holds(string(p.Output()), texts...) })
}

func holds(body string, texts ...string) error {
	for _, text := range texts {
		if !strings.Contains(body, text) {
			return fmt.Errorf("no %q in\n%s", text, body)
		}
	}
	return nil
}

// eventually is redistest's, for as long as the program runs.
func (p *program) eventually(what string, check func() error) {
	p.t.Helper()
	redistest.Eventually(p.t, limit, what, func() error {
		select {
		case <-p.Done():
			p.t.Fatalf("the %s ended with exit code %d:\n%s", p.name, p.ExitCode(), p.Output())
		default:
		}
		return check()
	})
}

// ready waits for /ready, whose body has to have a text.
func (p *program) ready(text string) {
	p.t.Helper()
	p.eventually("the "+p.name+" to be ready", func() error {
		if code, body := p.get("/ready"); code != http.StatusOK || !strings.Contains(body, text) {
			return fmt.Errorf("%d %s", code, body)
		}
		return nil
	})
}

// says runs a command of a program to its end.
func says(t *testing.T, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	out, err := exec.CommandContext(ctx, binary(t, name), args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// plane is a replica of the control plane.
type plane struct {
	*program
	replica, address string
	webhooks         string // host that the API server asks
}

// in is a replica for another test, which it may fail.
func (p *plane) in(t *testing.T) *plane {
	other := *p.program
	other.t = t
	return &plane{&other, p.replica, p.address, p.webhooks}
}

// proxies are those that are connected, by pod.
func (p *plane) proxies() map[string]engine.Proxy {
	found := map[string]engine.Proxy{}
	var list []engine.Proxy
	_, body := p.get("/proxies")
	if err := json.Unmarshal([]byte(body), &list); err != nil {
		return found
	}
	for _, one := range list {
		found[one.Identity] = one
	}
	return found
}

// counter is the sum of a metric's samples that have some labels.
func (p *program) counter(name string, labels ...string) (sum float64) {
	p.t.Helper()
	_, body := p.get("/metrics")
	for line := range strings.Lines(body) {
		if !strings.HasPrefix(line, name) || holds(line, labels...) != nil {
			continue
		}
		var value float64
		if _, err := fmt.Sscan(line[strings.LastIndexByte(line, ' ')+1:], &value); err != nil {
			p.t.Fatalf("%s: %v", line, err)
		}
		sum += value
	}
	return sum
}
