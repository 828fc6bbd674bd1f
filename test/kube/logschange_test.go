package kube

import (
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

// logsComeAndGo gives a connected proxy that was given nothing an Adapter of logs; has it send elsewhere what another file has, too; deletes it, and makes it
// again. Each line comes once, to the receiver of the Adapter that is there then.
func logsComeAndGo(t *testing.T, c *cluster) {
	ns, dir := c.Namespace(t, "mesh.dragoman.io/inject", "enabled"), t.TempDir() // which has the authority, then
	one, first := startLoki(t)
	two, second := startLoki(t)
	log, other := filepath.Join(dir, "app.log"), filepath.Join(dir, "other.log")
	adapter := func(host, job, paths string) string {
		return fmt.Sprintf(`apiVersion: mesh.dragoman.io/v1alpha1
kind: Adapter
metadata: {name: logs}
spec:
  selector: {matchLabels: {app: web}}
  logs:
    positions: %s/positions
    sources: [{name: app, paths: [%s]}]
    batch: {interval: 50ms}
    sink: {loki: {address: "%s:%d", labels: {job: %s}, labelsFrom: [k8s.pod.name]}}
`, dir, paths, host, lokiPort, job)
	}
	pod := c.web(t, ns, "web-0", "mesh.dragoman.io/inject", "disabled")
	proxy := c.proxy(t, pod, t.TempDir())
	proxy.Ready("LIVE")
	appendLines(t, log, "from before")
	made := c.Apply(t, ns, adapter(first, "v1", log))[0]
	one.has(t, proxy, "v1 web-0 from before")
	c.conditionsOf(t, "adapters", ns, "logs", "Programmed=True/Programmed: 1 of 1")

	c.Apply(t, ns, adapter(second, "v2", log+", "+other))
	c.conditionsOf(t, "adapters", ns, "logs", "Programmed=True/Programmed: 1 of 1")
	appendLines(t, log, "changed")
	appendLines(t, other, "new")
	two.has(t, proxy, "v2 web-0 changed", "v2 web-0 new")
	one.has(t, proxy, "v1 web-0 from before")

	c.Delete(t, made)
	proxy.Eventually("the adapter to be gone", func() error {
		if code, body := proxy.Get("/stats/prometheus"); code != http.StatusOK || strings.Contains(body, `dragoman_logs_lag_bytes{adapter="`) {
			return errors.New("it still runs")
		}
		return nil
	})
	appendLines(t, log, "meanwhile")
	c.Apply(t, ns, adapter(first, "v3", log))
	one.has(t, proxy, "v1 web-0 from before", "v3 web-0 meanwhile")
	two.has(t, proxy, "v2 web-0 changed", "v2 web-0 new")
}
