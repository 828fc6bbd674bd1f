package engine_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"

	"github.com/dragoman-mesh/dragoman/internal/adstest"
	"github.com/dragoman-mesh/dragoman/pkg/controlplane/engine"
	"github.com/dragoman-mesh/dragoman/pkg/inventory"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
	"github.com/dragoman-mesh/dragoman/pkg/xds/server"
)

// TestLastGoodStays: a Secret that goes away and a document that becomes invalid
// leave what runs, a permission that is withdrawn does not.
func TestLastGoodStays(t *testing.T) {
	t.Parallel()
	r := newRig(t).shop()
	r.put(`
apiVersion: mesh.dragoman.io/v1alpha1
kind: Ambassador
metadata: {name: foreign, namespace: shop}
spec:
  protocol: tcp
  listen: {port: 7000}
  environments: {dev: {service: {name: ledger, namespace: bank, port: 6379}}}
  defaultEnvironment: dev
`)
	ledger := inventory.Key{Namespace: "bank", Name: "ledger"}
	ledgerRef := inventory.Ref{Kind: inventory.KindService, Key: ledger}
	open := &inventory.Service{Key: ledger, Ports: []inventory.ServicePort{{Port: 6379, Protocol: "TCP"}}, AllowFrom: []string{"shop"}}
	inventory.Put(r.store, ledgerRef, open, time.Now())
	r.pod("shop", "web-0", map[string]string{"app": "web", "mesh.dragoman.io/environment": "prod"})
	r.put(`
apiVersion: mesh.dragoman.io/v1alpha1
kind: Ambassador
metadata: {name: probe, namespace: shop}
spec: {protocol: tcp, listen: {port: 7100}, environments: {dev: {address: "127.0.0.1:1"}, prod: {address: "127.0.0.1:2"}}}
`)
	r.pod("shop", "web-2", map[string]string{"app": "none", "mesh.dragoman.io/environment": "dev"})
	r.start()
	c := r.dial("shop", "web-0")
	c.Subscribe(server.ListenerType)
	other := r.dial("shop", "web-2")
	other.Subscribe(server.ListenerType)
	var l listenerv3.Listener
	c.Await(server.ListenerType, "shop/cache", &l)
	other.Await(server.ListenerType, "shop/foreign", &l)

	r.store.Delete(inventory.Ref{Kind: inventory.KindSecret, Key: inventory.Key{Namespace: "shop", Name: "redis-prod"}}, time.Now())
	r.awaitCondition("shop/cache", inventory.ConditionResolvedRefs, inventory.StatusFalse, "SecretNotFound")
	inventory.Put(r.store, objectRef("shop", "probe"), &inventory.Object{Object: mesh.NewAmbassador("probe", mesh.AmbassadorSpec{}), Err: errors.New("no good")}, time.Now())
	r.awaitCondition("shop/probe", inventory.ConditionAccepted, inventory.StatusFalse, "Invalid")
	closed := *open
	closed.AllowFrom = nil
	inventory.Put(r.store, ledgerRef, &closed, time.Now())
	other.AwaitGone(server.ListenerType, "shop/foreign")
	if names := c.Names(server.ListenerType); !slices.Contains(names, "shop/cache") || !slices.Contains(names, "shop/probe") {
		t.Errorf("what ran before is gone: %v", names)
	}
	r.awaitCondition("shop/foreign", inventory.ConditionResolvedRefs, inventory.StatusFalse, "RefNotPermitted")
}

