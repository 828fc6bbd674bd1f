package webhook

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/dragoman-mesh/dragoman/pkg/inventory"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
)

// positionsFolder is where a proxy keeps how far it has delivered each log file: the
// volumes with the files are the app's, and mounted to be read.
const positionsFolder = stateFolder + "/logs"

// logAccess is what a proxy gets to reach its app's log files: the volumes that the
// app has them on, at the same places.
type logAccess struct {
	mounts []corev1.VolumeMount // sorted by place
	env    []corev1.EnvVar
}

// logFiles are some that a proxy is to read, or to write.
type logFiles struct {
	who     string // wants it, for people
	pattern string
	write   bool
	asked   bool // the pod itself says so: it is refused if that cannot be
}

// mountPoint is where containers of the app have a volume.
type mountPoint struct {
	corev1.VolumeMount
	container *corev1.Container
	// another is a container with something else there; "": none.
	another string
}

// logAccess finds out what a pod's proxy needs to follow the files that the Adapters
// of its namespace name, and those of the pod's annotation. An Adapter's that
// cannot be reached are a warning, the annotation's an error.
func (i *Injector) logAccess(pod *corev1.Pod, namespace string, folders []string) (access logAccess, warnings []string, err error) {
	points := mountPoints(pod)
	places := slices.Sorted(maps.Keys(points))
	chosen := map[string]corev1.VolumeMount{}
	var errs []error
	for _, files := range i.logFiles(pod, namespace, folders) {
		if files.write && strings.HasPrefix(files.pattern, stateFolder+"/") {
			continue // the proxy's own
		}
		found := mesh.LogMounts(files.pattern, places)
		if len(found) == 0 {
			dir := path.Dir(files.pattern)
			errs = append(errs, files.problem(&warnings, fmt.Sprintf("no container of the pod mounts a volume at %s or above it; mount one there into the app's container, an emptyDir will do", dir)))
		}
		for _, place := range found {
			if problem := points[place].unusable(pod, files.asked); problem != "" {
				errs = append(errs, files.problem(&warnings, problem))
				continue
			}
			m := points[place].VolumeMount
			before, there := chosen[place]
			m.ReadOnly = m.ReadOnly || !files.write && (!there || before.ReadOnly)
			m.MountPropagation, m.RecursiveReadOnly = nil, nil
			chosen[place] = m
		}
	}
	return accessOf(chosen), warnings, errors.Join(errs...)
}

func (f *logFiles) problem(warnings *[]string, what string) error {
	if f.asked {
		return fmt.Errorf("%s: %s: %s", f.who, f.pattern, what)
	}
	*warnings = append(*warnings, fmt.Sprintf("dragoman: %s: %s: %s; the proxy of this pod cannot reach it", f.who, f.pattern, what))
	return nil
}

// logFiles are those that a pod's Adapters and its annotation name.
func (i *Injector) logFiles(pod *corev1.Pod, namespace string, folders []string) []logFiles {
	var out []logFiles
	for _, folder := range folders {
		out = append(out, logFiles{who: "annotation " + annotationPrefix + logFoldersAnnotation, pattern: path.Join(folder, "*"), asked: true})
	}
	for _, o := range i.objects(inventory.KindAdapter, namespace) {
		a, ok := o.(*mesh.Adapter)
		if !ok || a.Spec.Logs == nil || !a.Spec.Selector.Matches(pod.Labels) {
			continue
		}
		who := "Adapter " + a.Metadata.Name
		for _, s := range a.Spec.Logs.Sources {
			for _, p := range s.Paths {
				out = append(out, logFiles{who: who, pattern: p})
			}
		}
		if p := a.Spec.Logs.Positions; p != "" {
			out = append(out, logFiles{who: who, pattern: p, write: true})
		}
	}
	return out
}

