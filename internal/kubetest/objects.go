package kubetest

import (
	"context"
	"maps"
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Namespace makes a namespace of the test's own and returns its name. Labels are pairs of key and value.
func (s *Server) Namespace(tb TB, labels ...string) string {
	tb.Helper()
	ctx, cancel := call()
	defer cancel()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-", Labels: pairs(tb, labels)}}
	made, err := s.client.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{})
	if err != nil {
		tb.Fatalf("making a namespace: %v", err)
	}
	return made.Name
}

// ServiceAccount makes a service account, if there is none of that name, and returns it.
func (s *Server) ServiceAccount(tb TB, namespace, name string) *corev1.ServiceAccount {
	tb.Helper()
	ctx, cancel := call()
	defer cancel()
	accounts := s.client.CoreV1().ServiceAccounts(namespace)
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	made, err := accounts.Create(ctx, account, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		made, err = accounts.Get(ctx, name, metav1.GetOptions{})
	}
	if err != nil {
		tb.Fatalf("making the service account %s/%s: %v", namespace, name, err)
	}
	return made
}

// Node makes a node in a zone, or in none, if there is no node of that name, and returns it. Nodes have no namespace: a test that wants a zone
// needs a name of its own.
func (s *Server) Node(tb TB, name, zone string) *corev1.Node {
	tb.Helper()
	ctx, cancel := call()
	defer cancel()
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if zone != "" {
		node.Labels = map[string]string{corev1.LabelTopologyZone: zone}
	}
	nodes := s.client.CoreV1().Nodes()
	made, err := nodes.Create(ctx, node, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		made, err = nodes.Get(ctx, name, metav1.GetOptions{})
	}
	if err != nil {
		tb.Fatalf("making the node %s: %v", name, err)
	}
	return made
}

// PodSpec is what a test wants of a pod.
type PodSpec struct {
	Namespace, Name     string
	Labels, Annotations map[string]string
	// ServiceAccount is made when it is missing; empty is "default".
	ServiceAccount string
	// Node may be one that is not there, as soon after it was removed. Empty is one named "node", which is.
	Node string
	// Addresses are the pod's, of one or both families; none is a pod that has none yet.
	Addresses []netip.Addr
	// NotReady leaves the condition Ready false.
	NotReady bool
}

// Pod makes a pod that runs, as its status says: no kubelet is there to run anything.
func (s *Server) Pod(tb TB, spec PodSpec) *corev1.Pod {
	tb.Helper()
	if spec.ServiceAccount == "" {
		spec.ServiceAccount = "default"
	}
	if spec.Node == "" {
		spec.Node = s.Node(tb, "node", "").Name
	}
	s.ServiceAccount(tb, spec.Namespace, spec.ServiceAccount)
	ctx, cancel := call()
	defer cancel()
	pods := s.client.CoreV1().Pods(spec.Namespace)
	pod, err := pods.Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: spec.Namespace, Name: spec.Name, Labels: spec.Labels, Annotations: spec.Annotations},
		Spec: corev1.PodSpec{
			ServiceAccountName: spec.ServiceAccount,
			NodeName:           spec.Node,
			Containers:         []corev1.Container{{Name: "app", Image: "app"}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		tb.Fatalf("making the pod %s/%s: %v", spec.Namespace, spec.Name, err)
	}
	pod.Status = podStatus(spec)
	if pod, err = pods.UpdateStatus(ctx, pod, metav1.UpdateOptions{}); err != nil {
		tb.Fatalf("setting the status of the pod %s/%s: %v", spec.Namespace, spec.Name, err)
	}
	return pod
}

func podStatus(spec PodSpec) corev1.PodStatus {
	ready := corev1.ConditionTrue
	if spec.NotReady {
		ready = corev1.ConditionFalse
	}
	status := corev1.PodStatus{
		Phase:      corev1.PodRunning,
		Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: ready}, {Type: corev1.ContainersReady, Status: ready}},
	}
	for i, address := range spec.Addresses {
		if i == 0 {
			status.PodIP = address.String()
		}
		status.PodIPs = append(status.PodIPs, corev1.PodIP{IP: address.String()})
	}
	return status
}

// DeletePod deletes a pod at once, as the kubelet does when its containers have ended.
func (s *Server) DeletePod(tb TB, pod *corev1.Pod) {
	tb.Helper()
	ctx, cancel := call()
	defer cancel()
	if err := s.client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, *metav1.NewDeleteOptions(0)); err != nil {
		tb.Fatalf("deleting the pod %s/%s: %v", pod.Namespace, pod.Name, err)
	}
}

