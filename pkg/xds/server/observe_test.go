package server_test

import (
	"bytes"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/dragoman-mesh/dragoman/pkg/xds/server"
)

// settled waits until what a client has said is heard: its answer to something
// else comes after it.
func settled(t *testing.T, c *deltaClient) {
	t.Helper()
	if err := c.say("sync", []string{"+there"}); err != nil {
		t.Fatal(err)
	}
	if got, err := c.hear(); err != nil || got != "sync -there" {
		t.Fatalf("got %q, %v", got, err)
	}
	if err := c.say("sync", []string{"ack"}); err != nil {
		t.Fatal(err)
	}
}

func mustHear(t *testing.T, c *deltaClient, want string) {
	t.Helper()
	if got, err := c.hear(); err != nil || got != want {
		t.Fatalf("got %q, %v, want %q", got, err, want)
	}
}

// TestAcksTellWhatTheyCover follows one change, and several in one response, from
// their causes to the ACK.
func TestAcksTellWhatTheyCover(t *testing.T) {
	t.Parallel()
	w := newWorld(t, server.Limits{})
	w.people.give(w.grant("eds/a", "eds/b"))
	w.publish("eds/a=1", "eds/b=1")
	c := newDeltaClient(w)
	_ = c.say("eds", []string{"+a", "+b"})
	mustHear(t, c, "eds a=1 b=1")
	_ = c.say("eds", []string{"ack"})
	first := next(t, "the ACK", w.people.acks)
	if diff := cmp.Diff(server.Ack{TypeURL: server.EndpointType, Resources: 2}, first); diff != "" {
		t.Errorf("an ACK of a subscription: -want +got\n%s", diff)
	}

	w.publish("eds/a=2")
	mustHear(t, c, "eds a=2")
	early := time.Now().Add(-time.Minute)
	late := w.change("eds/a=3")
	old := w.change("eds/b=2")
	old.At = early
	w.server.Publish([]server.Change{late})
	revision := w.server.Publish([]server.Change{old})
	_ = c.say("eds", []string{"ack"})
	if a := next(t, "the ACK", w.people.acks); a.Revision != revision-2 || a.At.Equal(early) || a.Resources != 1 {
		t.Errorf("the ACK of the first change is %+v, want revision %d", a, revision-2)
	}
	mustHear(t, c, "eds a=3 b=2")
	_ = c.say("eds", []string{"ack"})
	if a := next(t, "the ACK", w.people.acks); a.Revision != revision || !a.At.Equal(early) || a.Took < time.Minute || a.Resources != 2 {
		t.Errorf("the ACK of both changes is %+v, want revision %d and the older cause", a, revision)
	}
	if got := w.metric("convergence_seconds"); got != 2 {
		t.Errorf("%v convergences were observed, want 2", got)
	}
}

// TestStatusShowsWhoIsWhere has one node behind, one that refuses, and one that
// has everything.
func TestStatusShowsWhoIsWhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t, server.Limits{})
	w.people.give(w.grant("cds/a", "cds/later", "eds/e"))
	w.publish("cds/a=1", "eds/e=1")
	var clients [3]*deltaClient
	for i := range clients {
		clients[i] = newDeltaClient(w)
		_ = clients[i].say("cds", nil)
		mustHear(t, clients[i], "cds a=1")
	}
	_ = clients[0].say("cds", []string{"ack"})
	_ = clients[1].say("cds", []string{"ack", "!no", "such", "filter"})
	for _, c := range clients {
		settled(t, c)
	}
	key := server.Key{TypeURL: server.ClusterType, ID: "a"}
	c := w.server.Coverage(key)
	if c.Subscribers != 3 || c.Acked != 1 || c.Refused != 1 || c.Waiting != 1 || len(c.Refusals) != 1 {
		t.Fatalf("coverage: %+v", c)
	}
	want := server.Refusal{TypeURL: server.ClusterType, Code: 3, Message: "no such filter", Keys: []server.Key{key}}
	if diff := cmp.Diff(want, c.Refusals[0].Refusal, cmpopts.IgnoreFields(server.Refusal{}, "At")); diff != "" {
		t.Errorf("refusal: -want +got\n%s", diff)
	}
	standing := map[string]int{"synced": 1, "refused": 1, "behind": 1}
	eventually(t, "the last ACKs, and what they make of the three", func() bool {
		return cmp.Equal(standing, standings(t, w.server.Status()))
	})
	// A better version is on its way to who is free; the other is yet to answer.
	w.publish("cds/a=2")
	if c := w.server.Coverage(key); c.Waiting != 3 || c.Refused != 0 {
		t.Errorf("coverage after a new version: %+v", c)
	}
	if c := w.server.Coverage(server.Key{TypeURL: server.ClusterType, ID: "unheard of"}); c.Subscribers != 0 {
		t.Errorf("coverage of nothing: %+v", c)
	}
}

