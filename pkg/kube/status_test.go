package kube_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/dragoman-mesh/dragoman/internal/kubetest"
	"github.com/dragoman-mesh/dragoman/pkg/inventory"
	"github.com/dragoman-mesh/dragoman/pkg/kube"
	"github.com/dragoman-mesh/dragoman/pkg/kube/v1alpha1"
)

// lease is short, so that tests of a change of leader are.
const lease = 3 * time.Second

// replica is one control plane of several.
type replica struct {
	*plane
	leader *kube.Leader
	status *kube.Status
	store  *kube.CAStore
	writes *atomic.Int32 // of status
	stop   func()
	cut    *atomic.Bool // from the API server
}

var errCut = errors.New("cut off")

// startReplica runs all that a replica runs.
func startReplica(t *testing.T, cfg *rest.Config, system, name string) *replica {
	t.Helper()
	r := &replica{writes: new(atomic.Int32), cut: new(atomic.Bool)}
	cfg = rest.CopyConfig(cfg)
	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(q *http.Request) (*http.Response, error) {
			if r.cut.Load() {
				return nil, errCut
			}
			if q.Method == http.MethodPatch && strings.HasSuffix(q.URL.Path, "/status") {
				r.writes.Add(1)
			}
			return next.RoundTrip(q)
		})
	})
	r.plane = startPlane(t, cfg, system)
	r.await(t)
	own := kube.Replica{Name: name, Namespace: system}
	r.leader = kube.NewLeader(r.clients, own, kube.LeaderOptions{LeaseDuration: lease})
	r.status = kube.NewStatus(r.clients, r.source, own, nil)
	r.store = kube.NewCAStore(r.clients, r.source, own, nil)
	endStatus := background(t, r.status.Run)
	endLeader := background(t, func(ctx context.Context) error { return r.leader.Run(ctx, r.status.Lead, r.store.Lead) })
	r.stop = func() {
		endLeader()
		endStatus()
	}
	return r
}

// say is what a replica's engine would say of an object.
func say(o *inventory.Object, proxies, running, refused int, refusals ...string) inventory.Status {
	condition := func(conditionType string) inventory.Condition {
		return inventory.Condition{Type: conditionType, Status: inventory.StatusTrue, Reason: conditionType, Message: "for people"}
	}
	return inventory.Status{
		UID: o.UID, Generation: o.Generation,
		Conditions: []inventory.Condition{
			condition(inventory.ConditionAccepted), condition(inventory.ConditionResolvedRefs),
			{Type: inventory.ConditionProgrammed, Status: inventory.StatusFalse, Reason: "NoProxies", Message: "no proxy is connected"},
		},
		Proxies: proxies, Running: running, Refused: refused, Refusals: refusals,
	}
}

// posted reads an object's status from the API server.
func posted(t *testing.T, api *kubetest.Server, ns, name string) v1alpha1.ObjectStatus {
	t.Helper()
	obj, err := ambassadors(api).Namespace(ns).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return read(t, obj)
}

// read gives the status of an object.
func read(t *testing.T, obj *unstructured.Unstructured) v1alpha1.ObjectStatus {
	t.Helper()
	var status v1alpha1.ObjectStatus
	raw, _, err := unstructured.NestedMap(obj.Object, "status")
	if err == nil {
		err = runtime.DefaultUnstructuredConverter.FromUnstructured(raw, &status)
	}
	if err != nil {
		t.Fatal(err)
	}
	return status
}

// short says a status in a line.
func short(s v1alpha1.ObjectStatus) string {
	var words []string
	for _, c := range s.Conditions {
		words = append(words, c.Type+"="+string(c.Status)+"/"+c.Reason)
		if c.Type == inventory.ConditionProgrammed {
			words = append(words, c.Message)
		}
	}
	return strings.Join(words, " ")
}

func (r *replica) object(t *testing.T, ns, name string) (inventory.Ref, *inventory.Object) {
	t.Helper()
	key := inventory.Key{Namespace: ns, Name: name}
	eventually(t, "the object", true, func() bool { return r.plane.store.Ambassador(key) != nil })
	return inventory.Ref{Kind: inventory.KindAmbassador, Key: key}, r.plane.store.Ambassador(key)
}

