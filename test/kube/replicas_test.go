package kube

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/dragoman-mesh/dragoman/internal/kubetest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// TestReplicasDie kills the replica that leads, and then the other one, too.
func TestReplicasDie(t *testing.T) {
	t.Parallel()
	c := newCluster(t, kubetest.Start(t))
	a := c.start(t, "controlplane-0", "")
	a.Logs("leading: this replica")
	b := c.start(t, "controlplane-1", "")
	ns, port := c.Namespace(t), redistest.Port(t)
	_, one := world(t, "one")
	_, two := world(t, "two")
	c.Service(t, ns, "redis", 6379)
	c.EndpointSlice(t, ns, "redis", 6379, one)
	document := "dev: {service: {name: redis, port: 6379}}"
	injected := c.Namespace(t, "mesh.dragoman.io/inject", "enabled")
	c.ServiceAccount(t, injected, "web")
	c.injects(t)
	c.Apply(t, ns, ambassador("cache", port, document))
	pod := c.web(t, ns, "web-0")
	proxy := c.proxy(t, pod, t.TempDir(), a, b)
	app := startApp(t, port, "one")
	before := c.conditions(t, ns, "cache", "Programmed=True/Programmed: 1 of 1")
	if _, ok := a.proxies()[ns+"/web-0"]; !ok {
		t.Error("the proxy is not connected to the first control plane named")
	}

	// The proxy goes to the other and misses nothing.
	a.Kill()
	c.asked(t, b)
	c.getsProxy(t, injected, "while-one-is-away")
	c.EndpointSlice(t, ns, "redis", 6379, two)
	app.is("two")
	c.saw(t, pod, "synced")
	proxy.Ready("LIVE")
	// That one leads when the Lease has expired, and says what is new.
	b.Logs("leading: this replica")
	c.Apply(t, ns, ambassador("cache", port, document, "prod: {service: {name: redis, port: 6379}}"))
	s := c.conditions(t, ns, "cache", "Accepted=True", "ResolvedRefs=True", "Programmed=True/Programmed")
	if s.ObservedGeneration != before.ObservedGeneration+1 {
		t.Errorf("generation %d came after %d", s.ObservedGeneration, before.ObservedGeneration)
	}

	// Without any, all goes on.
	b.Kill()
	if _, err := c.TryApply(injected, webPod("while-all-are-away", "")); err == nil || !strings.Contains(err.Error(), "inject.mesh.dragoman.io") {
		t.Errorf("a pod that cannot have its proxy: %v", err)
	}
	proxy.Ready("control plane unreachable since")
	c.EndpointSlice(t, ns, "redis", 6379, one)
	app.is("two")
	app.stop()
	proxy.Stop()
	again := c.launch(t, proxy)
	again.Ready("configuration from disk, control plane unreachable since")
	again.Shows("/metrics", "dragoman_xds_from_disk 1")
	app = startApp(t, port, "two")
	a = c.start(t, "controlplane-2", a.address)
	c.asked(t, a)
	c.getsProxy(t, injected, "afterwards")
	app.is("one")
	again.Shows("/metrics", "dragoman_xds_from_disk 0")
	again.Eventually("/ready to have nothing to say", func() error {
		if _, body := again.Get("/ready"); body != "LIVE\n" {
			return fmt.Errorf("%s", body)
		}
		return nil
	})
	a.Logs("leading: this replica")

	// One that is told to end hands over its proxies and the Lease.
	next := c.start(t, "controlplane-3", b.address)
	if err := a.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	next.Logs("leading: this replica")
	next.Eventually("the proxy to come", func() error {
		if next.proxies()[ns+"/web-0"].State != "synced" {
			return errors.New("it has not")
		}
		return nil
	})
	c.EndpointSlice(t, ns, "redis", 6379, two)
	app.is("two")
	if code := a.ExitCode(); code != 0 {
		t.Errorf("exit code of one that was told to end: %d", code)
	}
	if code, body := again.Get("/ready"); body != "LIVE\n" {
		t.Errorf("/ready: %d %s", code, body)
	}
	c.Apply(t, ns, ambassador("cache", port, document))
	// (What the dead have counted last is forgotten 50 s later.)
	c.conditions(t, ns, "cache", "Accepted=True", "ResolvedRefs=True")
}

// TestAuthorityIsReplaced: the API server is told of a new one at once, and so are
// the proxies of pods that are made from then on. Pods that were made without a
// proxy meanwhile are shown.
func TestAuthorityIsReplaced(t *testing.T) {
	t.Parallel()
	c := newCluster(t, kubetest.Start(t))
	a := c.start(t, "controlplane-0", "")
	ns := c.Namespace(t, "mesh.dragoman.io/inject", "enabled")
	c.ServiceAccount(t, ns, "web")
	c.injects(t)
	c.getsProxy(t, ns, "before")
	c.Apply(t, ns, ambassador("cache", redistest.Port(t), `dev: {address: "127.0.0.1:6379"}`))
	c.conditions(t, ns, "cache", "Programmed=Unknown/NoProxies")
	before := c.ca(t, ns)
	a.Stop()
	c.Kubectl(t, nil, "-n", system, "delete", "secret/dragoman-ca")
	c.Kubectl(t, nil, "patch", "mutatingwebhookconfiguration/dragoman-injector", "--type=json",
		"--patch", `[{"op": "replace", "path": "/webhooks/0/failurePolicy", "value": "Ignore"}]`)
	c.Apply(t, ns, webPod("meanwhile", ""))

	b := c.start(t, "controlplane-1", "")
	c.asked(t, b)
	redistest.Eventually(t, limit, "the new authority to be published", func() error {
		old, err := os.ReadFile(before)
		if err != nil {
			return err
		}
		now, err := os.ReadFile(c.ca(t, ns))
		if err == nil && bytes.Equal(old, now) {
			err = errors.New("it is the old one")
		}
		return err
	})
	c.getsProxy(t, ns, "after")
	c.conditions(t, ns, "cache", "Programmed=False/PodsWithoutProxy", "1 selected pods have no proxy: meanwhile; ")
	if got := b.counter("dragoman_controlplane_pods_without_proxy", `namespace="`+ns+`"`); got != 1 {
		t.Errorf("pods without a proxy: %v", got)
	}
	c.Kubectl(t, nil, "-n", ns, "delete", "pod/meanwhile")
	c.conditions(t, ns, "cache", "Programmed=Unknown/NoProxies")
}
