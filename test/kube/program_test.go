package kube

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/kubetest"
	"github.com/dragoman-mesh/dragoman/internal/meshtest"
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
		go meshtest.Checked.Prepare("proxy", "controlplane") // while the API servers start
		defer meshtest.Cleanup()
		return m.Run()
	})))
}

type tests func() int

func (t tests) Run() int { return t() }

func binary(t *testing.T, name string) string {
	t.Helper()
	return meshtest.Checked.Binary(t, name)
}

func local(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// program is a running proxy or control plane.
type program struct {
	*meshtest.Program
	t    *testing.T
	env  []string
	args []string // without the admin server's
}

// run starts one with an admin server, and further variables.
func run(t *testing.T, name string, env, args []string) *program {
	t.Helper()
	admin := local(redistest.Port(t))
	all := append([]string{"env", "DRAGOMAN_LOG_FORMAT=json"}, env...)
	all = append(append(all, binary(t, name)), args...)
	all = append(all, "--admin-address", admin)
	return &program{Program: meshtest.Run(t, limit, name, admin, all...), t: t, env: env, args: args}
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
	other.t, other.Program = t, p.In(t)
	return &plane{&other, p.replica, p.address, p.webhooks}
}

// proxies are those that are connected, by pod.
func (p *plane) proxies() map[string]engine.Proxy {
	found := map[string]engine.Proxy{}
	var list []engine.Proxy
	_, body := p.Get("/proxies")
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
	_, body := p.Get("/metrics")
	for line := range strings.Lines(body) {
		if !strings.HasPrefix(line, name) || meshtest.Holds(line, labels...) != nil {
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
