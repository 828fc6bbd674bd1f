package kube

import (
	"testing"

	"github.com/dragoman-mesh/dragoman/internal/meshtest"
)

// adapters are what the language has them for: one for metrics, one for an API.
const adapters = `
apiVersion: mesh.dragoman.io/v1alpha1
kind: Adapter
metadata: {name: nginx-metrics}
spec:
  metrics:
    listen: {port: 9113, path: /metrics}
    sources:
    - {name: nginx, nginxStubStatus: {uri: "http://localhost/nginx_status"}}
    - {name: app, statsd: {udp: 9125, tcp: 9125, mappingFile: /etc/dragoman/statsd.yaml}}
    limits: {seriesPerSource: 10000}
---
apiVersion: mesh.dragoman.io/v1alpha1
kind: Adapter
metadata: {name: cache}
spec:
  api:
    listen: {port: 8081}
    upstream: {address: "127.0.0.1:8080"}
    routes:
    - match: {method: POST, path: "/v2/orders/{id}"}
      request:
        path: "/soap/orders"
        schema: {type: object, required: [sku]}
        body: {from: json, to: soap, values: {id: "{id}"}, map: {move: {id: OrderId}, each: {items: {move: {sku: Sku}}}}, soap: {operation: Order}}
      response: {body: {from: soap, to: json, map: {move: {OrderId: id}}}}
`

// adaptersAreAccepted: those of metrics and of APIs are served, also beside an
// Ambassador of the same name.
func adaptersAreAccepted(t *testing.T, c *cluster) {
	ns := c.Namespace(t)
	c.Apply(t, ns, adapters)
	c.Apply(t, ns, ambassador("cache", 6380, `dev: {address: "127.0.0.1:6379"}`))
	c.conditionsOf(t, "adapters", ns, "nginx-metrics", "Accepted=True/Accepted", "ResolvedRefs=True/ResolvedRefs", "Programmed=Unknown/NoProxies")
	c.conditionsOf(t, "adapters", ns, "cache",
		"Accepted=True/Accepted", "ResolvedRefs=True/ResolvedRefs", "Programmed=Unknown/NoProxies")
	c.conditions(t, ns, "cache", "Accepted=True/Accepted", "Programmed=Unknown/NoProxies")
	if err := meshtest.Holds(c.Kubectl(t, nil, "-n", ns, "get", "adapters"), "ACCEPTED", "REASON", "nginx-metrics", "True", "cache"); err != nil {
		t.Error(err)
	}
}
