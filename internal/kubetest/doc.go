// Package kubetest gives tests a real Kubernetes API: a kube-apiserver and its etcd, built of their own sources in test/kubeapi. There is no
// kubelet, scheduler or controller: tests write what those would write, by the same API.
//
// A test package has one suite, whose API server starts when the first test asks for it (3 s, 400 MB) and ends with the test binary:
//
//	var suite kubetest.Suite
//
//	func TestMain(m *testing.M) { os.Exit(suite.Main(m)) }
//
//	func TestEndpointSliceMovesTraffic(t *testing.T) {
//		t.Parallel()
//		api := suite.Server(t)
//		ns := api.Namespace(t)
//		hosts := suite.Addresses(t, 2)                                              // real addresses, on which Redis can listen
//		redis := redistest.Server(t, redistest.WithAddress(hosts[0].String(), 6379))
//		api.Service(t, ns, "redis", 6379)
//		api.EndpointSlice(t, ns, "redis", 6379, hosts[0].String())
//		pod := api.Pod(t, kubetest.PodSpec{Namespace: ns, Name: "web-0", Labels: map[string]string{"app": "web"}})
//		token := api.Token(t, pod)                                                   // bound to the pod, for the audience "dragoman"
//		...
//	}
//
// Tests share the server by namespaces of their own. A test that stops or pauses the API server takes one of its own with Start.
//
// Main runs the test binary in a network namespace of its own, in which 10.200.0.0/16 and fd00:200::/64 are local: the API refuses endpoints
// in 127.0.0.0/8, and no two test binaries can take each other's ports. That needs root or user namespaces; where neither is to be had, tests run all
// the same, and only Addresses fails. There is no way out of the namespace: a test that needs more than this machine belongs in another package.
//
// Nothing is skipped: where the API server is missing, the test fails and says how to get it.
package kubetest
