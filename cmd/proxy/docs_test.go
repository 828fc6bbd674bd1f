package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/dragoman-mesh/dragoman/pkg/mesh"
	"github.com/dragoman-mesh/dragoman/pkg/proxy"
	"github.com/dragoman-mesh/dragoman/pkg/translate"
	"github.com/dragoman-mesh/dragoman/pkg/twemproxy"
)

// root of the repository.
const root = "../.."

func docs(t *testing.T) []string {
	t.Helper()
	var files []string
	for _, pattern := range []string{"*.md", "*/README.md", "pkg/filters/*/README.md"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	return files
}

var (
	fence = regexp.MustCompile("(?ms)^```(\\w*)\n(.*?)^```")
	link  = regexp.MustCompile(`\]\(([^)#]+)(?:#[^)]*)?\)`)
)

// TestDocs runs what can be run of the examples in the documentation.
func TestDocs(t *testing.T) {
	t.Parallel()
	examples := 0
	for _, file := range docs(t) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range fence.FindAllStringSubmatch(string(text), -1) {
			switch block[1] {
			case "yaml":
				examples++
				checkDocuments(t, file, block[2])
			case "sh":
				examples += checkCommands(t, file, block[2])
			}
		}
		for _, target := range link.FindAllStringSubmatch(fence.ReplaceAllString(string(text), ""), -1) {
			if strings.Contains(target[1], "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(file), target[1])); err != nil {
				t.Errorf("%s: dead link: %v", file, err)
			}
		}
	}
	if examples < 5 {
		t.Errorf("only %d examples found", examples)
	}
}

func checkDocuments(t *testing.T, file, text string) {
	t.Helper()
	objs, errs := mesh.Decode(file, []byte(text), mesh.InCluster())
	if len(errs) == 0 && needsControlPlane(objs) {
		if errs = mesh.Validate(objs, mesh.InCluster()); len(errs) > 0 {
			t.Errorf("%s:\n%v\n%s", file, errs, text)
		}
		return
	}
	objs, errs = mesh.Decode(file, []byte(text))
	if errs = append(errs, mesh.Validate(objs)...); len(errs) > 0 {
		t.Errorf("%s:\n%v\n%s", file, errs, text)
		return
	}
	if _, err := proxy.Check(proxy.Memory(objs), mesh.NodeFacts{}); err != nil {
		t.Errorf("%s: %v\n%s", file, err, text)
	}
}

// needsControlPlane reports whether documents name Services or the like.
func needsControlPlane(objs []mesh.Object) bool {
	return slices.ContainsFunc(objs, func(obj mesh.Object) bool {
		a, ok := obj.(*mesh.Ambassador)
		return ok && len(translate.References(a)) > 0
	})
}

// checkCommands parses the lines that run the proxy, and counts them.
func checkCommands(t *testing.T, file, text string) int {
	t.Helper()
	n := 0
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		args := strings.Fields(line)
		if len(args) == 0 || filepath.Base(args[0]) != "proxy" {
			continue
		}
		n++
		if err := parses(args[1:]); err != nil {
			t.Errorf("%s: %s: %v", file, strings.TrimSpace(line), err)
		}
	}
	return n
}

func parses(args []string) error {
	cmd, rest, err := newRoot().Find(args)
	if err != nil {
		return err
	}
	if cmd.Name() == "proxy" {
		return errors.New("no command")
	}
	if cmd.Name() == "twemproxy" {
		_, err := parseNutcracker(rest)
		return err
	}
	if cmd.Name() == "statsd-exporter" {
		return newStatsdFlags().parse(rest)
	}
	if cmd.Name() == "json-exporter" {
		return newJSONFlags().parse(rest)
	}
	if err := cmd.ParseFlags(rest); err != nil {
		return err
	}
	return cmd.ValidateArgs(cmd.Flags().Args())
}

// manifest is what the test wants to know of a Kubernetes object.
type manifest struct {
	Kind     string
	Metadata struct{ Labels map[string]string }
	Data     map[string]string
	Spec     struct{ Containers, InitContainers []container }
}

type container struct {
	Image        string
	Args         []string
	Env          []struct{ Name, Value string }
	Ports        []struct{ ContainerPort int }
	StartupProbe struct{ Exec struct{ Command []string } }
}

func TestManifests(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join(root, "manifests", "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no manifests: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		dec := yaml.NewDecoder(bytes.NewReader(text))
		for {
			var m manifest
			if err := dec.Decode(&m); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			for name, document := range m.Data {
				checkDocuments(t, file+" "+name, document)
			}
			for _, c := range append(m.Spec.InitContainers, m.Spec.Containers...) {
				checkContainer(t, file, c)
			}
		}
	}
}

func checkContainer(t *testing.T, file string, c container) {
	t.Helper()
	if !strings.HasPrefix(c.Image, "dragoman-proxy") {
		return
	}
	if len(c.Args) > 0 {
		if err := parses(c.Args); err != nil {
			t.Errorf("%s: %q: %v", file, c.Args, err)
		}
	}
	if probe := c.StartupProbe.Exec.Command; len(probe) > 0 {
		if err := parses(probe[1:]); err != nil {
			t.Errorf("%s: %q: %v", file, probe, err)
		}
	}
	for _, e := range c.Env {
		if e.Name != serversVariable {
			continue
		}
		if _, errs := twemproxy.ParseServers(e.Name, e.Value); len(errs) > 0 || len(c.Args) > 0 {
			t.Errorf("%s: %v, args %q", file, errs, c.Args)
		}
	}
}

// TestEveryCommandIsDocumented keeps the README's table complete.
func TestEveryCommandIsDocumented(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, cmd := range newRoot().Commands() {
		if cmd.Hidden || cmd.Name() == "help" || cmd.Name() == "completion" {
			continue
		}
		if !strings.Contains(string(readme), "`proxy "+cmd.Name()) {
			t.Errorf("README.md does not mention %q", cmd.Name())
		}
		if cmd.Short == "" || cmd.Run == nil && cmd.RunE == nil {
			t.Errorf("%s has no description, or does nothing", cmd.Name())
		}
	}
}
