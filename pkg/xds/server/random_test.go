package server_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/status"

	"github.com/dragoman-mesh/dragoman/pkg/xds/server"
)

var (
	randomTypes = []string{"cds", "eds", "lds"}
	randomNames = []string{"a", "b", "c", "d", "e", "f"}
	variants    = []string{"", "@x", "@y"}
)

// holdings are contents by type/name.
type holdings map[string]string

// mirror is a client that believes what it is told: it holds what was sent to it,
// drops what was removed, and unsubscribes at random.
type mirror struct {
	w      *world
	random *rand.Rand
	sotw   bool
	// granted are ids by type/name; sent to the server as the node's grant.
	granted map[string]string
	name    string
	streams int
	syncs   int
	id      string
	node    *server.Node
	stop    context.CancelFunc

	mu sync.Mutex
	// mu guards below
	send     func(short string, add, drop []string, nonce string, refuse bool, versions map[string]string) error
	held     holdings
	versions map[string]string
	wanted   map[string]bool // type/name, and type/* for everything
	opened   map[string]bool
}

// TestRandomHistories lets a publisher, changing grants and clients that
// subscribe, unsubscribe, refuse and reconnect run against each other. Once
// they rest, every client must hold exactly what its grant and its
// subscriptions say.
func TestRandomHistories(t *testing.T) {
	t.Parallel()
	for seed := range uint64(8) {
		for _, sotw := range []bool{false, true} {
			t.Run(fmt.Sprintf("sotw=%v/%d", sotw, seed), func(t *testing.T) {
				t.Parallel()
				history(t, seed, sotw)
			})
		}
	}
}

func history(t *testing.T, seed uint64, sotw bool) {
	w := newWorld(t, server.Limits{Burst: 1 << 20, ResponseBytes: 24})
	var clients []*mirror
	for i := range uint64(3) {
		m := &mirror{name: fmt.Sprint(i), w: w, sotw: sotw, random: rand.New(rand.NewPCG(seed, i)), held: holdings{}, versions: map[string]string{}}
		m.reconnect()
		clients = append(clients, m)
	}
	published := map[string]string{}
	var all sync.WaitGroup
	all.Go(func() {
		random := rand.New(rand.NewPCG(seed, 99))
		for range 300 {
			w.publish(publications(random, published)...)
		}
	})
	for _, m := range clients {
		all.Go(func() {
			for range 150 {
				m.step()
			}
		})
	}
	all.Wait()
	for i, m := range clients {
		want := m.expected(published)
		var got holdings
		defer func() {
			if t.Failed() {
				t.Logf("client %d: %s", i, cmp.Diff(want, got))
			}
		}()
		eventually(t, "every client holds what it may have", func() bool {
			got = m.holds(want)
			return maps.Equal(got, want)
		})
	}
}

// publications are a batch of one to four changes.
func publications(random *rand.Rand, published map[string]string) []string {
	var words []string
	for range 1 + random.IntN(4) {
		key := pick(random, randomTypes) + "/" + pick(random, randomNames) + pick(random, variants)
		_, name, _ := strings.Cut(strings.SplitN(key, "@", 2)[0], "/")
		value := fmt.Sprintf("%s:%d", name, random.IntN(5)) // state of the world doesn't say whose a content is
		if random.IntN(4) == 0 {
			value = "-"
			delete(published, key)
		} else {
			published[key] = value
		}
		words = append(words, key+"="+value)
	}
	return words
}

func pick(random *rand.Rand, from []string) string { return from[random.IntN(len(from))] }

// settle waits until the server has heard what was said.
func (m *mirror) settle() {
	m.syncs++
	m.say("sync", []string{fmt.Sprint("s", m.syncs)}, nil)
	eventually(m.w.t, "the server has heard it", func() bool {
		for _, st := range m.node.Status().Types {
			if short(st.TypeURL) == "sync" {
				return st.Subscribed == m.syncs+1
			}
		}
		return false
	})
}

func (m *mirror) step() {
	if m.random.IntN(3) == 0 {
		m.settle()
	}
	what := pick(m.random, randomTypes)
	switch m.random.IntN(8) {
	case 0, 1, 2:
		m.regrant()
	case 3:
		if m.random.IntN(4) == 0 {
			m.reconnect()
		}
	case 4, 5:
		m.say(what, []string{pick(m.random, randomNames)}, nil)
	case 6:
		m.say(what, nil, []string{pick(m.random, randomNames)})
	case 7:
		if what != "eds" {
			m.say(what, []string{"*"}, nil)
		}
	}
}

// regrant gives the node something else.
func (m *mirror) regrant() {
	granted := map[string]string{}
	var words []string
	for _, what := range randomTypes {
		for _, name := range randomNames {
			if m.random.IntN(2) == 0 {
				continue
			}
			id := name + pick(m.random, variants)
			granted[what+"/"+name] = id
			words = append(words, what+"/"+id)
		}
	}
	m.granted = granted
	m.node.SetGrant(m.w.grant(words...))
}

// say subscribes and unsubscribes. Who unsubscribes from a name forgets it, unless
// it wants everything: then it hears.
func (m *mirror) say(what string, add, drop []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, name := range add {
		m.wanted[what+"/"+name] = true
	}
	for _, name := range drop {
		delete(m.wanted, what+"/"+name)
		if !m.wanted[what+"/*"] {
			delete(m.held, what+"/"+name)
			delete(m.versions, what+"/"+name)
		}
	}
	_ = m.send(what, add, drop, "", false, m.known(what))
}

