package json

import (
	"fmt"
	"strings"

	"github.com/dragoman-mesh/dragoman/pkg/metrics/json/jsonpath"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/json/tree"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/rules"
)

// Path finds parts of JSON documents with kubectl's JSONPath. In a value, and
// where elements are looked for, braces around the whole may be left out.
type Path struct{}

// Each implements rules.Language.
func (Path) Each(path string) (func(tree.Value, func(tree.Value)) error, error) {
	p, err := jsonpath.Parse(braced(path))
	if err != nil {
		return nil, err
	}
	if !p.Single() {
		return nil, fmt.Errorf("%q is not one path in braces, without text around it", path)
	}
	return p.Each, nil
}

// Value implements rules.Language.
func (Path) Value(template string) (rules.Template[tree.Value], error) {
	return jsonpath.Parse(braced(template))
}

// Label implements rules.Language.
func (Path) Label(template string) (rules.Template[tree.Value], error) {
	// A name alone would be a text: who means that puts it in quotes.
	template = braced(template)
	p, err := jsonpath.Parse(template)
	if err == nil && p.Constant() {
		err = fmt.Errorf("%q is no path; put it in double quotes if it is meant as a text", template)
	}
	return p, err
}

// braced puts braces around what looks like a path without them.
func braced(path string) string {
	path = strings.TrimSpace(path)
	if strings.HasPrefix(path, ".") || strings.HasPrefix(path, "$") || strings.HasPrefix(path, "[") || strings.HasPrefix(path, "@") {
		return "{" + path + "}"
	}
	return path
}

// exporterPath is JSONPath as json_exporter has it: numbers in labels went
// through a float64, and nothing gets braces that has none.
type exporterPath struct{ Path }

func (exporterPath) Each(path string) (func(tree.Value, func(tree.Value)) error, error) {
	p, err := jsonpath.Parse(path)
	if err != nil {
		return nil, err
	}
	if !p.Single() {
		return nil, fmt.Errorf("%q is not one path in braces, without text around it", path)
	}
	return p.Each, nil
}

func (exporterPath) Value(template string) (rules.Template[tree.Value], error) {
	return jsonpath.Parse(template)
}

func (exporterPath) Label(template string) (rules.Template[tree.Value], error) {
	p, err := jsonpath.Parse(template)
	if err != nil {
		return nil, err
	}
	return p.Floats(), nil
}
