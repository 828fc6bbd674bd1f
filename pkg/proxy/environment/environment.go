// Package environment gathers what tells a process which environment (dev,
// prod, ...) it runs in, without a control plane: what was given outright, the
// labels of a downward-API file, the name of the namespace, the host's name.
// Which of them decides is the business of mesh.SelectEnvironment.
package environment

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"github.com/dragoman-mesh/dragoman/pkg/mesh"
)

// Files that Kubernetes and the examples of its documentation use.
const (
	ServiceAccountNamespace = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"
	DefaultLabelsFile       = "/etc/podinfo/labels"
)

// maxFile bounds what is read of a file, in bytes.
const maxFile = 1 << 20

// Detector knows where to look. Empty fields are not asked.
type Detector struct {
	Flag   string // given outright by --environment
	EnvVar string // given outright by DRAGOMAN_ENVIRONMENT

	LabelsFile          string // downward API, of the pod
	NamespaceLabelsFile string // the same format
	NamespaceFile       string // holds the name
	Namespace           string // instead of the file
	Hostname            string
}

// Files lists the files that the facts depend on.
func (d *Detector) Files() []string {
	var files []string
	for _, f := range []string{d.LabelsFile, d.NamespaceLabelsFile, d.NamespaceFile} {
		if f != "" {
			files = append(files, f)
		}
	}
	return files
}

// Facts reads the files. One that is missing tells nothing; one that cannot be
// read or parsed is an error, reported beside the facts of the others.
func (d *Detector) Facts() (mesh.NodeFacts, error) {
	facts := mesh.NodeFacts{Flag: d.Flag, EnvVar: d.EnvVar, Namespace: d.Namespace, Hostname: d.Hostname}
	var errs [3]error
	facts.PodLabel, errs[0] = fromLabels(d.LabelsFile)
	facts.NamespaceLabel, errs[1] = fromLabels(d.NamespaceLabelsFile)
	if d.Namespace == "" && d.NamespaceFile != "" {
		var b []byte
		b, errs[2] = readFile(d.NamespaceFile)
		facts.Namespace = strings.TrimSpace(string(b))
	}
	return facts, errors.Join(errs[:]...)
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
	return labels[mesh.EnvironmentLabel], nil
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
