package webhook

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/dragoman-mesh/dragoman/pkg/mesh"
)

// Names of what a pod gets.
const (
	ContainerName = mesh.InjectedContainer
	trustVolume   = "dragoman-trust"
	stateVolume   = "dragoman-state"

	trustFolder = "/var/run/secrets/dragoman"
	stateFolder = "/var/lib/dragoman"
)

// Mode is how a proxy stands in its pod.
type Mode string

// The modes.
const (
	// Native is an init container that stays, which Kubernetes knows from 1.29 on.
	Native Mode = "native"
	// Classic is the first of the containers.
	Classic Mode = "classic"
)

// Defaults of the proxies that are injected.
type Defaults struct {
	Image string
	Mode  Mode
	// User is the user, and the group, that proxies run as; 0: whom the platform
	// chooses, as OpenShift does out of each namespace's range.
	User int64
	// ControlPlane is the address that proxies call, "host:port"; its host is in
	// the control plane's certificate.
	ControlPlane string
	// CAConfigMap is the ConfigMap of each namespace that has the authority, in its
	// key CAKey.
	CAConfigMap, CAKey string
}

func (d *Defaults) container(o *proxyOptions) *corev1.Container {
	no, yes := false, true
	c := &corev1.Container{
		Name:  ContainerName,
		Image: o.image,
		Args: []string{
			"run",
			"--control-plane=" + d.ControlPlane,
			"--control-plane-ca=" + trustFolder + "/ca.crt",
			"--token-file=" + trustFolder + "/token",
			"--state-dir=" + stateFolder,
			"--log-level=" + o.logLevel,
		},
		Env:       append(podEnv(), o.logs.env...),
		Resources: corev1.ResourceRequirements{Requests: o.requests, Limits: o.limit},
		SecurityContext: &corev1.SecurityContext{
			RunAsNonRoot: &yes, RunAsUser: d.user(), RunAsGroup: d.user(),
			AllowPrivilegeEscalation: &no, ReadOnlyRootFilesystem: &yes,
			Capabilities:   &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
			SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
		VolumeMounts: append([]corev1.VolumeMount{
			{Name: trustVolume, MountPath: trustFolder, ReadOnly: true},
			{Name: stateVolume, MountPath: stateFolder},
		}, o.logs.mounts...),
	}
	if d.Mode == Classic {
		c.Lifecycle = &corev1.Lifecycle{PostStart: &corev1.LifecycleHandler{Exec: wait("60s")}}
		return c
	}
	always := corev1.ContainerRestartPolicyAlways
	c.RestartPolicy = &always
	// The app starts when all that the proxy was told of is there.
	c.StartupProbe = &corev1.Probe{
		ProbeHandler: corev1.ProbeHandler{Exec: wait("1s")}, PeriodSeconds: 1, TimeoutSeconds: 2, FailureThreshold: 120,
	}
	return c
}

func (d *Defaults) user() *int64 {
	if d.User == 0 {
		return nil
	}
	return &d.User
}

// podEnv tells a proxy of its pod.
func podEnv() []corev1.EnvVar {
	return []corev1.EnvVar{
		field("POD_NAME", "metadata.name"), field("POD_NAMESPACE", "metadata.namespace"),
		field("DRAGOMAN_ZONE", "metadata.labels['"+corev1.LabelTopologyZone+"']"),
	}
}

func wait(limit string) *corev1.ExecAction {
	return &corev1.ExecAction{Command: []string{"/proxy", "wait", "--timeout", limit}}
}

func field(name, path string) corev1.EnvVar {
	return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: path}}}
}

// volumes are the proxy's: its token, what it trusts and its pod's labels; and
// the last configuration it had, which survives it.
func (d *Defaults) volumes() []corev1.Volume {
	life, limit := int64(3600), resource.MustParse("64Mi")
	return []corev1.Volume{
		{Name: trustVolume, VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
			{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Audience: "dragoman", Path: "token", ExpirationSeconds: &life}},
			{ConfigMap: &corev1.ConfigMapProjection{
				LocalObjectReference: corev1.LocalObjectReference{Name: d.CAConfigMap},
				Items:                []corev1.KeyToPath{{Key: d.CAKey, Path: "ca.crt"}},
			}},
			{DownwardAPI: &corev1.DownwardAPIProjection{Items: []corev1.DownwardAPIVolumeFile{
				{Path: "labels", FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "metadata.labels"}},
			}}},
		}}}},
		{Name: stateVolume, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{SizeLimit: &limit}}},
	}
}