// Label sets labels of a pod, pairs of key and value; an empty value removes one.
func (s *Server) Label(tb TB, pod *corev1.Pod, labels ...string) *corev1.Pod {
	tb.Helper()
	var changed *corev1.Pod
	retryOnConflict(tb, "labelling the pod "+pod.Namespace+"/"+pod.Name, func(ctx context.Context) error {
		pods := s.client.CoreV1().Pods(pod.Namespace)
		current, err := pods.Get(ctx, pod.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		current.Labels = merged(current.Labels, pairs(tb, labels))
		changed, err = pods.Update(ctx, current, metav1.UpdateOptions{})
		return err
	})
	return changed
}

// LabelNamespace is Label for a namespace.
func (s *Server) LabelNamespace(tb TB, name string, labels ...string) {
	tb.Helper()
	retryOnConflict(tb, "labelling the namespace "+name, func(ctx context.Context) error {
		namespaces := s.client.CoreV1().Namespaces()
		current, err := namespaces.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		current.Labels = merged(current.Labels, pairs(tb, labels))
		_, err = namespaces.Update(ctx, current, metav1.UpdateOptions{})
		return err
	})
}

// Service makes a Service of type ClusterIP without a selector, with one port of the same name as the slices of EndpointSlice have.
func (s *Server) Service(tb TB, namespace, name string, port int32) *corev1.Service {
	tb.Helper()
	ctx, cancel := call()
	defer cancel()
	made, err := s.client.CoreV1().Services(namespace).Create(ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "main", Port: port}}},
	}, metav1.CreateOptions{})
	if err != nil {
		tb.Fatalf("making the Service %s/%s: %v", namespace, name, err)
	}
	return made
}

// EndpointSlice makes or replaces the slice of a Service that holds these addresses, all of one family and ready, at one port; no address
// leaves it empty. A Service has one such slice for each family.
func (s *Server) EndpointSlice(tb TB, namespace, service string, port int32, addresses ...string) *discoveryv1.EndpointSlice {
	tb.Helper()
	family, suffix := discoveryv1.AddressTypeIPv4, "-ipv4"
	endpoints := make([]discoveryv1.Endpoint, 0, len(addresses))
	for _, address := range addresses {
		if strings.Contains(address, ":") {
			family, suffix = discoveryv1.AddressTypeIPv6, "-ipv6"
		}
		endpoints = append(endpoints, discoveryv1.Endpoint{
			Addresses:  []string{address},
			Conditions: discoveryv1.EndpointConditions{Ready: new(true), Serving: new(true), Terminating: new(false)},
		})
	}
	return s.PutEndpointSlice(tb, &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace,
			Name:      service + suffix,
			Labels:    map[string]string{discoveryv1.LabelServiceName: service, discoveryv1.LabelManagedBy: "kubetest"},
		},
		AddressType: family,
		Endpoints:   endpoints,
		Ports:       []discoveryv1.EndpointPort{{Name: new("main"), Port: &port, Protocol: new(corev1.ProtocolTCP)}},
	})
}

// PutEndpointSlice makes a slice, or replaces the one of that name, also when somebody has changed it since it was read.
func (s *Server) PutEndpointSlice(tb TB, slice *discoveryv1.EndpointSlice) *discoveryv1.EndpointSlice {
	tb.Helper()
	ctx, cancel := call()
	defer cancel()
	slice = slice.DeepCopy()
	slice.ResourceVersion, slice.UID = "", ""
	slices := s.client.DiscoveryV1().EndpointSlices(slice.Namespace)
	put, err := slices.Create(ctx, slice, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		put, err = slices.Update(ctx, slice, metav1.UpdateOptions{})
	}
	if err != nil {
		tb.Fatalf("putting the EndpointSlice %s/%s: %v", slice.Namespace, slice.Name, err)
	}
	return put
}

// Secret makes or replaces a Secret.
func (s *Server) Secret(tb TB, namespace, name string, data map[string]string) *corev1.Secret {
	tb.Helper()
	ctx, cancel := call()
	defer cancel()
	secrets := s.client.CoreV1().Secrets(namespace)
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, StringData: data}
	put, err := secrets.Create(ctx, secret, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		secret.Data, secret.StringData = make(map[string][]byte, len(data)), nil
		for key, value := range data {
			secret.Data[key] = []byte(value)
		}
		put, err = secrets.Update(ctx, secret, metav1.UpdateOptions{})
	}
	if err != nil {
		tb.Fatalf("putting the Secret %s/%s: %v", namespace, name, err)
	}
	return put
}

// retryOnConflict calls change, which reads and writes, until nobody else has written in between.
func retryOnConflict(tb TB, what string, change func(ctx context.Context) error) {
	tb.Helper()
	err := poll(callLimit, func(ctx context.Context) (bool, error) {
		err := change(ctx)
		if apierrors.IsConflict(err) {
			return false, nil
		}
		return err == nil, err
	})
	if err != nil {
		tb.Fatalf("%s: %v", what, err)
	}
}

// pairs makes a map of alternating keys and values.
func pairs(tb TB, keyValues []string) map[string]string {
	tb.Helper()
	if len(keyValues)%2 != 0 {
		tb.Fatalf("%q: a key without a value", keyValues)
	}
	m := make(map[string]string, len(keyValues)/2)
	for i := 0; i < len(keyValues); i += 2 {
		m[keyValues[i]] = keyValues[i+1]
	}
	return m
}

// merged returns base with the changes made; an empty value removes a key.
func merged(base, changes map[string]string) map[string]string {
	m := make(map[string]string, len(base)+len(changes))
	maps.Copy(m, base)
	maps.Copy(m, changes)
	maps.DeleteFunc(m, func(_, value string) bool { return value == "" })
	return m
}
