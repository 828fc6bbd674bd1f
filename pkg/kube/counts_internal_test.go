package kube

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/dragoman-mesh/dragoman/pkg/inventory"
	"github.com/dragoman-mesh/dragoman/pkg/kube/v1alpha1"
)

const cacheCount = "Ambassador/shop/cache"

// newOthers returns the counts of others than "self", and the names of objects
// that were told to have changed since the last call.
func newOthers() (*others, func() []string) {
	var told []string
	o := &others{self: "self", all: make(map[string]*report), changed: func(ref string) { told = append(told, ref) }}
	return o, func() []string {
		out := told
		told = nil
		slices.Sort(out)
		return out
	}
}

func (o *others) total(ref, uid string) count {
	c := count{UID: uid}
	o.sum(ref, &c)
	return c
}

func replicaKey(name string) inventory.Key { return inventory.Key{Namespace: "system", Name: name} }

// TestOthersAddUp: the counts of the others, but not the own ones, and not those
// of an object that had the name before.
func TestOthersAddUp(t *testing.T) {
	t.Parallel()
	o, told := newOthers()
	at := time.Unix(1000, 0)
	o.set(replicaKey("a"), counts{cacheCount: {UID: "u", Proxies: 3, Running: 2, Refused: 1, Refusals: []string{"port"}}}, at)
	o.set(replicaKey("b"), counts{cacheCount: {UID: "u", Proxies: 2, Running: 1, Denied: "it is taken", DeniedReason: "ListenConflict"}, "Ambassador/shop/cart": {UID: "v", Proxies: 1}}, at)
	o.set(replicaKey("c"), counts{cacheCount: {UID: "former", Proxies: 9}}, at)
	o.set(replicaKey("self"), counts{cacheCount: {UID: "u", Proxies: 100}}, at)
	want := count{UID: "u", Proxies: 5, Running: 3, Refused: 1, Refusals: []string{"port"}, Denied: "it is taken", DeniedReason: "ListenConflict"}
	if diff := cmp.Diff(want, o.total(cacheCount, "u")); diff != "" {
		t.Errorf("sum (-want +got):\n%s", diff)
	}
	told()

	o.set(replicaKey("b"), counts{cacheCount: {UID: "u", Proxies: 2, Running: 1, Denied: "it is taken", DeniedReason: "ListenConflict"}}, at)
	if diff := cmp.Diff([]string{"Ambassador/shop/cart"}, told()); diff != "" {
		t.Errorf("only what has changed is told (-want +got):\n%s", diff)
	}
	o.set(replicaKey("b"), counts{cacheCount: {UID: "u", Proxies: 1, Running: 1}}, at)
	if diff := cmp.Diff([]string{cacheCount}, told()); diff != "" {
		t.Errorf("that none is denied any more is told (-want +got):\n%s", diff)
	}
	o.set(replicaKey("a"), nil, at)
	if diff := cmp.Diff([]string{cacheCount}, told()); diff != "" {
		t.Errorf("a replica that ends is told (-want +got):\n%s", diff)
	}
	if got := o.total(cacheCount, "u").Proxies; got != 1 {
		t.Errorf("%d proxies without the replica that has ended", got)
	}
}

// TestProblemsOfAllReplicas: what is wrong although all proxies run what they were given is
// said whichever replica knows it, and no longer than it is so.
func TestProblemsOfAllReplicas(t *testing.T) {
	t.Parallel()
	bare := inventory.Status{
		UID: "u", Proxies: 1, Running: 1, Problem: "1 selected pods have no proxy: bare", ProblemReason: "PodsWithoutProxy",
		Conditions: []inventory.Condition{{Type: inventory.ConditionProgrammed, Status: inventory.StatusFalse, Reason: "PodsWithoutProxy"}},
	}
	well := inventory.Status{UID: "u", Proxies: 2, Running: 2, Conditions: []inventory.Condition{{Type: inventory.ConditionProgrammed, Status: inventory.StatusTrue, Reason: ReasonProgrammed}}}
	pending := well
	pending.Running = 1
	for name, tt := range map[string]struct {
		leader, other inventory.Status
		want          string
	}{
		"the leader knows":       {bare, well, "False PodsWithoutProxy: 3 of 3 connected proxies run it, 1 selected pods have no proxy: bare"},
		"another knows":          {well, bare, "False PodsWithoutProxy: 3 of 3 connected proxies run it, 1 selected pods have no proxy: bare"},
		"some run it not yet":    {pending, bare, "False PodsWithoutProxy: 2 of 3 connected proxies run it, 1 have not answered yet, 1 selected pods have no proxy: bare"},
		"there is nothing wrong": {well, well, "True Programmed: 4 of 4 connected proxies run it"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o, told := newOthers()
			o.set(replicaKey("other"), counts{cacheCount: countOf(&tt.other)}, time.Unix(1000, 0))
			told()
			total := countOf(&tt.leader)
			o.sum(cacheCount, &total)
			c := newStatus(&tt.leader, &total, &v1alpha1.ObjectStatus{}, metav1.Now()).Conditions[0]
			if got := fmt.Sprintf("%s %s: %s", c.Status, c.Reason, c.Message); got != tt.want {
				t.Errorf("the condition is %q, want %q", got, tt.want)
			}
			if o.set(replicaKey("other"), counts{cacheCount: countOf(&well)}, time.Unix(1001, 0)); tt.other.Problem != "" && len(told()) != 1 {
				t.Error("that it is well again is not told")
			}
		})
	}
}

