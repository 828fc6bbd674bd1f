// Package podtest runs pods for real: what the API server has stored is run by podman, as the kubelet would run it. Podman makes the containers of
// images that were built FROM scratch on this machine, by runc, with the pod's users, capabilities, read-only roots, memory limits, variables and
// volumes, in a network namespace that the containers of a pod share. There is no registry and no way out of the machine.
//
// What the kubelet does beside a container runtime is in this package, and kept to what its documentation says: init containers one after the
// other; those that stay (restartPolicy: Always) are started, and the next waits for their startup probe; then the containers, each after the
// postStart of the one before; restarts by policy; and at the end SIGTERM to the containers, then to the sidecars in reverse order, and SIGKILL when the
// grace period is over. Liveness and readiness probes are not. A container that is restarted keeps its root file system, which does not matter to
// images whose root is read-only.
//
// Each pod has an address of 10.201.0.0/16, by a bridge in the network namespace of the tests, where the node is 10.201.0.1: the servers of the tests are
// reachable, and the pod is from the tests. Names of Services are in the pod's /etc/hosts, since no DNS runs.
//
// It needs root, podman and runc (hack/install-test-servers.sh), and a test binary with a network and processes of its own: kubetest.Suite with Processes.
package podtest