// known are the versions that a first request of a type tells.
func (m *mirror) known(what string) map[string]string {
	if m.opened[what] {
		return nil
	}
	m.opened[what] = true
	known := map[string]string{}
	for key, version := range m.versions {
		if name, ok := strings.CutPrefix(key, what+"/"); ok {
			known[name] = version
		}
	}
	return known
}

// reconnect begins a new stream. The client keeps what it has if it speaks delta,
// as it can tell the server.
func (m *mirror) reconnect() {
	if m.stop != nil {
		m.stop()
	}
	ctx, cancel := context.WithCancel(m.w.t.Context())
	m.w.t.Cleanup(cancel)
	m.stop = cancel
	m.mu.Lock()
	old := m.wanted
	m.wanted, m.opened = map[string]bool{}, map[string]bool{}
	m.streams++
	m.id = fmt.Sprintf("%s.%d", m.name, m.streams)
	client := m.w.dial()
	if m.sotw {
		m.held, m.versions = holdings{}, map[string]string{}
		m.startSotw(ctx, client)
	} else {
		m.startDelta(ctx, client)
	}
	m.syncs = 0
	m.wanted["sync/hello"] = true
	m.opened["sync"] = true
	_ = m.send("sync", []string{"hello"}, nil, "", false, nil)
	m.mu.Unlock()
	eventually(m.w.t, "the node's arrival", func() bool {
		m.node = m.w.people.find(m.id)
		return m.node != nil
	})
	m.regrant()
	for _, what := range randomTypes {
		var names []string
		for key := range old {
			if name, ok := strings.CutPrefix(key, what+"/"); ok {
				names = append(names, name)
			}
		}
		m.forget(what, names)
		m.say(what, names, nil)
	}
}

// forget drops what is not asked for again.
func (m *mirror) forget(what string, names []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for key := range m.held {
		name, ok := strings.CutPrefix(key, what+"/")
		if ok && !slices.Contains(names, name) && !slices.Contains(names, "*") {
			delete(m.held, key)
			delete(m.versions, key)
		}
	}
	if len(names) == 0 && what != "eds" {
		m.wanted[what+"/*"] = true // an empty first request
	}
}

func (m *mirror) startDelta(ctx context.Context, client discoveryv3.AggregatedDiscoveryServiceClient) {
	stream, err := client.DeltaAggregatedResources(ctx)
	if err != nil {
		m.w.t.Error(err)
		return
	}
	id := m.id
	m.send = func(what string, add, drop []string, nonce string, refuse bool, versions map[string]string) error {
		r := &discoveryv3.DeltaDiscoveryRequest{
			Node: &corev3.Node{Id: id}, TypeUrl: typeURLs[what], ResourceNamesSubscribe: add, ResourceNamesUnsubscribe: drop,
			ResponseNonce: nonce, InitialResourceVersions: versions,
		}
		if refuse {
			r.ErrorDetail = &status.Status{Code: 3, Message: "no"}
		}
		return stream.Send(r)
	}
	random := rand.New(rand.NewPCG(m.random.Uint64(), 0))
	go func() {
		for {
			r, err := stream.Recv()
			if err != nil {
				return
			}
			m.mu.Lock()
			if ctx.Err() == nil {
				m.hearDelta(r, random.IntN(4) == 0)
			}
			m.mu.Unlock()
		}
	}()
}

// wants says whether a client that has just unsubscribed would keep it.
func (m *mirror) wants(what, name string) bool { return m.wanted[what+"/"+name] || m.wanted[what+"/*"] }

func (m *mirror) hearDelta(r *discoveryv3.DeltaDiscoveryResponse, refuse bool) {
	what := short(r.GetTypeUrl())
	for _, resource := range r.GetResources() {
		if m.wants(what, resource.GetName()) {
			m.held[what+"/"+resource.GetName()] = content(resource.GetResource())
			m.versions[what+"/"+resource.GetName()] = resource.GetVersion()
		}
	}
	for _, name := range r.GetRemovedResources() {
		delete(m.held, what+"/"+name)
		delete(m.versions, what+"/"+name)
	}
	// What it refuses it holds all the same: the server must not send it again.
	_ = m.send(what, nil, nil, r.GetNonce(), refuse, nil)
}

// expected is what the client is to hold.
func (m *mirror) expected(published map[string]string) holdings {
	m.mu.Lock()
	defer m.mu.Unlock()
	want := holdings{}
	for key, id := range m.granted {
		what, name, _ := strings.Cut(key, "/")
		if value, ok := published[what+"/"+id]; ok && m.wants(what, name) {
			want[key] = value
		}
	}
	return want
}

// holds is what the client has and wants. In state of the world nobody says that
// endpoints are gone: what is not to be had of them does not count.
func (m *mirror) holds(want holdings) holdings {
	m.mu.Lock()
	defer m.mu.Unlock()
	got := maps.Clone(m.held)
	maps.DeleteFunc(got, func(key, _ string) bool {
		what, name, _ := strings.Cut(key, "/")
		return m.sotw && (!m.wants(what, name) || what == "eds" && want[key] == "")
	})
	return got
}