// TestOthersExpire: a replica that renews nothing is forgotten, told once, and
// what it left is removed later; one that comes back counts again.
func TestOthersExpire(t *testing.T) {
	t.Parallel()
	o, told := newOthers()
	start := time.Unix(1000, 0)
	c := counts{cacheCount: {UID: "u", Proxies: 3}}
	o.set(replicaKey("a"), c, start)
	told()
	steps := []struct {
		after   time.Duration
		renewed bool
		told    []string
		proxies int
		gone    []string
	}{
		{countsLife - time.Second, false, nil, 3, nil},
		{countsLife, false, []string{cacheCount}, 0, nil},
		{countsLife + time.Second, false, nil, 0, nil},
		{countsLife + 2*time.Second, true, []string{cacheCount}, 3, nil},
		{2 * countsLife, false, nil, 3, nil},
		{countsGone + countsLife + 2*time.Second, false, []string{cacheCount}, 0, []string{"a"}},
	}
	for _, step := range steps {
		if step.renewed {
			o.set(replicaKey("a"), maps.Clone(c), start.Add(step.after))
		}
		gone := o.expire(start.Add(step.after))
		if diff := cmp.Diff(step.told, told()); diff != "" {
			t.Errorf("after %v told (-want +got):\n%s", step.after, diff)
		}
		if got := o.total(cacheCount, "u").Proxies; got != step.proxies || !slices.Equal(gone, step.gone) {
			t.Errorf("after %v: %d proxies, gone %v", step.after, got, gone)
		}
	}
}

// TestCountsAreBounded: what unpacks to more than a replica would ever write is
// not unpacked.
func TestCountsAreBounded(t *testing.T) {
	t.Parallel()
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	for range 64 {
		if _, err := z.Write(bytes.Repeat([]byte(" "), 1<<20)); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := decodeCounts(bomb.Bytes()); !errors.Is(err, errCountsTooLarge) {
		t.Errorf("%d bytes that unpack to 64 MiB: %v", bomb.Len(), err)
	}
}

// TestReplicaNames: whatever a machine is called, its ConfigMap has a name.
func TestReplicaNames(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"dragoman-controlplane-7d4b9-x2x": "dragoman-replica-dragoman-controlplane-7d4b9-x2x",
		"My_Laptop.local.":                "dragoman-replica-my-laptop.local",
	} {
		if got := (Replica{Name: name}).countsName(); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

// FuzzCounts: what one replica writes, another reads.
func FuzzCounts(f *testing.F) {
	f.Add(false, "shop", "cache", "u", 3, 2, 1, "port 6380 is taken")
	f.Add(true, "", "", "", 0, -1, 1<<40, "\x00\xff\u2028")
	f.Fuzz(func(t *testing.T, adapter bool, namespace, name, uid string, proxies, running, refused int, refusal string) {
		valid := func(s string) string { return strings.ToValidUTF8(s, "?") }
		kind := inventory.KindAmbassador
		if adapter {
			kind = inventory.KindAdapter
		}
		ref := inventory.Ref{Kind: kind, Key: inventory.Key{Namespace: valid(strings.ReplaceAll(namespace, "/", "")), Name: valid(name)}}
		want := counts{countsName(ref): {UID: valid(uid), Proxies: proxies, Running: running, Refused: refused, Refusals: []string{valid(refusal)}}}
		data, err := want.encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := decodeCounts(data)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Fatalf("%v (-want +got):\n%s", err, diff)
		}
		for key := range got {
			if back, ok := countsRef(key); !ok || back != ref {
				t.Errorf("%q is %v", key, back)
			}
		}
		_, _ = decodeCounts([]byte(refusal)) // whatever it is, it does not panic
	})
}