// standings counts in which way streams stand that have got one cluster.
func standings(t *testing.T, list []server.NodeStatus) map[string]int {
	t.Helper()
	seen := map[string]int{}
	for _, st := range list {
		if st.ID != "n1" || st.Remote == "" || st.LastContact.Before(st.Since) || len(st.Types) != 2 {
			t.Errorf("status: %+v", st)
		}
		cds := st.Types[0]
		if cds.TypeURL != server.ClusterType || !cds.Wildcard || cds.Subscribed != 2 || cds.Current != 1 || cds.Sent != 1 {
			t.Errorf("type status: %+v", cds)
		}
		switch {
		case st.Synced() && cds.Acked == 1:
			seen["synced"]++
		case cds.Refused == 1 && cds.Refusal != nil && cds.Refusal.Message == "no such filter":
			seen["refused"]++
		case cds.InFlight && cds.Acked == 0:
			seen["behind"]++
		}
	}
	return seen
}

// TestABatchSpeaksOnce has one key several times in a batch, and a resource under
// a key of another type.
func TestABatchSpeaksOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, server.Limits{})
	w.people.give(w.grant("cds/a", "cds/b"))
	wrong := w.change("eds/b=1")
	wrong.Key.TypeURL = server.ClusterType
	w.server.Publish([]server.Change{w.change("cds/a=1"), wrong, w.change("cds/a=-"), w.change("cds/a=2")})
	c := newDeltaClient(w)
	_ = c.say("cds", nil)
	mustHear(t, c, "cds a=2")
	if r := w.server.Resource(server.Key{TypeURL: server.ClusterType, ID: "a"}); r == nil || r.Name() != "a" || r.TypeURL() != server.ClusterType {
		t.Errorf("the resource is %+v", r)
	}
	if r := w.server.Resource(wrong.Key); r != nil {
		t.Errorf("a resource of the wrong type is there: %+v", r)
	}
	if got := w.metric("resources"); got != 1 {
		t.Errorf("resources = %v, want 1", got)
	}
}

// lockedBuffer is a log to read.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestForeignNamesAreLoggedOnceAndCounted asks for other people's secrets again
// and again.
func TestForeignNamesAreLoggedOnceAndCounted(t *testing.T) {
	t.Parallel()
	var text lockedBuffer
	w := newLoggedWorld(t, server.Limits{}, slog.New(slog.NewTextHandler(&text, nil)))
	w.publish("sds/theirs=password")
	c := newDeltaClient(w)
	for range 5 {
		_ = c.say("sds", []string{"+theirs", "+others", "ack"})
		mustHear(t, c, "sds -others -theirs")
	}
	if got := w.metric("refused_total", "not_granted"); got != 10 {
		t.Errorf("refused_total{not_granted} = %v, want 10", got)
	}
	if got := strings.Count(text.String(), "not granted"); got != 1 {
		t.Errorf("%d lines in the log, want 1:\n%s", got, text.String())
	}
	if strings.Contains(text.String(), "password") {
		t.Error("the log has a secret")
	}
}

// TestLateAcceptance: a client that refused a response because of something on
// its side may accept it later, without being sent anything.
func TestLateAcceptance(t *testing.T) {
	t.Parallel()
	w := newWorld(t, server.Limits{})
	w.people.give(w.grant("cds/a", "cds/b"))
	w.publish("cds/a=1", "cds/b=1")
	c := newDeltaClient(w)
	_ = c.say("cds", nil)
	mustHear(t, c, "cds a=1 b=1")
	_ = c.say("cds", []string{"ack", "!the", "port", "is", "taken"})
	settled(t, c)
	key := server.Key{TypeURL: server.ClusterType, ID: "a"}
	if got := w.server.Coverage(key); got.Refused != 1 {
		t.Fatalf("coverage: %+v", got)
	}
	_ = c.say("cds", []string{"ack"})
	settled(t, c)
	if got := w.server.Coverage(key); got.Refused != 0 || got.Acked != 1 || len(got.Refusals) != 0 {
		t.Errorf("coverage: %+v", got)
	}
	for _, st := range w.server.Status() {
		if st.Types[0].Refusal != nil || st.Types[0].Refused != 0 {
			t.Errorf("status: %+v", st)
		}
	}
	// What is sent afterwards has a nonce of its own.
	w.publish("cds/a=2")
	mustHear(t, c, "cds a=2")
	_ = c.say("cds", []string{"ack", "!no"})
	settled(t, c)
	if got := w.server.Coverage(key); got.Refused != 1 || len(got.Refusals) != 1 {
		t.Errorf("coverage: %+v", got)
	}
}

