package webhook

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/dragoman-mesh/dragoman/pkg/inventory"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
)

// CaptureName is the init container that captures ports.
const CaptureName = "dragoman-capture"

// captureContainer changes the rules of the pod's network and ends. It is root, since only root gets a capability, and has no other one.
func (d *Defaults) captureContainer(o *proxyOptions) *corev1.Container {
	no, yes, root := false, true, int64(0)
	var ports []string
	for _, p := range o.capture {
		ports = append(ports, p.String())
	}
	small := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("10m"), corev1.ResourceMemory: resource.MustParse("32Mi")}
	return &corev1.Container{
		Name:      CaptureName,
		Image:     o.image,
		Args:      []string{"capture", "--ports=" + strings.Join(ports, ","), fmt.Sprintf("--except-user=%d", d.User)},
		Resources: corev1.ResourceRequirements{Requests: small, Limits: o.limit},
		SecurityContext: &corev1.SecurityContext{
			RunAsNonRoot: &no, RunAsUser: &root, RunAsGroup: &root,
			AllowPrivilegeEscalation: &no, ReadOnlyRootFilesystem: &yes,
			Capabilities:   &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}, Add: []corev1.Capability{"NET_ADMIN"}},
			SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
	}
}

// capturable finds containers whose connections could not be told from the proxy's.
func (d *Defaults) capturable(pod *corev1.Pod, ports []mesh.CapturePort) error {
	switch {
	case len(ports) == 0:
		return nil
	case d.User == 0:
		return fmt.Errorf("%w: annotation %scapture-ports: the proxy's own connections are told from the app's by its user, which the platform chooses here (--proxy-user=0 of the control plane); leave it out",
			ErrRefused, annotationPrefix)
	}
	is := func(user *int64) bool { return user != nil && *user == d.User }
	of := pod.Spec.SecurityContext != nil && is(pod.Spec.SecurityContext.RunAsUser)
	for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		mine := c.SecurityContext
		if own := mine != nil && mine.RunAsUser != nil; own && is(mine.RunAsUser) || !own && of {
			return fmt.Errorf("%w: annotation %scapture-ports: container %s runs as the user %d, as the proxy does, whose connections are not captured; give it another runAsUser",
				ErrRefused, annotationPrefix, c.Name, d.User)
		}
	}
	return nil
}

// nowhere warns of captured ports at which none of the pod's Ambassadors listens by now.
func (i *Injector) nowhere(pod *corev1.Pod, namespace string, ports []mesh.CapturePort) []string {
	listens := map[int]bool{}
	for _, o := range i.objects(inventory.KindAmbassador, namespace) {
		if a, ok := o.(*mesh.Ambassador); ok && a.Spec.Selector.Matches(pod.Labels) {
			listens[int(a.Spec.Listen.Port)] = true
		}
	}
	var out []string
	for _, p := range ports {
		if !listens[int(p.To)] {
			out = append(out, fmt.Sprintf("dragoman: port %d is captured, and no Ambassador of this pod listens on port %d: these connections will be refused", p.From, p.To))
		}
	}
	return out
}
