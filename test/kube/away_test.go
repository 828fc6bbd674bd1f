package kube

import (
	"net/netip"
	"os"
	"testing"
	"time"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/dragoman-mesh/dragoman/internal/adstest"
	"github.com/dragoman-mesh/dragoman/internal/kubetest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// TestAPIServerAway takes the API server away for a minute, first silently, then
// with its connections broken. Apps and proxies notice nothing, and a leader that
// cannot renew its Lease is not taken for one that does not; the control plane lets
// in whom it knows, and nobody else; what was missed is there soon after.
func TestAPIServerAway(t *testing.T) {
	t.Parallel()
	c := newCluster(t, kubetest.Start(t))
	plane := c.start(t, "controlplane-0", "")
	ns, port := c.Namespace(t), redistest.Port(t)
	_, one := world(t, "one")
	_, two := world(t, "two")
	c.Service(t, ns, "redis", 6379)
	c.EndpointSlice(t, ns, "redis", 6379, one)
	document := "dev: {service: {name: redis, port: 6379}}"
	c.Apply(t, ns, ambassador("cache", port, document))
	pod := c.web(t, ns, "web-0")
	proxy := c.proxy(t, pod, t.TempDir())
	app := startApp(t, port, "one")
	c.conditions(t, ns, "cache", "Programmed=True/Programmed: 1 of 1")
	ca, err := os.ReadFile(c.ca(t, ns))
	if err != nil {
		t.Fatal(err)
	}
	open := func(token string) *adstest.Client {
		client := adstest.Dial(t, plane.address, adstest.Options{CA: ca, Token: token, Node: "web-1." + ns})
		client.Subscribe(resource.ListenerType)
		return client
	}
	getsIn := func(token string) {
		t.Helper()
		client := open(token)
		var l listenerv3.Listener
		client.Await(resource.ListenerType, ns+"/cache", &l)
		client.Close()
	}
	known, unknown := c.Token(t, c.web(t, ns, "web-1")), c.Token(t, c.web(t, ns, "web-2"))
	getsIn(known)
	led := redistest.Port(t)
	c.Pod(t, kubetest.PodSpec{Namespace: ns, Name: "one", Addresses: []netip.Addr{netip.MustParseAddr(one)}})
	c.lease(t, ns, "elect", "one", 3600)
	c.Apply(t, ns, ambassador("led", led, "dev: {leader: {election: elect, port: 6379}}"))
	follower := startApp(t, led, "one")
	c.lease(t, ns, "elect", "one", 5)

	const away = time.Minute
	began := time.Now()
	tick := time.NewTicker(3 * time.Second)
	defer tick.Stop()
	meanwhile := func(until time.Duration) {
		t.Helper()
		for time.Since(began) < until {
			getsIn(known)
			app.is("one")
			follower.is("one")
			<-tick.C
		}
		if err := open(unknown).AwaitEnd(); status.Code(err) != codes.Unavailable {
			t.Errorf("a token that was never reviewed: %v", err)
		}
	}
	c.Pause()
	meanwhile(away / 2)
	c.Stop()
	meanwhile(away / 2)
	// A proxy that starts now is served as if nothing were the matter.
	app.stop()
	follower.stop()
	proxy.Stop()
	again := c.launch(t, proxy)
	again.Ready("LIVE")
	app, follower = startApp(t, port, "one"), startApp(t, led, "one")
	if _, body := again.Get("/ready"); body != "LIVE\n" {
		t.Errorf("the proxy is not served by the control plane: %s", body)
	}
	meanwhile(away)
	plane.Shows("/ready", "LIVE")
	plane.Logs("cannot watch; what is known stays in use", "leading no more")
	if n := plane.counter("dragoman_controlplane_refused_credentials_total", "review_unavailable"); n < 2 {
		t.Errorf("%v tokens that could not be reviewed are counted", n)
	}

	follower.stop()
	c.Restart(t)
	back := time.Now()
	c.EndpointSlice(t, ns, "redis", 6379, two)
	app.is("two")
	t.Logf("caught up %v after the API server was back", time.Since(back).Round(time.Millisecond))
	getsIn(unknown)
	c.Apply(t, ns, ambassador("cache", port, document, "prod: {service: {name: redis, port: 6379}}"))
	c.conditions(t, ns, "cache", "Programmed=True/Programmed: 1 of 1")
	plane.Logs("watching again")
	// Now it could renew, and does not.
	c.conditions(t, ns, "led", "ResolvedRefs=True", "has expired: one")
}
