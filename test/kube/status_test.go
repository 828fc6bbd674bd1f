package kube

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/internal/meshtest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// statusSays is what people see of an object from its first day on.
func statusSays(t *testing.T, c *cluster) {
	ns, data, port := c.Namespace(t), c.Namespace(t), redistest.Port(t)
	_, host := world(t, "dev")
	_, foreign := world(t, "data")
	document := ambassador("cache", port, "dev: {service: {name: redis, port: 6379}}",
		"prod: {service: {name: redis, namespace: "+data+", port: 6379}}")

	// The API server itself refuses what can be seen at a glance.
	for what, bad := range map[string]string{
		"at most one": strings.Replace(document, "dev: {service", "dev: {address: \"a:1\", service", 1),
		"protocol":    strings.Replace(document, "protocol: redis", "protocol: radish", 1),
	} {
		if _, err := c.TryApply(ns, bad); err == nil || !strings.Contains(err.Error(), "Invalid value") && !strings.Contains(err.Error(), "Unsupported value") {
			t.Errorf("%s: %v", what, err)
		}
	}

	// What it cannot see is in the conditions.
	c.Apply(t, ns, document)
	c.conditions(t, ns, "cache", "Accepted=True/Accepted", "ResolvedRefs=False/ServiceNotFound: environment dev",
		"Programmed=Unknown/NoProxies")
	c.Service(t, ns, "redis", 6379)
	c.EndpointSlice(t, ns, "redis", 6379, host)
	c.conditions(t, ns, "cache", "ResolvedRefs=False/ServiceNotFound: environment prod")
	service := "apiVersion: v1\nkind: Service\nmetadata: {name: redis, annotations: {%s}}\nspec: {ports: [{name: main, port: 6379}]}\n"
	c.Apply(t, data, fmt.Sprintf(service, ""))
	c.EndpointSlice(t, data, "redis", 6379, foreign)
	c.conditions(t, ns, "cache", "ResolvedRefs=False/RefNotPermitted: environment prod", "mesh.dragoman.io/allow-from")

	first := c.web(t, ns, "web-0")
	proxy := c.proxy(t, first, t.TempDir())
	proxy.Ready("LIVE")
	startApp(t, port, "dev").stop()
	c.conditions(t, ns, "cache", "Programmed=True/Programmed: 1 of 1")

	// One that is in prod gets nothing until it may.
	const label = "mesh.dragoman.io/environment"
	second := c.web(t, ns, "web-1", label, "prod")
	c.proxy(t, second, t.TempDir())
	c.conditions(t, ns, "cache", "ResolvedRefs=False/RefNotPermitted: environment prod", "Programmed=False/", "1 of 2")
	c.DeletePod(t, second)
	c.Label(t, first, label, "prod")
	c.conditions(t, ns, "cache", "ResolvedRefs=False/RefNotPermitted")
	c.Apply(t, data, fmt.Sprintf(service, "mesh.dragoman.io/allow-from: \"another, "+ns+"\""))
	startApp(t, port, "data")
	s := c.conditions(t, ns, "cache", "Accepted=True", "ResolvedRefs=True/ResolvedRefs", "Programmed=True/Programmed: 1 of 1")
	if s.Proxies.Connected != 1 || s.Proxies.Running != 1 || s.Proxies.Refused != 0 {
		t.Errorf("proxies: %+v", s.Proxies)
	}

	// A change is a new generation, and conditions say which they are of.
	c.Apply(t, ns, strings.Replace(document, "  defaultEnvironment", "  drainDeadline: 5s\n  defaultEnvironment", 1))
	next := c.conditions(t, ns, "cache", "Programmed=True/Programmed: 1 of 1")
	if next.ObservedGeneration != s.ObservedGeneration+1 {
		t.Errorf("generation %d came after %d", next.ObservedGeneration, s.ObservedGeneration)
	}
	for _, one := range next.Conditions {
		if one.ObservedGeneration != next.ObservedGeneration {
			t.Errorf("%s is of generation %d", one.Type, one.ObservedGeneration)
		}
	}
	got := strings.Fields(strings.Split(c.Kubectl(t, nil, "-n", ns, "get", "ambassadors"), "\n")[1])
	want := []string{"cache", "redis", strconv.Itoa(port), "True", "True", "1", "1", "0"}
	if diff := cmp.Diff(want, got[:len(want)]); diff != "" {
		t.Errorf("kubectl get ambassadors (-want +got):\n%s", diff)
	}
	if err := meshtest.Holds(c.Kubectl(t, nil, "-n", ns, "describe", "amb", "cache"), "1 of 1 connected proxies run it", "Observed Generation"); err != nil {
		t.Error(err)
	}
}

// badOneIsRefused moves a listener to a port that is taken in the pod: the proxy
// refuses it and says why, and runs on as it was.
func badOneIsRefused(t *testing.T, c *cluster) {
	ns, port := c.Namespace(t), redistest.Port(t)
	_, one := world(t, "one")
	_, two := world(t, "two")
	bad := redistest.Port(t)
	taken, err := net.Listen("tcp", local(bad))
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	c.Service(t, ns, "redis", 6379)
	c.EndpointSlice(t, ns, "redis", 6379, one)
	document := func(port int) string {
		return ambassador("cache", port, "dev: {service: {name: redis, port: 6379}}")
	}
	c.Apply(t, ns, document(port))
	pod := c.web(t, ns, "web-0")
	proxy := c.proxy(t, pod, t.TempDir())
	proxy.Ready("LIVE")
	app := startApp(t, port, "one")

	c.Apply(t, ns, document(bad))
	s := c.conditions(t, ns, "cache", "Accepted=True", "Programmed=False/Refused", "0 of 1", "address already in use")
	if s.Proxies.Refused != 1 {
		t.Errorf("proxies: %+v", s.Proxies)
	}
	c.saw(t, pod, "nacked")
	out := says(t, "controlplane", "proxies", "--admin-address", c.replicas[0].Admin) +
		says(t, "controlplane", "proxies", "--admin-address", c.replicas[1].Admin)
	if err := meshtest.Holds(out, "nacked", ns+"/web-0: refused Listener "+ns+"/cache:", "address already in use"); err != nil {
		t.Error(err)
	}
	proxy.Eventually("the proxy to say so", func() error { // except while it tries again
		return meshtest.Holds(says(t, "proxy", "status", "--admin-address", proxy.Admin), "Listener "+ns+"/cache: refused", "the one before runs on", "address already in use")
	})
	c.EndpointSlice(t, ns, "redis", 6379, two) // what else changes is taken
	app.is("two")
	app.stop()

	_ = taken.Close()
	c.conditions(t, ns, "cache", "Programmed=True/Programmed: 1 of 1")
	startApp(t, bad, "two")
	c.saw(t, pod, "synced")
}
