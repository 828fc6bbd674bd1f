package webhook

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/dragoman-mesh/dragoman/pkg/inventory"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
)

// adminPort is where the admin server of a proxy listens, which nothing moves.
const adminPort = 9901

// taken warns of ports that containers of a pod declare and the proxy listens on: it is
// there before them, so that they would not start.
func (i *Injector) taken(pod *corev1.Pod, namespace string) []string {
	users := map[int32]string{adminPort: "the proxy's admin server"}
	for _, o := range i.objects(inventory.KindAmbassador, namespace) {
		if a, ok := o.(*mesh.Ambassador); ok && a.Spec.Listen.Path == "" && a.Spec.Selector.Matches(pod.Labels) {
			users[int32(a.Spec.Listen.Port)] = "Ambassador " + a.Metadata.Name
		}
	}
	for _, o := range i.objects(inventory.KindAdapter, namespace) {
		if a, ok := o.(*mesh.Adapter); ok && a.Spec.Selector.Matches(pod.Labels) {
			if port := adapterPort(a); port != 0 {
				users[port] = "Adapter " + a.Metadata.Name
			}
		}
	}
	stay := slices.DeleteFunc(slices.Clone(pod.Spec.InitContainers), func(c corev1.Container) bool {
		return c.RestartPolicy == nil || *c.RestartPolicy != corev1.ContainerRestartPolicyAlways
	})
	var out []string
	for _, c := range slices.Concat(stay, pod.Spec.Containers) {
		for _, p := range c.Ports {
			if user, ok := users[p.ContainerPort]; ok && c.Name != ContainerName && (p.Protocol == "" || p.Protocol == corev1.ProtocolTCP) {
				out = append(out, fmt.Sprintf("dragoman: container %s declares port %d, where %s listens: the container will find it in use; choose another port", c.Name, p.ContainerPort, user))
			}
		}
	}
	return out
}

// adapterPort is where an Adapter is asked; 0: nowhere.
func adapterPort(a *mesh.Adapter) int32 {
	switch {
	case a.Spec.Metrics != nil:
		return int32(a.Spec.Metrics.Listen.Port)
	case a.Spec.API != nil && a.Spec.API.Listen.Path == "":
		return int32(a.Spec.API.Listen.Port)
	}
	return 0
}
