package examples_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/dragoman-mesh/dragoman/internal/goldentest"
)

// TestReference keeps reference/*.md what the definitions of the kinds say, which are made of the code. Every field has a line there, with
// words.
func TestReference(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"Ambassador", "Adapter"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			r := reference{seen: make(map[string]string)}
			name := strings.ToLower(kind)
			got := r.write(t, kind, filepath.Join("..", "manifests", "crds", "mesh.dragoman.io_"+name+"s.yaml"))
			for _, field := range r.silent {
				t.Errorf("%s has no words: give the field of pkg/mesh a comment", field)
			}
			goldentest.Compare(t, filepath.Join("reference", name+".md"), string(got))
		})
	}
}

// schema is what is used of OpenAPI's.
type schema struct {
	Type        string             `yaml:"type"`
	Description string             `yaml:"description"`
	Properties  map[string]*schema `yaml:"properties"`
	Items       *schema            `yaml:"items"`
	Additional  *schema            `yaml:"additionalProperties"`
	Enum        []string           `yaml:"enum"`
	Required    []string           `yaml:"required"`
	Pattern     string             `yaml:"pattern"`
	Minimum     *int64             `yaml:"minimum"`
	Maximum     *int64             `yaml:"maximum"`
	MaxItems    *int64             `yaml:"maxItems"`
	IntOrString bool               `yaml:"x-kubernetes-int-or-string"`
}

// reference is a page under way.
type reference struct {
	out    bytes.Buffer
	seen   map[string]string // objects that have a section, by their fields, and where it is
	silent []string          // fields without words
}

func (r *reference) write(t *testing.T, kind, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var crd struct {
		Spec struct {
			Versions []struct {
				Schema struct {
					Root schema `yaml:"openAPIV3Schema"`
				}
			}
		}
	}
	if err := yaml.Unmarshal(data, &crd); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(&r.out, "# Every field of an %s\n\n", kind)
	r.out.WriteString("Made of the definitions of the code (`make golden`). Fields in **bold** are needed where what they belong to is there. What needs a\n" +
		"control plane, and more that only shows when fields meet, `proxy validate` says.\n")
	r.section("spec", crd.Spec.Versions[0].Schema.Root.Properties["spec"])
	return r.out.Bytes()
}

// section writes the fields of an object, and those of the objects below it.
func (r *reference) section(at string, s *schema) {
	fmt.Fprintf(&r.out, "\n## %s\n%s\n\n| field | is | |\n|---|---|---|\n", at, line(s.Description))
	var deeper []func()
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		field := s.Properties[name]
		here, object := at+"."+name, field
		is := ""
		for object.Items != nil || object.Additional != nil {
			if object.Items != nil {
				here, is, object = here+"[]", is+"list of ", object.Items
				continue
			}
			here, is, object = here+".NAME", is+"by name: ", object.Additional
		}
		words := cmp.Or(field.Description, object.Description)
		if words == "" {
			r.silent = append(r.silent, here)
		}
		is += object.kind()
		if object.Properties != nil {
			of := r.known(here, object)
			is += "[" + of + "](#" + anchor(of) + ")"
			if of == here {
				deeper = append(deeper, func() { r.section(here, object) })
			}
		}
		label := "`" + name + "`"
		if slices.Contains(s.Required, name) {
			label = "**" + label + "**"
		}
		fmt.Fprintf(&r.out, "| %s | %s | %s |\n", label, is, strings.ReplaceAll(line(words), "|", `\|`))
	}
	for _, next := range deeper {
		next()
	}
}

// known says where an object of the same fields has its section: here, if it is the first.
func (r *reference) known(here string, s *schema) string {
	fields, err := json.Marshal(s.Properties)
	if err != nil {
		panic(err) // it was YAML a moment ago
	}
	if at := r.seen[string(fields)]; at != "" {
		return at
	}
	r.seen[string(fields)] = here
	return here
}

// kind words what a value may be.
func (s *schema) kind() string {
	switch {
	case s.Properties != nil:
		return ""
	case len(s.Enum) > 0:
		return "`" + strings.Join(s.Enum, "`, `") + "`"
	case strings.Contains(s.Pattern, "(ns|us"):
		return "duration, as 1m30s"
	case s.IntOrString:
		return "number or string"
	case s.Type == "integer":
		return "number" + s.limits()
	case s.Type == "boolean":
		return "true or false"
	default:
		return s.Type
	}
}

func (s *schema) limits() string {
	low, high := s.Minimum, s.Maximum
	switch {
	case low != nil && high != nil:
		return fmt.Sprintf(", %d to %d", *low, *high)
	case low != nil && *low > 0:
		return fmt.Sprintf(", at least %d", *low)
	case high != nil:
		return fmt.Sprintf(", at most %d", *high)
	default:
		return ""
	}
}

// line puts a comment's lines together.
func line(s string) string { return strings.Join(strings.Fields(s), " ") }

// anchor is where GitHub and others let a link lead to a heading.
func anchor(heading string) string {
	return strings.NewReplacer(".", "", "[", "", "]", "").Replace(strings.ToLower(heading))
}