// TestStatusOfTwoReplicas: one replica writes, the counts of both add up, and
// nothing is written that is there already.
func TestStatusOfTwoReplicas(t *testing.T) {
	t.Parallel()
	api := suite.Server(t)
	system, ns := install(t, api), api.Namespace(t)
	cfg := account(t, api, system)
	api.Apply(t, ns, cacheObject)
	a := startReplica(t, cfg, system, "a")
	eventually(t, "a leads", true, a.leader.IsLeader)
	b := startReplica(t, cfg, system, "b")
	ref, object := a.object(t, ns, "cache")
	b.object(t, ns, "cache")
	status := func() string { return short(posted(t, api, ns, "cache")) }

	a.status.SetStatus(ref, say(object, 0, 0, 0))
	eventually(t, "no proxies", "Accepted=True/Accepted ResolvedRefs=True/ResolvedRefs Programmed=False/NoProxies no proxy is connected", status)
	a.status.SetStatus(ref, say(object, 3, 2, 0))
	eventually(t, "one has not answered", "Accepted=True/Accepted ResolvedRefs=True/ResolvedRefs "+
		"Programmed=False/Pending 2 of 3 connected proxies run it, 1 have not answered yet", status)
	a.status.SetStatus(ref, say(object, 3, 3, 0))
	eventually(t, "all run it", "Accepted=True/Accepted ResolvedRefs=True/ResolvedRefs "+
		"Programmed=True/Programmed 3 of 3 connected proxies run it", status)
	b.status.SetStatus(ref, say(object, 2, 1, 1, "listener shop/cache: port 6380 is taken"))
	eventually(t, "one of the other replica refused it", "Accepted=True/Accepted ResolvedRefs=True/ResolvedRefs "+
		"Programmed=False/Refused 4 of 5 connected proxies run it, 1 refused it: listener shop/cache: port 6380 is taken", status)
	now := posted(t, api, ns, "cache")
	if diff := cmp.Diff(&v1alpha1.ProxyCounts{Connected: 5, Running: 4, Refused: 1}, now.Proxies); diff != "" || now.ObservedGeneration != object.Generation {
		t.Errorf("generation %d, proxies (-want +got):\n%s", now.ObservedGeneration, diff)
	}
	if b.writes.Load() != 0 {
		t.Error("a replica that does not lead writes")
	}

	// The same again, and something else after it: only that is written.
	before := a.writes.Load()
	for range 100 {
		a.status.SetStatus(ref, say(object, 3, 3, 0))
	}
	api.Apply(t, ns, strings.NewReplacer("name: cache", "name: cart", "6380", "6381").Replace(cacheObject))
	other, cart := a.object(t, ns, "cart")
	a.status.SetStatus(other, say(cart, 0, 0, 0))
	eventually(t, "the other object", true, func() bool { return len(posted(t, api, ns, "cart").Conditions) == 3 })
	if n := a.writes.Load() - before; n != 1 {
		t.Errorf("%d writes for one change", n)
	}

	// A new generation: the conditions have not turned, and keep their time.
	api.Apply(t, ns, strings.Replace(cacheObject, "6380", "6390", 1))
	eventually(t, "the new generation", true, func() bool { _, o := a.object(t, ns, "cache"); return o.Generation == object.Generation+1 })
	_, changed := a.object(t, ns, "cache")
	a.status.SetStatus(ref, say(changed, 3, 3, 0))
	eventually(t, "observed", changed.Generation, func() int64 { return posted(t, api, ns, "cache").ObservedGeneration })
	for i, c := range posted(t, api, ns, "cache").Conditions {
		if !c.LastTransitionTime.Equal(&now.Conditions[i].LastTransitionTime) || c.ObservedGeneration != changed.Generation {
			t.Errorf("%s turned at %v, and was observed at %d", c.Type, c.LastTransitionTime, c.ObservedGeneration)
		}
	}
	// What is said of the former generation comes too late.
	a.status.SetStatus(ref, say(object, 9, 9, 0))
	a.status.SetStatus(other, say(cart, 1, 1, 0))
	eventually(t, "the other object", 1, func() int { return posted(t, api, ns, "cart").Proxies.Connected })
	if got := posted(t, api, ns, "cache"); got.Proxies.Connected == 11 {
		t.Error("a status of an earlier generation was written")
	}
}

