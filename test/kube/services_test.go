package kube

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/dragoman-mesh/dragoman/internal/kubetest"
	"github.com/dragoman-mesh/dragoman/internal/meshtest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// podsAreShards makes shards of the pods of a headless Service, by their labels.
// The labels turn when an operator fails over.
func podsAreShards(t *testing.T, c *cluster) {
	ns, port := c.Namespace(t), redistest.Port(t)
	c.RunEndpointSliceController(t)
	c.Apply(t, ns, `apiVersion: v1
kind: Service
metadata: {name: sessions}
spec: {clusterIP: None, selector: {app: sessions}, ports: [{name: main, port: 6379}]}
`)
	c.Apply(t, ns, strings.Replace(
		ambassador("cache", port, "dev: {shardsFrom: {service: {name: sessions, port: 6379}, shardLabel: shard, roleLabel: role}}"),
		"  protocol: redis\n", "  protocol: redis\n  redis: {readPolicy: Replica}\n", 1))
	hosts := suite.Addresses(t, 4)
	nodes, pods := map[string]*redistest.Node{}, map[string]*corev1.Pod{}
	for i, name := range []string{"a-0", "a-1", "b-0", "b-1"} {
		role, o := "primary", []redistest.Option{redistest.WithAddress(hosts[i].String(), 6379)}
		if strings.HasSuffix(name, "1") {
			role, o = "replica", append(o, redistest.WithReplicaOf(nodes[name[:1]+"-0"]))
		}
		nodes[name] = redistest.Server(t, o...)
		pods[name] = c.Pod(t, kubetest.PodSpec{
			Namespace: ns, Name: name, Addresses: []netip.Addr{hosts[i]},
			Labels: map[string]string{"app": "sessions", "shard": name[:1], "role": role},
		})
	}
	proxy := c.proxy(t, c.web(t, ns, "web-0"), t.TempDir())
	proxy.Ready("LIVE")
	c.conditions(t, ns, "cache", "ResolvedRefs=True", "Programmed=True")
	client := redistest.Dial(t, local(port))
	wrote := func(primaries ...string) func() error {
		return func() error {
			before := map[string]int{}
			for _, name := range primaries {
				before[name] = nodes[name].Calls("set")
			}
			const keys = 64
			for i := range keys {
				if got := client.Do("SET", key(i), "value"); got != "+OK\r\n" {
					return fmt.Errorf("SET: %q", got)
				}
			}
			sum := 0
			for _, name := range primaries {
				n := nodes[name].Calls("set") - before[name]
				if sum += n; n == 0 {
					_, body := proxy.Get("/clusters")
					return fmt.Errorf("nothing went to %s; the proxy has\n%s", name, body)
				}
			}
			if sum != keys {
				return fmt.Errorf("%d of %d went to %v", sum, keys, primaries)
			}
			return nil
		}
	}
	proxy.Eventually("writes to reach both primaries", wrote("a-0", "b-0"))
	proxy.Eventually("reads to reach the replicas alone", func() error {
		if n := nodes["a-0"].Calls("get") + nodes["b-0"].Calls("get"); n > 0 {
			return fmt.Errorf("%d at primaries", n)
		}
		for i := range 64 {
			if got := client.Do("GET", key(i)); got != bulk("value") {
				return fmt.Errorf("GET: %q", got)
			}
		}
		if nodes["a-1"].Calls("get") == 0 || nodes["b-1"].Calls("get") == 0 {
			return errors.New("a replica was not asked")
		}
		return nil
	})

	nodes["a-1"].Do("REPLICAOF", "NO", "ONE")
	nodes["a-0"].Do("REPLICAOF", hosts[1].String(), "6379")
	c.Label(t, pods["a-0"], "role", "replica")
	c.Label(t, pods["a-1"], "role", "primary")
	proxy.Eventually("writes to reach the new primary", wrote("a-1", "b-0"))
}

// key differs from others early: FNV-1a leaves such as differ at the end side by
// side.
func key(i int) string { return fmt.Sprintf("%d-and-some-more", i) }

// otherServices are one that is only a name, and one whose pods have addresses of
// both families.
func otherServices(t *testing.T, c *cluster) {
	ns, named, dual := c.Namespace(t), redistest.Port(t), redistest.Port(t)
	outside := redistest.Server(t)
	outside.Do("SET", "where", "outside")
	four, six := suite.Addresses(t, 1)[0].String(), suite.Addresses6(t, 1)[0].String()
	worldAt(t, "four", four)
	worldAt(t, "six", six)
	c.Apply(t, ns, fmt.Sprintf(`apiVersion: v1
kind: Service
metadata: {name: outside}
spec: {type: ExternalName, externalName: localhost, ports: [{name: main, port: %d}]}
---
apiVersion: v1
kind: Service
metadata: {name: dual}
spec: {clusterIP: None, ipFamilyPolicy: RequireDualStack, ipFamilies: [IPv6, IPv4], ports: [{name: main, port: 6379}]}
`, outside.Port()))
	for suffix, host := range map[string]string{"ipv4": four, "ipv6": six} {
		c.Apply(t, ns, fmt.Sprintf(`apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: dual-%s, labels: {kubernetes.io/service-name: dual}}
addressType: %s
ports: [{name: main, port: 6379}]
endpoints: [{addresses: ["%s"], conditions: {ready: true}, targetRef: {kind: Pod, name: redis-0, namespace: %s}}]
`, suffix, "IPv"+suffix[3:], host, ns))
	}
	c.Apply(t, ns, ambassador("named", named, fmt.Sprintf("dev: {service: {name: outside, port: %d}}", outside.Port())))
	c.Apply(t, ns, ambassador("dual", dual, "dev: {service: {name: dual, port: 6379}}"))
	proxy := c.proxy(t, c.web(t, ns, "web-0"), t.TempDir())
	proxy.Ready("LIVE")
	startApp(t, named, "outside")
	app := startApp(t, dual, "six")
	_, body := proxy.Get("/clusters")
	if err := meshtest.Holds(body, "["+six+"]:6379"); err != nil || meshtest.Holds(body, four+":") == nil {
		t.Errorf("a pod is not one endpoint, with the Service's first family: %v\n%s", err, body)
	}
	c.EndpointSlice(t, ns, "dual", 6379, four)
	c.Apply(t, ns, `apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: dual-ipv6, labels: {kubernetes.io/service-name: dual}}
addressType: IPv6
ports: [{name: main, port: 6379}]
endpoints: []
`)
	app.is("four")
}
