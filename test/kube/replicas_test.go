package kube

import (
	"errors"
	"fmt"
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
	a.logs("leading: this replica")
	b := c.start(t, "controlplane-1", "")
	ns, port := c.Namespace(t), redistest.Port(t)
	_, one := world(t, "one")
	_, two := world(t, "two")
	c.Service(t, ns, "redis", 6379)
	c.EndpointSlice(t, ns, "redis", 6379, one)
	document := "dev: {service: {name: redis, port: 6379}}"
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
	c.EndpointSlice(t, ns, "redis", 6379, two)
	app.is("two")
	c.saw(t, pod, "synced")
	proxy.ready("LIVE")
	// That one leads when the Lease has expired, and says what is new.
	b.logs("leading: this replica")
	c.Apply(t, ns, ambassador("cache", port, document, "prod: {service: {name: redis, port: 6379}}"))
	s := c.conditions(t, ns, "cache", "Accepted=True", "ResolvedRefs=True", "Programmed=True/Programmed")
	if s.ObservedGeneration != before.ObservedGeneration+1 {
		t.Errorf("generation %d came after %d", s.ObservedGeneration, before.ObservedGeneration)
	}

	// Without any, all goes on.
	b.Kill()
	proxy.ready("control plane unreachable since")
	c.EndpointSlice(t, ns, "redis", 6379, one)
	app.is("two")
	app.stop()
	proxy.stop()
	again := c.launch(t, proxy)
	again.ready("configuration from disk, control plane unreachable since")
	again.shows("/metrics", "dragoman_xds_from_disk 1")
	app = startApp(t, port, "two")
	a = c.start(t, "controlplane-2", a.address)
	app.is("one")
	again.shows("/metrics", "dragoman_xds_from_disk 0")
	again.eventually("/ready to have nothing to say", func() error {
		if _, body := again.get("/ready"); body != "LIVE\n" {
			return fmt.Errorf("%s", body)
		}
		return nil
	})
	a.logs("leading: this replica")

	// One that is told to end hands over its proxies and the Lease.
	next := c.start(t, "controlplane-3", b.address)
	if err := a.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	next.logs("leading: this replica")
	next.eventually("the proxy to come", func() error {
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
	if code, body := again.get("/ready"); body != "LIVE\n" {
		t.Errorf("/ready: %d %s", code, body)
	}
	c.Apply(t, ns, ambassador("cache", port, document))
	// (What the dead have counted last is forgotten 50 s later.)
	c.conditions(t, ns, "cache", "Accepted=True", "ResolvedRefs=True")
}