// mountPoints are where the pod's own containers have volumes, by place.
func mountPoints(pod *corev1.Pod) map[string]*mountPoint {
	out := map[string]*mountPoint{}
	for _, list := range [][]corev1.Container{pod.Spec.Containers, pod.Spec.InitContainers} {
		for n := range list {
			for _, m := range list[n].VolumeMounts {
				m.MountPath = path.Clean(m.MountPath)
				p := out[m.MountPath]
				switch {
				case p == nil:
					out[m.MountPath] = &mountPoint{VolumeMount: m, container: &list[n]}
				case p.Name != m.Name || p.SubPath != m.SubPath || p.SubPathExpr != m.SubPathExpr:
					p.another = cmp.Or(p.another, list[n].Name)
				}
			}
		}
	}
	return out
}

// unusable says why a proxy cannot have what the app has at a place; "": it can. asked:
// the pod's owner wants it.
func (p *mountPoint) unusable(pod *corev1.Pod, asked bool) string {
	if p.another != "" {
		return fmt.Sprintf("the containers %s and %s mount different things at %s; use two places", p.container.Name, p.another, p.MountPath)
	}
	for _, own := range []string{trustFolder, stateFolder, "/proxy"} {
		if within(own, p.MountPath) || within(p.MountPath, own) {
			return fmt.Sprintf("%s mounts a volume at %s, where the proxy has its own %s; mount it at a folder for the logs alone", p.container.Name, p.MountPath, own)
		}
	}
	if v := foreignVariable(p); v != "" {
		return fmt.Sprintf("%s mounts a volume at %s by a subPathExpr with $(%s), which only %s has; use a subPath", p.container.Name, p.MountPath, v, p.container.Name)
	}
	if n := slices.IndexFunc(pod.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == p.Name }); n >= 0 && !asked && !appWrites(&pod.Spec.Volumes[n]) {
		return fmt.Sprintf("the volume %s at %s is neither an emptyDir nor a claim; that its proxy may read it the pod must say itself, by the annotation %s%s",
			p.Name, p.MountPath, annotationPrefix, logFoldersAnnotation)
	}
	return ""
}

// within reports whether a folder is another one or below it.
func within(folder, other string) bool {
	return folder == other || other == "/" || strings.HasPrefix(folder, other+"/")
}

// appWrites reports whether a volume is of a kind that apps write to. Who may make an Adapter
// may not therefore read what a pod has of Secrets, or of its node.
func appWrites(v *corev1.Volume) bool {
	return v.EmptyDir != nil || v.PersistentVolumeClaim != nil || v.Ephemeral != nil
}

// logEnv tells a proxy that follows files where it keeps its positions, and what its records say of the pod.
func logEnv() []corev1.EnvVar {
	return []corev1.EnvVar{
		field("POD_UID", "metadata.uid"), field("NODE_NAME", "spec.nodeName"),
		{Name: "DRAGOMAN_LOG_POSITIONS", Value: positionsFolder},
	}
}

var variable = regexp.MustCompile(`\$\(([^)]*)\)`)

// foreignVariable finds a variable of a subPathExpr that does not mean the same to the proxy; "": none.
func foreignVariable(p *mountPoint) string {
	for _, match := range variable.FindAllStringSubmatch(p.SubPathExpr, -1) {
		same := slices.ContainsFunc(slices.Concat(podEnv(), logEnv()), func(ours corev1.EnvVar) bool {
			return ours.Name == match[1] && slices.ContainsFunc(p.container.Env, func(theirs corev1.EnvVar) bool {
				return theirs.Name == ours.Name && ours.ValueFrom != nil && theirs.ValueFrom != nil && theirs.ValueFrom.FieldRef != nil &&
					theirs.ValueFrom.FieldRef.FieldPath == ours.ValueFrom.FieldRef.FieldPath
			})
		})
		if !same {
			return match[1]
		}
	}
	return ""
}

// accessOf is what some mounts make. One with another inside must let the runtime make that one's folder.
func accessOf(chosen map[string]corev1.VolumeMount) logAccess {
	var out logAccess
	for _, place := range slices.Sorted(maps.Keys(chosen)) {
		m := chosen[place]
		for other := range chosen {
			m.ReadOnly = m.ReadOnly && (other == place || !within(other, place))
		}
		out.mounts = append(out.mounts, m)
	}
	if len(out.mounts) > 0 {
		out.env = logEnv()
	}
	return out
}
