package kube

import (
	"testing"
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
      request:  {path: "/soap/orders", body: {from: json, to: soap, map: {move: {id: OrderId}}}}
      response: {body: {from: soap, to: json, map: {move: {OrderId: id}}}}
`

// adaptersAreAccepted: one of metrics is served, one of an API is not, as its
// status says, also beside an Ambassador of the same name.
func adaptersAreAccepted(t *testing.T, c *cluster) {
	ns := c.Namespace(t)
	c.Apply(t, ns, adapters)
	c.Apply(t, ns, ambassador("cache", 6380, `dev: {address: "127.0.0.1:6379"}`))
	const why = "this version does not run Adapters of an API yet"
	c.conditionsOf(t, "adapters", ns, "nginx-metrics", "Accepted=True/Accepted", "ResolvedRefs=True/ResolvedRefs", "Programmed=Unknown/NoProxies")
	c.conditionsOf(t, "adapters", ns, "cache",
		"Accepted=False/NotSupported: "+why, "ResolvedRefs=Unknown/NotSupported: "+why, "Programmed=False/NotSupported: "+why)
	c.conditions(t, ns, "cache", "Accepted=True/Accepted", "Programmed=Unknown/NoProxies")
	if err := holds(c.Kubectl(t, nil, "-n", ns, "get", "adapters"), "ACCEPTED", "REASON", "nginx-metrics", "True", "NotSupported"); err != nil {
		t.Error(err)
	}
}
