package kube

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/dragoman-mesh/dragoman/internal/kubetest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// leaderMoves lets three pods hold a Lease in turn: the app is served by the one
// that leads, by nobody while none does, and the status says why.
func leaderMoves(t *testing.T, c *cluster) {
	ns, port := c.Namespace(t), redistest.Port(t)
	c.Apply(t, ns, ambassador("cache", port, "dev: {leader: {election: cache, port: 6379}}"))
	for _, name := range []string{"one", "two", "three"} {
		_, host := world(t, name)
		c.Pod(t, kubetest.PodSpec{Namespace: ns, Name: name, Addresses: []netip.Addr{netip.MustParseAddr(host)}})
	}
	renew := func(holder string, seconds int) { c.lease(t, ns, "cache", holder, seconds) }
	c.conditions(t, ns, "cache", "ResolvedRefs=False/LeaseNotFound", "there is no Lease "+ns+"/cache")
	renew("one", 3600)
	proxy := c.proxy(t, c.web(t, ns, "web-0"), t.TempDir())
	proxy.Ready("LIVE")
	app := startApp(t, port, "one")
	for _, to := range []string{"two", "three", "one"} {
		renew(to, 3600)
		app.is(to)
	}
	app.stop()
	client := redistest.Dial(t, local(port))
	for _, fails := range []struct {
		holder  string
		seconds int
		words   string
	}{
		{"", 1, "has no holder"},
		{"somebody", 3600, "held by somebody, which is no pod"},
		{"two", 1, "has expired: two"},
	} {
		renew(fails.holder, fails.seconds)
		c.conditions(t, ns, "cache", "ResolvedRefs=True", fails.words)
		proxy.Eventually("nobody to serve", func() error {
			if got := client.Do("GET", "where"); got[0] != '-' {
				return fmt.Errorf("%q", got)
			}
			return nil
		})
	}
	renew("three", 3600)
	startApp(t, port, "three").stop()
}

// lease renews one in the name of its holder.
func (c *cluster) lease(t *testing.T, namespace, name, holder string, seconds int) {
	t.Helper()
	c.Apply(t, namespace, fmt.Sprintf(`apiVersion: coordination.k8s.io/v1
kind: Lease
metadata: {name: %s}
spec: {holderIdentity: %q, leaseDurationSeconds: %d, renewTime: %q}
`, name, holder, seconds, time.Now().UTC().Format(metav1.RFC3339Micro)))
}