// TestUninjectedNamespace: who has made an object and waits for proxies learns that the
// namespace's pods get none.
func TestUninjectedNamespace(t *testing.T) {
	t.Parallel()
	r := newRig(t).shop()
	namespace := func(labels map[string]string) {
		inventory.Put(r.store, inventory.Ref{Kind: inventory.KindNamespace, Key: inventory.Key{Name: "shop"}}, &inventory.Namespace{Name: "shop", Labels: labels}, time.Now())
	}
	r.store.Delete(inventory.Ref{Kind: inventory.KindPod, Key: inventory.Key{Namespace: "shop", Name: "web-0"}}, time.Now())
	namespace(nil)
	r.start()
	message := func() string { return r.condition("shop/cache", inventory.ConditionProgrammed).Message }
	const want = "no connected proxy is selected: pods that are made while the namespace has the label mesh.dragoman.io/inject=enabled get one"
	r.eventually("the condition names the label", func() bool { return message() == want })
	namespace(map[string]string{mesh.InjectLabel: mesh.InjectEnabled})
	r.eventually("the condition does not name the label any more", func() bool { return message() == "no connected proxy is selected" })
}

// TestConditions follows an object from the first node to a refusal.
func TestConditions(t *testing.T) {
	t.Parallel()
	r := newRig(t).shop().start()
	r.awaitCondition("shop/cache", inventory.ConditionAccepted, inventory.StatusTrue, "Accepted")
	r.awaitCondition("shop/cache", inventory.ConditionResolvedRefs, inventory.StatusTrue, "ResolvedRefs")
	r.awaitCondition("shop/cache", inventory.ConditionProgrammed, inventory.StatusUnknown, "NoProxies")

	good := r.dial("shop", "web-0")
	good.Subscribe(server.ListenerType)
	c := r.awaitCondition("shop/cache", inventory.ConditionProgrammed, inventory.StatusTrue, "Programmed")
	if c.Message != "1 of 1 proxies run it" {
		t.Errorf("message: %q", c.Message)
	}

	r.pod("shop", "web-1", map[string]string{"app": "web"})
	bad := adstest.Dial(t, r.address, adstest.Options{
		Token: "shop web-1", Node: "web-1",
		Refuse: func(*discoveryv3.DeltaDiscoveryResponse) string {
			return "Listener \"shop/cache\": port 6380 is taken\nand \x1b[31mthis is red"
		},
	})
	bad.Subscribe(server.ListenerType)
	c = r.awaitCondition("shop/cache", inventory.ConditionProgrammed, inventory.StatusFalse, "Refused")
	if want := `1 of 2 proxies refused it: Listener "shop/cache": port 6380 is taken; and ?[31mthis is red`; c.Message != want {
		t.Errorf("message: %q, want %q", c.Message, want)
	}
	r.checkNACKed("shop/web-1")
	bad.Close()
	r.awaitCondition("shop/cache", inventory.ConditionProgrammed, inventory.StatusTrue, "Programmed")

	r.pod("shop", "web-2", map[string]string{"app": "web", "mesh.dragoman.io/environment": "qa"})
	lost := r.dial("shop", "web-2")
	lost.Subscribe(server.ListenerType)
	c = r.awaitCondition("shop/cache", inventory.ConditionProgrammed, inventory.StatusFalse, "NoEnvironment")
	if !strings.Contains(c.Message, `there is no environment "qa"`) {
		t.Errorf("message: %q", c.Message)
	}
	r.store.Delete(inventory.Ref{Kind: inventory.KindService, Key: inventory.Key{Namespace: "shop", Name: "redis-prod"}}, time.Now())
	c = r.awaitCondition("shop/cache", inventory.ConditionResolvedRefs, inventory.StatusFalse, "ServiceNotFound")
	if !strings.Contains(c.Message, "environment prod") {
		t.Errorf("message: %q", c.Message)
	}
}