// TestStatusChangesLeader: the next leader writes what it counts itself, soon
// after the first has ended, and somewhat later when the first was cut off.
func TestStatusChangesLeader(t *testing.T) {
	t.Parallel()
	api := suite.Server(t)
	system, ns := install(t, api), api.Namespace(t)
	cfg := account(t, api, system)
	api.Apply(t, ns, cacheObject)
	a := startReplica(t, cfg, system, "a")
	eventually(t, "a leads", true, a.leader.IsLeader)
	b := startReplica(t, cfg, system, "b")
	ref, object := a.object(t, ns, "cache")
	b.object(t, ns, "cache")
	connected := func() int {
		if p := posted(t, api, ns, "cache").Proxies; p != nil {
			return p.Connected
		}
		return -1
	}
	a.status.SetStatus(ref, say(object, 3, 3, 0))
	b.status.SetStatus(ref, say(object, 2, 2, 0))
	eventually(t, "both", 5, connected)

	ended := time.Now()
	a.stop()
	eventually(t, "b leads", true, b.leader.IsLeader)
	if d := time.Since(ended); d > lease {
		t.Errorf("the Lease was not given up: it took %v", d)
	}
	eventually(t, "b's own", 2, connected)

	c := startReplica(t, cfg, system, "c")
	c.object(t, ns, "cache")
	c.status.SetStatus(ref, say(object, 4, 4, 0))
	eventually(t, "b and c", 6, connected)
	b.cut.Store(true)
	eventually(t, "b knows that it leads no more", false, b.leader.IsLeader)
	eventually(t, "c leads", true, c.leader.IsLeader)
	writes := b.writes.Load()
	c.status.SetStatus(ref, say(object, 5, 5, 0))
	eventually(t, "b is still counted for a while", 7, connected)
	if b.writes.Load() != writes {
		t.Error("b writes")
	}
	b.cut.Store(false)
}

// TestStatusHeals: what somebody else does to the status is put right, what he
// has put beside it stays, and an object made anew is not given the status of
// the former.
func TestStatusHeals(t *testing.T) {
	t.Parallel()
	api := suite.Server(t)
	system, ns := install(t, api), api.Namespace(t)
	api.Apply(t, ns, cacheObject)
	a := startReplica(t, account(t, api, system), system, "a")
	ref, object := a.object(t, ns, "cache")
	a.status.SetStatus(ref, say(object, 1, 1, 0))
	running := func() int {
		if p := posted(t, api, ns, "cache").Proxies; p != nil {
			return p.Running
		}
		return -1
	}
	eventually(t, "written", 1, running)
	patch := `[{"op": "replace", "path": "/status/proxies/running", "value": 99},
		{"op": "add", "path": "/status/conditions/-", "value": {"type": "Reviewed", "status": "True", "reason": "ByHand", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}}]`
	if _, err := ambassadors(api).Namespace(ns).Patch(t.Context(), "cache", types.JSONPatchType, []byte(patch), metav1.PatchOptions{}, "status"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "put right", 1, running)
	if got := short(posted(t, api, ns, "cache")); !strings.Contains(got, "Reviewed=True/ByHand") {
		t.Errorf("somebody else's condition is gone: %s", got)
	}

	deleteAmbassador(t, api, ns, "cache")
	api.Apply(t, ns, cacheObject)
	eventually(t, "made anew", true, func() bool { _, o := a.object(t, ns, "cache"); return o.UID != object.UID })
	_, anew := a.object(t, ns, "cache")
	a.status.SetStatus(ref, say(object, 5, 5, 0))
	api.Apply(t, ns, strings.NewReplacer("name: cache", "name: cart", "6380", "6381").Replace(cacheObject))
	other, cart := a.object(t, ns, "cart")
	a.status.SetStatus(other, say(cart, 0, 0, 0))
	eventually(t, "another object", true, func() bool { return posted(t, api, ns, "cart").Proxies != nil })
	if got := running(); got != -1 {
		t.Errorf("the object made anew has the status of the former: %d", got)
	}
	a.status.SetStatus(ref, say(anew, 2, 2, 0))
	eventually(t, "its own", 2, running)
}

// TestStatusSaysWhatMayNotBeRead: a Secret that may not be read is missing to who
// looks for it; the status says why, and no longer says so when it may be read.
func TestStatusSaysWhatMayNotBeRead(t *testing.T) {
	t.Parallel()
	api := suite.Server(t)
	system, ns := install(t, api), api.Namespace(t)
	api.Apply(t, ns, cacheObject)
	a := startReplica(t, account(t, api, system), system, "a")
	ref, object := a.object(t, ns, "cache")
	st := say(object, 0, 0, 0)
	st.Conditions[1] = inventory.Condition{Type: inventory.ConditionResolvedRefs, Status: inventory.StatusFalse, Reason: "SecretNotFound", Message: "missing"}
	a.status.SetStatus(ref, st)
	message := func() string {
		for _, c := range posted(t, api, ns, "cache").Conditions {
			if c.Type == inventory.ConditionResolvedRefs {
				return c.Message
			}
		}
		return ""
	}
	eventually(t, "the reason", true, func() bool {
		m := message()
		return strings.HasPrefix(m, "missing; ") && strings.Contains(m, "Secret "+ns+"/redis-prod: ") && strings.Contains(m, "is forbidden")
	})
	allowSecrets(t, api, system, ns, "redis-prod", "redis-ca")
	eventually(t, "no reason", "missing", message)
}
