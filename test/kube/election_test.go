package kube

import (
	"cmp"
	"encoding/json"
	"errors"
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
	w := &electionWatch{t: t, claimed: map[int64]string{}}
	var candidates []*candidate
	for i := range 3 {
		way := newWay(t, api.Config().Host)
		config := rest.CopyConfig(account)
		config.Host = "https://" + way.address
		candidates = append(candidates, startCandidate(t, fmt.Sprintf("web-%d", i), ns, api.Kubeconfig(t, config), way))
	}
	for _, c := range candidates {
		w.follow(c)
	}
	defer w.stop()

	first := w.leader(candidates, "")
	first.Kill()
	rest := others(candidates, first)
	second := w.leader(rest, first.id)
	second.Freeze()
	third := w.leader(others(rest, second), second.id)
	second.Thaw() // its first answer is asked for by w at once
	w.agree(rest, third.id)

	// One that is cut off knows nobody when the time is over: no stale name.
	third.way.cut(true)
	w.leader(others(rest, third), third.id)
	redistest.Eventually(t, limit, third.id+" to know of no leader", func() error {
		if s, err := third.ask(); err != nil || s.Name != "" {
			return fmt.Errorf("%+v, %w", s, cmp.Or(err, errNotYet))
		}
		return nil
	})
	third.way.cut(false)
	w.agree(rest, second.id)

	// One that ends lets go at once.
	began := w.token()
	if err := second.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	w.leader(others(rest, second), second.id)
	if code := second.ExitCode(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	redistest.Eventually(t, limit, "a newer token to be seen", func() error {
		if got := w.token(); got != began+1 {
			return fmt.Errorf("token %d came after %d", got, began)
		}
		return nil
	})
}

var errNotYet = errors.New("which is not it")

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

func (c *candidate) ask() (s election.State, err error) {
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

// electionWatch asks all candidates all the time, and finds claims that must not
// be.
type electionWatch struct {
	t       *testing.T
	ended   atomic.Bool
	running sync.WaitGroup

	mu      sync.Mutex // guards below
	claimed map[int64]string
	highest int64 // token of a claim whose answer has come
}

func (w *electionWatch) follow(c *candidate) {
	w.running.Go(func() {
		for !w.ended.Load() {
			select {
			case <-c.Done():
				return
			case <-time.After(5 * time.Millisecond):
			}
			before := w.token()
			if s, err := c.ask(); err == nil && s.IsLeader {
				w.claim(c.id, s, before)
			}
		}
	})
}

// claim notes one. before is the highest token that was claimed when it was asked
// for.
func (w *electionWatch) claim(id string, s election.State, before int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s.Name != id {
		w.t.Errorf("%s leads, and says that %s does", id, s.Name)
	}
	if s.Token < before {
		w.t.Errorf("%s claims term %d after term %d", id, s.Token, before)
	}
	if had := w.claimed[s.Token]; had != "" && had != id {
		w.t.Errorf("%s and %s claim term %d", had, id, s.Token)
	}
	w.claimed[s.Token] = id
	w.highest = max(w.highest, s.Token)
}

func (w *electionWatch) token() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.highest
}

func (w *electionWatch) stop() {
	w.ended.Store(true)
	w.running.Wait()
}

// leader waits until one of some candidates leads, which was not the leader.
func (w *electionWatch) leader(among []*candidate, former string) (found *candidate) {
	w.t.Helper()
	redistest.Eventually(w.t, limit, "another leader than "+former, func() error {
		for _, c := range among {
			if s, err := c.ask(); err == nil && s.IsLeader && c.id != former {
				found = c
				return nil
			}
		}
		return errors.New("there is none")
	})
	return found
}

// agree waits until candidates name the same leader.
func (w *electionWatch) agree(among []*candidate, name string) {
	w.t.Helper()
	redistest.Eventually(w.t, limit, "all to follow "+name, func() error {
		for _, c := range among {
			if s, err := c.ask(); err != nil || s.Name != name {
				return fmt.Errorf("%s says %+v, %w", c.id, s, cmp.Or(err, errNotYet))
			}
		}
		return nil
	})
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
