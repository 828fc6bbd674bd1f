// Package environment finds out which environment (dev, prod, ...) the process
// runs in, without a control plane.
//
// The first source that answers wins: the flag or variable, the pod's label
// from a downward-API file, the namespace's label from a file, a rule over the
// namespace's name. Where none answers, a document's defaultEnvironment does,
// which is not this package's business.
package environment

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
)

// Label is the key that names the environment on pods and namespaces.
const Label = "mesh.dragoman.io/environment"

// ServiceAccountNamespace is where Kubernetes puts the namespace's name.
const ServiceAccountNamespace = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

// DefaultLabelsFile is where examples of the downward API put a pod's labels.
const DefaultLabelsFile = "/etc/podinfo/labels"

// maxFile bounds what is read of a file, in bytes.
const maxFile = 1 << 20

// Detector knows where to look. Empty fields are not asked.
type Detector struct {
	Name       string // given outright
	NameSource string // what gave it: --environment or DRAGOMAN_ENVIRONMENT

	LabelsFile          string // downward API, of the pod
	NamespaceLabelsFile string // the same format
	NamespaceFile       string
	Namespace           string // instead of the file
	Rules               []Rule
}

// Answer is an environment and where it came from. The zero value: nobody
// answered.
type Answer struct {
	Name   string
	Source string // for people: --environment, "label of the pod (/etc/podinfo/labels)", ...
}

// Files lists the files the answer depends on.
func (d *Detector) Files() []string {
	if d.Name != "" {
		return nil
	}
	var files []string
	for _, f := range []string{d.LabelsFile, d.NamespaceLabelsFile, d.NamespaceFile} {
		if f != "" {
			files = append(files, f)
		}
	}
	return files
}

// Detect asks the sources in their order. A missing file does not answer; one
// that cannot be read or parsed is an error.
func (d *Detector) Detect() (Answer, error) {
	if d.Name != "" {
		return Answer{d.Name, d.NameSource}, nil
	}
	for _, f := range []struct{ file, whose string }{
		{d.LabelsFile, "pod"},
		{d.NamespaceLabelsFile, "namespace"},
	} {
		name, err := fromLabels(f.file)
		if err != nil {
			return Answer{}, fmt.Errorf("reading the labels of the %s: %w", f.whose, err)
		}
		if name != "" {
			return Answer{name, "label of the " + f.whose + " (" + f.file + ")"}, nil
		}
	}
	return d.byName()
}

func (d *Detector) byName() (Answer, error) {
	namespace, err := d.CurrentNamespace()
	if err != nil || namespace == "" {
		return Answer{}, err
	}
	for _, r := range d.Rules {
		if name, ok := r.Match(namespace); ok {
			return Answer{name, "rule " + r.String() + " on namespace " + namespace}, nil
		}
	}
	return Answer{}, nil
}

// CurrentNamespace is the namespace, as far as it is known.
func (d *Detector) CurrentNamespace() (string, error) {
	if d.Namespace != "" || d.NamespaceFile == "" {
		return d.Namespace, nil
	}
	b, err := readFile(d.NamespaceFile)
	if err != nil {
		return "", fmt.Errorf("reading the name of the namespace: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

func fromLabels(file string) (string, error) {
	if file == "" {
		return "", nil
	}
	b, err := readFile(file)
	if err != nil {
		return "", err
	}
	labels, err := ParseLabels(b)
	if err != nil {
		return "", fmt.Errorf("%s: %w", file, err)
	}
	return labels[Label], nil
}

// readFile returns nothing for a file that is not there.
func readFile(file string) ([]byte, error) {
	info, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("%s: larger than %d bytes", file, maxFile)
	}
	return os.ReadFile(file)
}

// ErrLabels is what a malformed labels file gives.
var ErrLabels = errors.New("malformed labels")

// ParseLabels reads the downward API's format: key="value" on each line, the
// value quoted as Go does.
func ParseLabels(b []byte) (map[string]string, error) {
	labels := map[string]string{}
	n := 0
	for line := range strings.Lines(string(b)) {
		n++
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		key, quoted, ok := strings.Cut(line, "=")
		if !ok || key == "" {
			return nil, fmt.Errorf("line %d: %w: no key=\"value\"", n, ErrLabels)
		}
		value, err := strconv.Unquote(quoted)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w: the value of %s is not quoted", n, ErrLabels, key)
		}
		labels[key] = value
	}
	return labels, nil
}
