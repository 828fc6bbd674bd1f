package webhook

import (
	"cmp"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/dragoman-mesh/dragoman/pkg/inventory"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
)

// adminPort is where the admin server of a proxy listens, which nothing moves.
const adminPort = 9901

// port is one that can be listened on once in a pod.
type port struct {
	number   int32
	protocol corev1.Protocol
}

// taken warns of ports that containers of a pod declare and the proxy listens on: it is
// there before them, so that they would not start.
func (i *Injector) taken(pod *corev1.Pod, namespace string) []string {
	users := map[port]string{{adminPort, corev1.ProtocolTCP}: "the proxy's admin server"}
	for _, o := range slices.Concat(i.objects(inventory.KindAmbassador, namespace), i.objects(inventory.KindAdapter, namespace)) {
		if !mesh.SelectorOf(o).Matches(pod.Labels) {
			continue
		}
		user := mesh.KindOf(o) + " " + o.Meta().Name
		tcp, udp := mesh.Ports(o)
		for _, n := range tcp {
			users[port{int32(n), corev1.ProtocolTCP}] = user
		}
		for _, n := range udp {
			users[port{int32(n), corev1.ProtocolUDP}] = user
		}
	}
	stay := slices.DeleteFunc(slices.Clone(pod.Spec.InitContainers), func(c corev1.Container) bool {
		return c.RestartPolicy == nil || *c.RestartPolicy != corev1.ContainerRestartPolicyAlways
	})
	var out []string
	for _, c := range slices.Concat(stay, pod.Spec.Containers) {
		for _, p := range c.Ports {
			if user, ok := users[port{p.ContainerPort, cmp.Or(p.Protocol, corev1.ProtocolTCP)}]; ok && c.Name != ContainerName {
				out = append(out, fmt.Sprintf("dragoman: container %s declares port %d, where %s listens: the container will find it in use; choose another port", c.Name, p.ContainerPort, user))
			}
		}
	}
	return out
}
