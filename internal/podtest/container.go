package podtest

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// create makes a container in the pod's namespaces; it is started later.
func (p *Pod) create(c *corev1.Container) {
	p.tb.Helper()
	args := []string{"create", "--pod", p.name, "--name", p.container(c.Name), "--pull=never", "--init=false", "--volume", p.dir + "/hosts:/etc/hosts:ro"}
	args = append(args, p.security(c)...)
	args = append(args, p.environment(c)...)
	for _, m := range c.VolumeMounts {
		from := p.mounts[m.Name]
		if from == "" {
			p.tb.Fatalf("pod %s: there is no volume %s", p.pod.Name, m.Name)
		}
		if m.SubPath != "" {
			from += "/" + m.SubPath
		}
		args = append(args, "--volume", from+":"+m.MountPath+mode(m.ReadOnly))
	}
	if p.token != "" {
		args = append(args, "--volume", p.token+":/var/run/secrets/kubernetes.io/serviceaccount:ro")
	}
	if memory := c.Resources.Limits.Memory(); !memory.IsZero() {
		args = append(args, "--memory", strconv.FormatInt(memory.Value(), 10))
	}
	if c.WorkingDir != "" {
		args = append(args, "--workdir", c.WorkingDir)
	}
	command := c.Args
	if len(c.Command) > 0 {
		args = append(args, "--entrypoint", c.Command[0])
		command = append(c.Command[1:len(c.Command):len(c.Command)], c.Args...)
	}
	for _, one := range command {
		if strings.Contains(one, "$(") {
			p.tb.Fatalf("pod %s: these tests replace no variables in %q", p.pod.Name, one)
		}
	}
	p.node.must(p.tb, append(append(args, local(c.Image)), command...)...)
}

func mode(readOnly bool) string {
	if readOnly {
		return ":ro"
	}
	return ":rw"
}

// security are the flags for who a container runs as and what it may do.
func (p *Pod) security(c *corev1.Container) []string {
	p.tb.Helper()
	of, pod := c.SecurityContext, p.pod.Spec.SecurityContext
	if of == nil {
		of = &corev1.SecurityContext{}
	}
	if pod == nil {
		pod = &corev1.PodSecurityContext{}
	}
	var args []string
	user := first(of.RunAsUser, pod.RunAsUser)
	if nonRoot := first(of.RunAsNonRoot, pod.RunAsNonRoot); nonRoot != nil && *nonRoot {
		p.notRoot(c, user)
	}
	if user != nil {
		id := strconv.FormatInt(*user, 10)
		if group := first(of.RunAsGroup, pod.RunAsGroup); group != nil {
			id += ":" + strconv.FormatInt(*group, 10)
		}
		args = append(args, "--user", id)
	}
	if pod.FSGroup != nil {
		args = append(args, "--group-add", strconv.FormatInt(*pod.FSGroup, 10))
	}
	if of.ReadOnlyRootFilesystem != nil && *of.ReadOnlyRootFilesystem {
		args = append(args, "--read-only", "--read-only-tmpfs=false")
	}
	if of.AllowPrivilegeEscalation != nil && !*of.AllowPrivilegeEscalation {
		args = append(args, "--security-opt", "no-new-privileges")
	}
	if of.Capabilities != nil {
		for _, name := range of.Capabilities.Drop {
			args = append(args, "--cap-drop", string(name))
		}
		for _, name := range of.Capabilities.Add {
			args = append(args, "--cap-add", string(name))
		}
	}
	profile := first(of.SeccompProfile, pod.SeccompProfile)
	if profile == nil || profile.Type == corev1.SeccompProfileTypeUnconfined {
		args = append(args, "--security-opt", "seccomp=unconfined")
	}
	return args
}

// notRoot is the kubelet's check of runAsNonRoot: the user has to be a number, and not root's.
func (p *Pod) notRoot(c *corev1.Container, user *int64) {
	p.tb.Helper()
	if user == nil {
		name, _, _ := strings.Cut(p.node.must(p.tb, "image", "inspect", "--format", "{{.Config.User}}", local(c.Image)), ":")
		id, err := strconv.ParseInt(name, 10, 64)
		if err != nil {
			p.tb.Fatalf("pod %s: container has runAsNonRoot and image %s has a user %q that is no number", p.pod.Name, c.Image, name)
		}
		user = &id
	}
	if *user == 0 {
		p.tb.Fatalf("pod %s: container %s has runAsNonRoot and would run as root", p.pod.Name, c.Name)
	}
}

func first[T any](values ...*T) *T {
	for _, v := range values {
		if v != nil {
			return v
		}
	}
	return nil
}

// environment are the flags for the variables of a container.
func (p *Pod) environment(c *corev1.Container) []string {
	p.tb.Helper()
	var args []string
	if p.token != "" {
		_, port, _ := strings.Cut(strings.TrimPrefix(p.node.api.URL(), "https://"), ":")
		args = append(args, "--env", "KUBERNETES_SERVICE_HOST=kubernetes.default.svc", "--env", "KUBERNETES_SERVICE_PORT="+port)
	}
	for i := range c.Env {
		e := &c.Env[i]
		value := e.Value
		switch from := e.ValueFrom; {
		case from == nil:
		case from.FieldRef != nil:
			value = p.field(from.FieldRef.FieldPath)
		case from.SecretKeyRef != nil:
			value = p.secretKey(from.SecretKeyRef.Name, from.SecretKeyRef.Key)
		default:
			p.tb.Fatalf("pod %s: the variable %s is from nothing that these tests know", p.pod.Name, e.Name)
		}
		args = append(args, "--env", fmt.Sprintf("%s=%s", e.Name, value))
	}
	return args
}

func (p *Pod) secretKey(name, key string) (value string) {
	p.tb.Helper()
	p.await("the Secret "+name, func(ctx context.Context) error {
		s, err := p.node.api.Client().CoreV1().Secrets(p.pod.Namespace).Get(ctx, name, metav1.GetOptions{})
		if err == nil {
			value = string(s.Data[key])
		}
		return err
	})
	return value
}
