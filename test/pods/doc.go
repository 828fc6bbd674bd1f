// Package pods runs pods for real, as the API server stores them after injection, with podman (see internal/podtest): the control plane by its own
// manifests, and the examples of examples/kubernetes and manifests with nothing changed. What a user sees of them is tested here; what the
// control plane does is tested by test/kube.
package pods
