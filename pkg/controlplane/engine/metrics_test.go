package engine_test

import (
	"strings"
	"testing"
	"time"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"

	metricsv1 "github.com/dragoman-mesh/dragoman/api/dragoman/filters/http/metrics/v1"
	"github.com/dragoman-mesh/dragoman/internal/adstest"
	"github.com/dragoman-mesh/dragoman/pkg/inventory"
	"github.com/dragoman-mesh/dragoman/pkg/xds/server"
)

// TestAdaptersFollowAmbassadors: a source that names an Ambassador asks where that
// listens, wherever that is, and the status of the Adapter says whether there is one.
func TestAdaptersFollowAmbassadors(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.put(`
apiVersion: mesh.dragoman.io/v1alpha1
kind: Adapter
metadata: {name: data, namespace: shop}
spec: {metrics: {listen: {port: 9113}, sources: [{name: queue, redis: {ambassador: {name: queue}}}]}}
`)
	const ambassador = `
apiVersion: mesh.dragoman.io/v1alpha1
kind: Ambassador
metadata: {name: queue, namespace: shop}
spec: {protocol: redis, listen: {port: 6390}, environments: {dev: {shards: [{primary: {address: "127.0.0.1:1"}}]}}, defaultEnvironment: dev}
`
	r.pod("shop", "web-0", map[string]string{"app": "web"})
	r.start()
	const adapter = "Adapter shop/data"
	r.awaitCondition(adapter, inventory.ConditionResolvedRefs, inventory.StatusFalse, "AmbassadorNotFound") // nobody has it translated
	web := r.dial("shop", "web-0")
	web.Subscribe(server.ListenerType)
	r.put(ambassador)
	r.awaitCondition(adapter, inventory.ConditionResolvedRefs, inventory.StatusTrue, "ResolvedRefs")
	awaitSource(web, "127.0.0.1:6390")

	r.put(strings.Replace(ambassador, "{port: 6390}", "{path: /run/queue.sock}", 1))
	awaitSource(web, "/run/queue.sock")

	r.put(strings.Replace(ambassador, "{protocol: redis, listen: {port: 6390}, environments: {dev: {shards: [{primary: {address: \"127.0.0.1:1\"}}]}}",
		"{protocol: tcp, listen: {port: 6390}, environments: {dev: {address: \"127.0.0.1:1\"}}", 1))
	c := r.awaitCondition(adapter, inventory.ConditionResolvedRefs, inventory.StatusFalse, "AmbassadorUnfit")
	if want := "source queue: the Ambassador shop/queue speaks tcp"; !strings.Contains(c.Message, want) {
		t.Errorf("people read %q, not %q", c.Message, want)
	}
	r.put(ambassador)
	awaitSource(web, "127.0.0.1:6390")
	r.store.Delete(objectRef("shop", "queue"), time.Now())
	r.awaitCondition(adapter, inventory.ConditionResolvedRefs, inventory.StatusFalse, "AmbassadorNotFound")
	awaitSource(web, "127.0.0.1:6390") // what ran before stays
}

// awaitSource waits until the Redis source of a listener asks at an address.
func awaitSource(client *adstest.Client, address string) {
	var l listenerv3.Listener
	client.AwaitWhen(server.ListenerType, "shop/data/adapter", &l, func() bool { return sourceAddress(&l) == address })
}

func sourceAddress(l *listenerv3.Listener) string {
	var manager hcmv3.HttpConnectionManager
	var metrics metricsv1.Metrics
	if l.GetFilterChains()[0].GetFilters()[0].GetTypedConfig().UnmarshalTo(&manager) != nil ||
		manager.GetHttpFilters()[0].GetTypedConfig().UnmarshalTo(&metrics) != nil {
		return ""
	}
	return metrics.GetSources()[0].GetRedis().GetAddress()
}