// TestARefusalIsAboutWhatItNames: a client takes the rest of a response, and what
// it has refused stays refused, with its reason, when other things are accepted.
func TestARefusalIsAboutWhatItNames(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, message string
		want          []string
	}{
		{"one name", `cluster "shop/a": no such policy`, []string{"shop/a"}},
		{"two names", "shop/a and shop/b: no such policy", []string{"shop/a", "shop/b"}},
		{"a name within another", "cluster shop/ab-c is unknown", []string{"shop/a", "shop/ab", "shop/b"}},
		{"no name", "out of memory", []string{"shop/a", "shop/ab", "shop/b"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, server.Limits{})
			w.people.give(w.grant("cds/shop/a", "cds/shop/b", "cds/shop/ab"))
			w.publish("cds/shop/a=1", "cds/shop/b=1", "cds/shop/ab=1")
			c := newDeltaClient(w)
			_ = c.say("cds", nil)
			mustHear(t, c, "cds shop/a=1 shop/ab=1 shop/b=1")
			_ = c.say("cds", []string{"ack", "!" + tt.message})
			var got []string
			for _, k := range next(t, "the NACK", w.people.nacks).Keys {
				got = append(got, k.ID)
			}
			slices.Sort(got)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("refused: -want +got\n%s", diff)
			}
			// Something else is accepted.
			w.publish("cds/shop/b=2")
			mustHear(t, c, "cds shop/b=2")
			_ = c.say("cds", []string{"ack"})
			settled(t, c)
			for _, name := range []string{"shop/a", "shop/ab", "shop/b"} {
				coverage := w.server.Coverage(server.Key{TypeURL: server.ClusterType, ID: name})
				refused := name != "shop/b" && slices.Contains(tt.want, name)
				if refused != (coverage.Refused == 1) || refused == (coverage.Acked == 1) {
					t.Errorf("%s: %+v, refused: want %v", name, coverage, refused)
				}
				if refused && (len(coverage.Refusals) != 1 || coverage.Refusals[0].Refusal.Message != tt.message) {
					t.Errorf("%s: reasons %+v, want %q", name, coverage.Refusals, tt.message)
				}
			}
			if st := w.server.Status()[0]; st.Types[0].Refusal == nil || st.Types[0].Refusal.Message != tt.message || st.Synced() {
				t.Errorf("status: %+v", st)
			}
			// A version that is taken ends it.
			w.publish("cds/shop/a=2", "cds/shop/ab=2")
			mustHear(t, c, "cds shop/a=2 shop/ab=2")
			_ = c.say("cds", []string{"ack"})
			settled(t, c)
			if st := w.server.Status()[0]; st.Types[0].Refusal != nil {
				t.Errorf("status: %+v", st)
			}
			eventually(t, "it is in sync", func() bool { return w.server.Status()[0].Synced() })
		})
	}
}

// TestAStateOfTheWorldThatStaysRefused: what was refused goes along with every
// later response, and is still refused when that is.
func TestAStateOfTheWorldThatStaysRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, server.Limits{})
	w.people.give(w.grant("cds/a", "cds/b", "cds/c"))
	w.publish("cds/a=a1", "cds/b=b1", "cds/c=c1")
	c := newSotwClient(w)
	hear := func(want string) {
		t.Helper()
		if got, err := c.hear(); err != nil || got != want {
			t.Fatalf("got %q, %v, want %q", got, err, want)
		}
	}
	coverage := func(name string) server.Coverage {
		return w.server.Coverage(server.Key{TypeURL: server.ClusterType, ID: name})
	}
	_ = c.say("cds", nil)
	hear("cds a1 b1 c1")
	_ = c.say("cds", []string{"ack"})
	next(t, "the ACK", w.people.acks)
	w.publish("cds/a=a2")
	hear("cds a2 b1 c1")
	_ = c.say("cds", []string{"ack", "!a: no such policy"})
	next(t, "the NACK", w.people.nacks)
	if got := coverage("b"); got.Acked != 1 {
		t.Errorf("b, which has not changed: %+v", got)
	}
	w.publish("cds/b=b2")
	hear("cds a2 b2 c1")
	_ = c.say("cds", []string{"ack", "!a: no such policy"})
	if r := next(t, "the NACK", w.people.nacks); len(r.Keys) != 1 || r.Keys[0].ID != "a" {
		t.Errorf("refused: %+v", r)
	}
	for name, want := range map[string]string{"a": "refused", "b": "acked", "c": "acked"} {
		if got := coverage(name); want == "refused" && got.Refused != 1 || want == "acked" && got.Acked != 1 {
			t.Errorf("%s: %+v, want %s", name, got, want)
		}
	}
}

// TestStatusWhileANodeArrives asks for the status of a node from when Connect has
// it, which is before its identity is known.
func TestStatusWhileANodeArrives(t *testing.T) {
	t.Parallel()
	w := newWorld(t, server.Limits{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		n := <-w.people.arrived
		for n.Status().Identity == "" && t.Context().Err() == nil {
			runtime.Gosched()
		}
		if got := n.Identity(); got != "shop/web-0" {
			t.Errorf("identity %q", got)
		}
	}()
	stream := openDelta(t, w.dial(), "shop/web-0")
	if err := stream.Send(&discoveryv3.DeltaDiscoveryRequest{Node: &corev3.Node{Id: "web-0"}, TypeUrl: server.ListenerType}); err != nil {
		t.Fatal(err)
	}
	next(t, "the identity", done)
}
