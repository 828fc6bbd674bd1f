package webhook

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/dragoman-mesh/dragoman/pkg/inventory"
	"github.com/dragoman-mesh/dragoman/pkg/kube"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
)

// Injector gives pods their proxy.
type Injector struct {
	// Read-only after construction.
	Defaults Defaults
	Store    *inventory.Store
	// Closed are namespaces whose pods never get one: the control plane's own, and
	// those of Kubernetes itself.
	Closed []string
}

// ErrRefused is what is wrong with a pod, in words for who made it.
var ErrRefused = errors.New("the pod cannot have its proxy")

// Inject says what is to be changed in a pod of a namespace, as JSON Patch; nil:
// nothing. Warnings are for who made the pod. An error refuses the pod.
func (i *Injector) Inject(raw []byte, namespace string) (patch []byte, warnings []string, err error) {
	var pod corev1.Pod
	if err := json.Unmarshal(raw, &pod); err != nil {
		return nil, nil, fmt.Errorf("%w: reading it: %w", ErrRefused, err)
	}
	if slices.Contains(i.Closed, namespace) || mesh.InjectOptedOut(pod.Labels, pod.Annotations) {
		return nil, nil, nil
	}
	if why := kube.Unfit(&pod); why != "" {
		return nil, []string{"dragoman: " + why}, nil
	}
	o, err := optionsOf(pod.Annotations, i.Defaults)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	warnings = slices.Concat(i.nowhere(&pod, namespace, o.capture), i.endless(&pod), i.unresolved(&pod))
	if !hasProxy(&pod) {
		warnings = append(warnings, i.taken(&pod, namespace)...)
		var unread []string
		if o.logs, unread, err = i.logAccess(&pod, namespace, o.logFolders); err != nil {
			return nil, nil, fmt.Errorf("%w: %w", ErrRefused, err)
		}
		warnings = append(warnings, unread...)
	}
	p, err := i.patchOf(&pod, namespace, o)
	if err != nil {
		return nil, nil, err
	}
	patch, err = p.encode()
	return patch, warnings, err
}

// endless warns of a pod that is to come to an end: a proxy among its containers keeps it from that, until it is told to end.
func (i *Injector) endless(pod *corev1.Pod) []string {
	if p := pod.Spec.RestartPolicy; i.Defaults.Mode != Classic || p == "" || p == corev1.RestartPolicyAlways {
		return nil
	}
	return []string{"dragoman: without native sidecars this pod ends only when one of its containers says that the work is done, by POST http://127.0.0.1:9901/quitquitquit"}
}

// unresolved warns of a pod that does not ask the cluster's DNS, by which its proxy finds a control plane that is named as a Service.
func (i *Injector) unresolved(pod *corev1.Pod) []string {
	host, _, err := net.SplitHostPort(i.Defaults.ControlPlane)
	if err != nil || pod.Spec.DNSPolicy != corev1.DNSDefault || !strings.Contains(host+".", ".svc.") {
		return nil
	}
	return []string{"dragoman: dnsPolicy Default: the pod asks its node's DNS, which does not know the control plane " + host + ": the proxy would never be ready; leave it out (ClusterFirst)"}
}

func (i *Injector) patchOf(pod *corev1.Pod, namespace string, o *proxyOptions) (patch, error) {
	var p patch
	annotations := i.scraped(pod, namespace)
	if !hasProxy(pod) {
		if err := errors.Join(free(pod), i.Defaults.capturable(pod, o.capture)); err != nil {
			return nil, err
		}
		i.containers(&p, pod, o)
		appendLast(&p, pod.Spec.Volumes, i.Defaults.volumes(), "spec", "volumes")
		annotations[mesh.InjectedAnnotation] = string(i.Defaults.Mode)
	}
	p.set(pod.Annotations, annotations, "metadata", "annotations")
	if o.hints {
		i.hint(&p, pod, i.hints(pod, namespace))
	}
	return p, nil
}

// containers adds the proxy, and behind it what captures ports.
func (i *Injector) containers(p *patch, pod *corev1.Pod, o *proxyOptions) {
	var inits []any
	if i.Defaults.Mode == Classic {
		insertFirst(p, pod.Spec.Containers, []any{i.Defaults.container(o)}, "spec", "containers")
	} else {
		inits = append(inits, i.Defaults.container(o))
	}
	if len(o.capture) > 0 {
		inits = append(inits, i.Defaults.captureContainer(o))
	}
	insertFirst(p, pod.Spec.InitContainers, inits, "spec", "initContainers")
}

