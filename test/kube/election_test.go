package kube

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/dragoman-mesh/dragoman/internal/electiontest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/election"
)

// electorRights are what a candidate's account needs, and no more.
const electorRights = `apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: elector}
rules: [{apiGroups: [coordination.k8s.io], resources: [leases], verbs: [get, create, update]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: elector}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: elector}
subjects: [{kind: ServiceAccount, name: elector}]
`

// TestLeaderElection: three pods choose one. It is killed, another is frozen and
// comes back, the next is cut off from the API server, the last is told to end:
// each time another leads, and never do two claim the same term, or one an old
// term after a newer one was claimed.
func TestLeaderElection(t *testing.T) {
	t.Parallel()
	api := suite.Server(t)
	ns := api.Namespace(t)
	account := api.AsServiceAccount(t, ns, "elector")
	api.Apply(t, ns, electorRights)
	var candidates []*candidate
	for i := range 3 {
		way := newWay(t, api.Config().Host)
		config := rest.CopyConfig(account)
		config.Host = "https://" + way.address
		candidates = append(candidates, startCandidate(t, fmt.Sprintf("web-%d", i), ns, api.Kubeconfig(t, config), way))
	}
	watch := electiontest.NewWatch(t, 5*time.Millisecond, candidates)
	defer watch.Stop()
	leader := func(among []*candidate, former *candidate) *candidate {
		return electiontest.Leader(t, limit, among, former)
	}
	follow := func(among []*candidate, want *candidate) {
		if got := electiontest.Agree(t, limit, among); got != want {
			t.Errorf("they follow %s, want %s", got.id, want.id)
		}
	}

	first := leader(candidates, nil)
	first.Kill()
	rest := others(candidates, first)
	second := leader(rest, first)
	second.Freeze()
	third := leader(others(rest, second), second)
	second.Thaw() // its first answer is asked for by watch at once
	follow(rest, third)

	// One that is cut off knows nobody when the time is over: no stale name.
	third.way.cut(true)
	leader(others(rest, third), third)
	electiontest.Forgets(t, limit, third)
	third.way.cut(false)
	follow(rest, second)

	// One that ends lets go at once.
	began := watch.Term()
	if err := second.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	leader(others(rest, second), second)
	if code := second.ExitCode(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	redistest.Eventually(t, limit, "a newer token to be seen", func() error {
		if got := watch.Term(); got != began+1 {
			return fmt.Errorf("token %d came after %d", got, began)
		}
		return nil
	})
}

// candidate is a running elector.
type candidate struct {
	*redistest.Process
	id, address string
	way         *way
}

func startCandidate(t *testing.T, id, namespace, kubeconfig string, way *way) *candidate {
	t.Helper()
	address := local(redistest.Port(t))
	c := &candidate{id: id, address: address, way: way}
	// The classic elector's flags, as in its Pod.
	c.Process = redistest.Run(t, binary(t, "proxy"), "leader-elector", "--election=elect-master", "-id="+id, "--election-namespace="+namespace,
		"--ttl=4s", "--use-cluster-credentials=false", "--kubeconfig="+kubeconfig, "--http="+address)
	t.Cleanup(func() {
		if strings.Contains(string(c.Output()), "WARNING: DATA RACE") {
			t.Errorf("%s", c.Output())
		}
	})
	return c
}

// Name implements electiontest.Candidate.
func (c *candidate) Name() string { return c.id }

// State implements electiontest.Candidate.
func (c *candidate) State() (s election.State, err error) {
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + c.address)
	if err != nil {
		return s, err
	}
	defer resp.Body.Close()
	return s, json.NewDecoder(resp.Body).Decode(&s)
}

func others(all []*candidate, but *candidate) []*candidate {
	var out []*candidate
	for _, c := range all {
		if c != but {
			out = append(out, c)
		}
	}
	return out
}

// way is a candidate's way to the API server, which can be cut: connections stay
// and nothing passes, new ones are taken and nobody answers.
type way struct {
	address string
	blocked atomic.Bool
}

func newWay(t *testing.T, server string) *way {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &way{address: l.Addr().String()}
	var running sync.WaitGroup
	var open sync.Map
	t.Cleanup(func() {
		_ = l.Close()
		open.Range(func(c, _ any) bool {
			_ = c.(net.Conn).Close() // it may be closed already
			return true
		})
		running.Wait()
	})
	running.Go(func() {
		for {
			down, err := l.Accept()
			if err != nil {
				return
			}
			up, err := net.Dial("tcp", strings.TrimPrefix(server, "https://"))
			if err != nil {
				_ = down.Close()
				continue
			}
			for _, pair := range [][2]net.Conn{{down, up}, {up, down}} {
				open.Store(pair[0], nil)
				running.Go(func() {
					defer pair[0].Close()
					defer pair[1].Close()
					_, _ = io.Copy(&gate{pair[1], w}, pair[0]) // either end may go
				})
			}
		}
	})
	return w
}

func (w *way) cut(on bool) { w.blocked.Store(on) }

// gate swallows what is written while the way is cut, as a network does.
type gate struct {
	net.Conn
	way *way
}

func (g *gate) Write(p []byte) (int, error) {
	if g.way.blocked.Load() {
		return len(p), nil
	}
	return g.Conn.Write(p)
}
