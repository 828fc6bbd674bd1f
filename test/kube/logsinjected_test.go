package kube

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/dragoman-mesh/dragoman/internal/meshtest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// logsAreMounted: the proxy gets the volume that the app writes its logs to, if an Adapter is there that names them, or the pod says so. The
// Adapter's status names what an older pod lacks; one that asks for what it has not is refused.
func logsAreMounted(t *testing.T, c *cluster) {
	c.injects(t)
	ns, dir := c.Namespace(t, "mesh.dragoman.io/inject", "enabled"), t.TempDir()
	c.ServiceAccount(t, ns, "web")
	c.getsProxy(t, ns, "first")
	file := filepath.Join(dir, "app.log")
	c.Apply(t, ns, loggingPod("early", dir, ""))
	early := c.pod(t, ns, "early")
	if m := proxyMount(early, dir); m != nil {
		t.Fatalf("the proxy has a volume that nobody asked for: %+v", m)
	}
	c.Apply(t, ns, fmt.Sprintf(`apiVersion: mesh.dragoman.io/v1alpha1
kind: Adapter
metadata: {name: logs}
spec:
  selector: {matchLabels: {app: web}}
  logs:
    sources: [{name: app, paths: [%s]}]
    sink: {stdout: {}}
`, file))
	c.runInjected(t, early, &early.Spec.InitContainers[0]).Ready("LIVE")
	c.conditionsOf(t, "adapters", ns, "logs", "Programmed=False/LogsNotMounted: 0 of 1", "their pods have no volume for the proxy at "+file, "make pods anew that are older")

	var late *corev1.Pod
	n := 0
	redistest.Eventually(t, limit, "a pod whose proxy has the volume", func() error {
		n++
		name := fmt.Sprintf("late-%d", n)
		c.Apply(t, ns, loggingPod(name, dir, ""))
		if late = c.pod(t, ns, name); proxyMount(late, dir) == nil {
			c.DeletePod(t, late)
			return errors.New("it has not")
		}
		return nil
	})
	if m := proxyMount(late, dir); m.Name != "logs" || !m.ReadOnly {
		t.Errorf("the proxy has %+v", m)
	}
	appendLines(t, file, "one", "two")
	proxy := c.runInjected(t, late, &late.Spec.InitContainers[0])
	proxy.Ready("LIVE")
	c.conditionsOf(t, "adapters", ns, "logs", "Programmed=False/LogsNotMounted: 1 of 2")
	proxy.Eventually("records on standard output", func() error { return meshtest.Holds(string(proxy.Output()), `"body":"one"`, `"body":"two"`) })

	c.Apply(t, ns, loggingPod("asks", "/var/log/of-its-own", ", annotations: {mesh.dragoman.io/log-folders: /var/log/of-its-own/deeper}"))
	if m := proxyMount(c.pod(t, ns, "asks"), "/var/log/of-its-own"); m == nil || !m.ReadOnly {
		t.Errorf("the proxy of the pod that asks has %+v", m)
	}
	_, err := c.TryApply(ns, loggingPod("wrong", dir, ", annotations: {mesh.dragoman.io/log-folders: /var/log/nginx}"))
	if err == nil || !strings.Contains(err.Error(), "/var/log/nginx/*: no container of the pod mounts a volume at /var/log/nginx or above it; mount one there into the app's container") {
		t.Errorf("kubectl shows: %v", err)
	}
}

// loggingPod has an app that writes to a folder on a volume.
func loggingPod(name, dir, metadata string) string {
	return strings.Replace(webPod(name, metadata), `image: "redis:7"}`, fmt.Sprintf(
		`image: "redis:7", volumeMounts: [{name: logs, mountPath: %s}],
      securityContext: {allowPrivilegeEscalation: false, runAsNonRoot: true, capabilities: {drop: [ALL]}, seccompProfile: {type: RuntimeDefault}}}
  volumes: [{name: logs, emptyDir: {}}]`, dir), 1)
}

// proxyMount is what a pod's proxy has at a place; nil: nothing.
func proxyMount(pod *corev1.Pod, place string) *corev1.VolumeMount {
	for i := range pod.Spec.InitContainers[0].VolumeMounts {
		if m := &pod.Spec.InitContainers[0].VolumeMounts[i]; m.MountPath == place {
			return m
		}
	}
	return nil
}