// hasProxy reports whether a pod has got its proxy.
func hasProxy(pod *corev1.Pod) bool {
	is := func(c corev1.Container) bool { return c.Name == ContainerName }
	return pod.Annotations[mesh.InjectedAnnotation] != "" &&
		(slices.ContainsFunc(pod.Spec.InitContainers, is) || slices.ContainsFunc(pod.Spec.Containers, is))
}

// free finds what is in the way of what a pod gets.
func free(pod *corev1.Pod) error {
	for _, c := range append(slices.Clone(pod.Spec.InitContainers), pod.Spec.Containers...) {
		if c.Name == ContainerName || c.Name == CaptureName {
			return fmt.Errorf("%w: it has a container %s of its own; rename that, or label the pod %s=%s", ErrRefused, c.Name, mesh.InjectLabel, mesh.InjectDisabled)
		}
	}
	for _, v := range pod.Spec.Volumes {
		if v.Name == trustVolume || v.Name == stateVolume {
			return fmt.Errorf("%w: it has a volume %s of its own; rename that, or label the pod %s=%s", ErrRefused, v.Name, mesh.InjectLabel, mesh.InjectDisabled)
		}
	}
	return nil
}

// hints are the variables that tell an app where its Ambassadors listen.
func (i *Injector) hints(pod *corev1.Pod, namespace string) []corev1.EnvVar {
	var out []corev1.EnvVar
	for _, o := range i.objects(inventory.KindAmbassador, namespace) {
		if a, ok := o.(*mesh.Ambassador); ok && a.Spec.Selector.Matches(pod.Labels) {
			out = append(out, hintsOf(a)...)
		}
	}
	return out
}

// objects are the valid ones of a kind in a namespace, by name.
func (i *Injector) objects(kind inventory.Kind, namespace string) []mesh.Object {
	var out []mesh.Object
	for _, ref := range i.Store.Refs(kind) {
		if o := inventory.Get[*inventory.Object](i.Store, ref); ref.Namespace == namespace && o != nil && o.Err == nil {
			out = append(out, o.Object)
		}
	}
	return out
}

// scraped are the annotations by which a Prometheus finds the metrics of the first
// Adapter that has any; none if the pod says so itself.
func (i *Injector) scraped(pod *corev1.Pod, namespace string) map[string]string {
	out := map[string]string{}
	if _, ok := pod.Annotations[scrape]; ok {
		return out
	}
	for _, o := range i.objects(inventory.KindAdapter, namespace) {
		a, ok := o.(*mesh.Adapter)
		if !ok || a.Spec.Metrics == nil || !a.Spec.Selector.Matches(pod.Labels) {
			continue
		}
		out[scrape] = "true"
		out["prometheus.io/port"] = strconv.FormatUint(uint64(a.Spec.Metrics.Listen.Port), 10)
		out["prometheus.io/path"] = cmp.Or(a.Spec.Metrics.Listen.Path, "/metrics")
		break
	}
	return out
}

// scrape is the annotation that Prometheus' well-known configuration looks for.
const scrape = "prometheus.io/scrape"

func hintsOf(a *mesh.Ambassador) []corev1.EnvVar {
	prefix := "DRAGOMAN_" + strings.NewReplacer("-", "_", ".", "_").Replace(strings.ToUpper(a.Metadata.Name))
	if a.Spec.Listen.Path != "" {
		return []corev1.EnvVar{{Name: prefix + "_PATH", Value: a.Spec.Listen.Path}}
	}
	host := a.Spec.Listen.Address
	switch host {
	case "", "0.0.0.0":
		host = "127.0.0.1"
	case "::":
		host = "::1"
	}
	return []corev1.EnvVar{
		{Name: prefix + "_HOST", Value: host},
		{Name: prefix + "_PORT", Value: strconv.FormatUint(uint64(a.Spec.Listen.Port), 10)},
	}
}

// hint gives the app's containers the variables that they do not have.
func (i *Injector) hint(p *patch, pod *corev1.Pod, hints []corev1.EnvVar) {
	shift := 0 // of the containers, by the one that was put before them
	if i.Defaults.Mode == Classic && !hasProxy(pod) {
		shift = 1
	}
	for n, c := range pod.Spec.Containers {
		if c.Name == ContainerName {
			continue
		}
		missing := slices.DeleteFunc(slices.Clone(hints), func(v corev1.EnvVar) bool {
			return slices.ContainsFunc(c.Env, func(has corev1.EnvVar) bool { return has.Name == v.Name })
		})
		appendLast(p, c.Env, missing, "spec", "containers", strconv.Itoa(n+shift), "env")
	}
}