// TestPodsWithoutProxy are shown by the objects that select them, for as long as
// they are there.
func TestPodsWithoutProxy(t *testing.T) {
	t.Parallel()
	r := newRig(t).shop().start()
	injected := r.dial("shop", "web-0")
	injected.Subscribe(server.ListenerType)
	r.awaitCondition("shop/cache", inventory.ConditionProgrammed, inventory.StatusTrue, "Programmed")
	put := func(name string, change func(*inventory.Pod)) {
		p := &inventory.Pod{
			Key: inventory.Key{Namespace: "shop", Name: name}, UID: "uid-" + name,
			Labels: map[string]string{"app": "web"}, Annotations: map[string]string{},
		}
		change(p)
		inventory.Put(r.store, inventory.Ref{Kind: inventory.KindPod, Key: p.Key}, p, time.Now())
	}
	put("bare", func(*inventory.Pod) {})
	put("injected", func(p *inventory.Pod) { p.Annotations[mesh.InjectedAnnotation] = "native" })
	put("opted-out", func(p *inventory.Pod) { p.Labels[mesh.InjectLabel] = mesh.InjectDisabled })
	put("opted-out-too", func(p *inventory.Pod) { p.Annotations[mesh.InjectLabel] = mesh.InjectDisabled })
	put("ended", func(p *inventory.Pod) { p.Exempt = true })
	put("of-others", func(p *inventory.Pod) { p.Labels["app"] = "other" })
	label := func(value string) {
		inventory.Put(r.store, inventory.Ref{Kind: inventory.KindNamespace, Key: inventory.Key{Name: "shop"}},
			&inventory.Namespace{Name: "shop", Labels: map[string]string{mesh.InjectLabel: value}}, time.Now())
	}
	label(mesh.InjectEnabled)
	c := r.awaitCondition("shop/cache", inventory.ConditionProgrammed, inventory.StatusFalse, "PodsWithoutProxy")
	if want := "1 of 1 proxies run it; 1 selected pods have no proxy: bare; "; !strings.HasPrefix(c.Message, want) {
		t.Errorf("message %q, want %q...", c.Message, want)
	}
	r.store.Delete(inventory.Ref{Kind: inventory.KindPod, Key: inventory.Key{Namespace: "shop", Name: "bare"}}, time.Now())
	r.awaitCondition("shop/cache", inventory.ConditionProgrammed, inventory.StatusTrue, "Programmed")
	put("bare", func(*inventory.Pod) {})
	r.awaitCondition("shop/cache", inventory.ConditionProgrammed, inventory.StatusFalse, "PodsWithoutProxy")
	label(mesh.InjectDisabled)
	r.awaitCondition("shop/cache", inventory.ConditionProgrammed, inventory.StatusTrue, "Programmed")
}

func (r *rig) checkNACKed(identity string) {
	r.t.Helper()
	for _, p := range r.engine.Proxies(r.t.Context()) {
		switch {
		case p.Identity != identity:
			if p.State != engine.Synced {
				r.t.Errorf("%s is %s", p.Identity, p.State)
			}
		case p.State != engine.NACKed || len(p.Refusals) != 1 || p.Refusals[0].Resources[0] != "shop/cache":
			r.t.Errorf("%+v", p)
		}
	}
}

// TestConflictingListeners: of two objects that bind to the same place at a node
// the first by name counts.
func TestConflictingListeners(t *testing.T) {
	t.Parallel()
	r := newRig(t).shop()
	r.put(`
apiVersion: mesh.dragoman.io/v1alpha1
kind: Ambassador
metadata: {name: twin, namespace: shop}
spec: {protocol: tcp, listen: {port: 6380}, environments: {dev: {address: "127.0.0.1:1"}}, defaultEnvironment: dev}
`)
	r.pod("shop", "batch-0", map[string]string{"app": "batch"})
	r.start()
	var l listenerv3.Listener
	web, batch := r.dial("shop", "web-0"), r.dial("shop", "batch-0")
	web.Subscribe(server.ListenerType)
	batch.Subscribe(server.ListenerType)
	web.Await(server.ListenerType, "shop/cache", &l)
	batch.Await(server.ListenerType, "shop/twin", &l)
	if names := web.Names(server.ListenerType); len(names) != 1 {
		t.Errorf("web-0 gets %v", names)
	}
	r.eventually("the status says who does not run it", func() bool {
		c := r.condition("shop/twin", inventory.ConditionProgrammed)
		return c.Reason == "ListenConflict" && strings.Contains(c.Message, "1 of 2 proxies run it")
	})
}
