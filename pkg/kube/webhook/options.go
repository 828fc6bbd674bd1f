package webhook

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/dragoman-mesh/dragoman/pkg/mesh"
)

// annotationPrefix is that of the mesh.
const annotationPrefix = "mesh.dragoman.io/"

// logFoldersAnnotation is the annotation for logs, without the prefix.
const logFoldersAnnotation = "log-folders"

// proxyOptions are what a pod says of its proxy.
type proxyOptions struct {
	image, logLevel string
	requests, limit corev1.ResourceList
	hints           bool
	capture         []mesh.CapturePort
	logFolders      []string

	logs logAccess // what follows of the pod's Adapters and logFolders
}

// setters are the annotations, without the prefix.
func setters() map[string]func(o *proxyOptions, value string) error {
	return map[string]func(o *proxyOptions, value string) error{
		"proxy-image":        (*proxyOptions).setImage,
		"proxy-log-level":    (*proxyOptions).setLogLevel,
		"proxy-cpu":          quantity(func(o *proxyOptions) corev1.ResourceList { return o.requests }, corev1.ResourceCPU, "50m or 1"),
		"proxy-cpu-limit":    quantity(func(o *proxyOptions) corev1.ResourceList { return o.limit }, corev1.ResourceCPU, "500m or 2"),
		"proxy-memory":       quantity(func(o *proxyOptions) corev1.ResourceList { return o.requests }, corev1.ResourceMemory, "32Mi"),
		"proxy-memory-limit": quantity(func(o *proxyOptions) corev1.ResourceList { return o.limit }, corev1.ResourceMemory, "128Mi"),
		"proxy-hints":        (*proxyOptions).setHints,
		"capture-ports":      (*proxyOptions).setCapture,
		logFoldersAnnotation: (*proxyOptions).setLogFolders,
		"inject":             func(*proxyOptions, string) error { return nil }, // looked at before
		"injected":           func(*proxyOptions, string) error { return nil }, // ours
	}
}

// optionsOf reads the annotations of a pod. The error is all that is wrong with
// them.
func optionsOf(annotations map[string]string, defaults Defaults) (*proxyOptions, error) {
	o := &proxyOptions{
		image: defaults.Image, logLevel: "info",
		requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("10m"), corev1.ResourceMemory: resource.MustParse("32Mi")},
		limit:    corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("128Mi")},
	}
	known := setters()
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(annotations)) {
		short, ours := strings.CutPrefix(name, annotationPrefix)
		if !ours {
			continue
		}
		set, ok := known[short]
		if !ok {
			errs = append(errs, fmt.Errorf("annotation %s is not known: %s", name, mesh.Suggest(short, annotationNames(known))))
			continue
		}
		if err := set(o, annotations[name]); err != nil {
			errs = append(errs, fmt.Errorf("annotation %s: %q %w", name, annotations[name], err))
		}
	}
	if len(errs) == 0 {
		errs = append(errs, o.agree())
	}
	return o, errors.Join(errs...)
}

// agree finds requests above their limits.
func (o *proxyOptions) agree() error {
	var errs []error
	for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
		request, limit := o.requests[name], o.limit[name]
		if !limit.IsZero() && request.Cmp(limit) > 0 {
			errs = append(errs, fmt.Errorf("annotations %[1]sproxy-%[2]s and %[1]sproxy-%[2]s-limit: %[3]s is more than the limit %[4]s; raise the limit",
				annotationPrefix, name, request.String(), limit.String()))
		}
	}
	return errors.Join(errs...)
}

var imagePattern = regexp.MustCompile(`^[a-z0-9][A-Za-z0-9._:/@-]{0,511}$`)

func (o *proxyOptions) setImage(value string) error {
	if !imagePattern.MatchString(value) {
		return errors.New("is no image; want one as in dragoman-proxy:1.0")
	}
	o.image = value
	return nil
}

func (o *proxyOptions) setLogLevel(value string) error {
	levels := []string{"debug", "info", "warn", "error"}
	if !slices.Contains(levels, value) {
		return fmt.Errorf("is no level; want %s", strings.Join(levels, ", "))
	}
	o.logLevel = value
	return nil
}

func (o *proxyOptions) setHints(value string) error {
	if value != mesh.InjectEnabled && value != mesh.InjectDisabled {
		return errors.New("is neither enabled nor disabled")
	}
	o.hints = value == mesh.InjectEnabled
	return nil
}

func (o *proxyOptions) setCapture(value string) (err error) {
	o.capture, err = mesh.ParseCapturePorts(value)
	return err
}

func (o *proxyOptions) setLogFolders(value string) error {
	for folder := range strings.SplitSeq(value, ",") {
		folder = strings.TrimSpace(folder)
		if !path.IsAbs(folder) || path.Clean(folder) == "/" || strings.ContainsAny(folder, `*?[\`) {
			return errors.New("is no list of folders; want absolute paths as /var/log/nginx,/var/log/app")
		}
		o.logFolders = append(o.logFolders, path.Clean(folder))
	}
	return nil
}

func quantity(list func(*proxyOptions) corev1.ResourceList, name corev1.ResourceName, example string) func(*proxyOptions, string) error {
	return func(o *proxyOptions, value string) error {
		q, err := resource.ParseQuantity(value)
		if err != nil || q.Sign() <= 0 {
			return fmt.Errorf("is no amount of %s; want one as %s", name, example)
		}
		list(o)[name] = q
		return nil
	}
}

// annotationNames are those that a pod's owner may write, without the prefix.
func annotationNames(known map[string]func(*proxyOptions, string) error) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(known)), func(name string) bool { return name == "injected" })
}
