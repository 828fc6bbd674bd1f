package files

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/dragoman-mesh/dragoman/pkg/mesh"
	"github.com/dragoman-mesh/dragoman/pkg/problem"
)

// document is one of a file's documents. Its text has the lines before it
// blank, so that whoever reads it counts lines as in the file.
type document struct {
	file       string
	text       []byte
	apiVersion string
	kind       string
	root       *yaml.Node // nil: nothing in it, or not YAML, which whoever reads it says
}

// separator begins a document. Indentation or a comment behind it is allowed,
// anything else at the start of a line is not one.
var separator = regexp.MustCompile(`(?m)^---(?:[ \t\r]|$)`)

// split takes a file apart.
func split(file string, data []byte) ([]document, mesh.Errors) {
	var docs []document
	var errs mesh.Errors
	starts := [][]int{{0, 0}}
	starts = append(starts, separator.FindAllIndex(data, -1)...)
	for i, at := range starts {
		end := len(data)
		if i+1 < len(starts) {
			end = starts[i+1][0]
		}
		lines := bytes.Count(data[:at[0]], []byte("\n"))
		text := append(bytes.Repeat([]byte("\n"), lines), data[at[0]:end]...)
		d := document{file: file, text: text}
		if err := d.look(); err != nil {
			errs = append(errs, err)
			continue
		}
		if d.root != nil {
			docs = append(docs, d)
		}
	}
	return docs, errs
}

// look reads which kind of object it is.
func (d *document) look() *mesh.Error {
	var doc yaml.Node
	if err := yaml.Unmarshal(d.text, &doc); err != nil {
		return d.syntaxError(err)
	}
	if len(doc.Content) == 0 || doc.Content[0].ShortTag() == "!!null" {
		return nil
	}
	root := doc.Content[0]
	if root.Kind != yaml.MappingNode {
		return d.fail(root, "", "is not an object", "a document has an apiVersion, a kind and a metadata.name")
	}
	d.root = root
	d.apiVersion, d.kind = scalarAt(root, "apiVersion"), scalarAt(root, "kind")
	return nil
}

func scalarAt(n *yaml.Node, key string) string {
	if v := child(n, key); v != nil && v.Kind == yaml.ScalarNode {
		return v.Value
	}
	return ""
}

// child is the value of a key of a mapping, or nil.
func child(n *yaml.Node, key string) *yaml.Node {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return follow(n.Content[i+1])
		}
	}
	return nil
}

// follow gives what an alias stands for. yaml refuses one that holds itself.
func follow(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

func (d *document) fail(n *yaml.Node, path, reason, hint string) *mesh.Error {
	return &mesh.Error{File: d.file, Line: n.Line, Column: n.Column, Path: path, Reason: reason, Hint: hint}
}

func (d *document) syntaxError(err error) *mesh.Error {
	line, reason := problem.YAML(d.text, err)
	e := &mesh.Error{File: d.file, Line: line, Reason: "not valid YAML: " + reason}
	if line > 0 {
		e.Column = 1
	}
	return e
}

// at finds the node of a path such as spec.ports[0].name, or the nearest above
// it that is there.
func (d *document) at(path string) *yaml.Node {
	n := d.root
	for _, part := range strings.FieldsFunc(path, func(r rune) bool { return r == '.' || r == ']' }) {
		name, index, indexed := strings.Cut(part, "[")
		next := n
		if name != "" {
			next = childKey(n, name, !indexed)
		}
		if i, err := strconv.Atoi(index); indexed && err == nil && next != nil &&
			next.Kind == yaml.SequenceNode && i >= 0 && i < len(next.Content) {
			next = follow(next.Content[i])
		}
		if next == nil {
			return n
		}
		n = next
	}
	return n
}

// childKey gives the value of a key, or a scalar's key, whose place is the one
// that people look for.
func childKey(n *yaml.Node, key string, leaf bool) *yaml.Node {
	if n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value != key {
			continue
		}
		if v := follow(n.Content[i+1]); !leaf || v.Kind != yaml.ScalarNode {
			return v
		}
		return n.Content[i]
	}
	return nil
}

var errDoubled = errors.New("is there twice")

// doubled finds a key that a mapping has twice, which yaml.Node allows.
func doubled(n *yaml.Node, path string, depth int) (*yaml.Node, string, error) {
	const deepest = 64
	if depth > deepest {
		return n, path, fmt.Errorf("is nested more than %d deep", deepest)
	}
	seen := map[string]bool{}
	for i, c := range n.Content {
		at := path
		switch {
		case n.Kind == yaml.MappingNode && i%2 == 0:
			if seen[c.Value] {
				return c, join(path, c.Value), errDoubled
			}
			seen[c.Value] = true
			continue
		case n.Kind == yaml.MappingNode:
			at = join(path, n.Content[i-1].Value)
		case n.Kind == yaml.SequenceNode:
			at = path + "[" + strconv.Itoa(i) + "]"
		}
		if where, what, err := doubled(c, at, depth+1); err != nil {
			return where, what, err
		}
	}
	return nil, "", nil
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
