package mesh

import (
	"errors"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/dragoman-mesh/dragoman/pkg/schema"
	"github.com/dragoman-mesh/dragoman/pkg/transform/json"
	"github.com/dragoman-mesh/dragoman/pkg/transform/value"
)

// schemaFile reads the schema in a file that a document names, nil if there is none.
func (c *checker) schemaFile(inline *JSONSchema, name, at string) *JSONSchema {
	switch {
	case name == "":
		return nil
	case inline != nil:
		c.fail(at, "does not go with schema", "remove one of them")
		return nil
	case c.services:
		c.fail(at, "a control plane reads no files", "write the schema inline, as schema")
		return nil
	case c.read == nil:
		c.fail(at, "no files are read here", "write the schema inline, as schema")
		return nil
	}
	path, data, err := c.read(c.obj.source().file, name, schema.MaxBytes+1)
	if err != nil {
		c.fail(at, err.Error(), "a path that is not absolute begins at the document's folder")
		return nil
	}
	if len(data) > schema.MaxBytes {
		c.fail(at, fmt.Sprintf("%s: more than %d bytes", path, schema.MaxBytes), "")
		return nil
	}
	text, err := schemaText(path, data)
	if err == nil {
		if _, err = schema.Compile(text); err != nil {
			err = fmt.Errorf("%s: %w", path, err)
		}
	}
	if err != nil {
		c.fail(at, err.Error(), "")
		return nil
	}
	return &JSONSchema{Text: text}
}

// schemaText makes JSON of a file of JSON, or of YAML. Its errors name the file and,
// where it is known, the line.
func schemaText(path string, data []byte) (string, error) {
	if strings.HasSuffix(path, ".json") {
		return jsonText(path, data)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		e := syntaxError(path, data, err)
		return "", errors.New(e.Error())
	}
	if len(doc.Content) != 1 {
		return "", fmt.Errorf("%s: it is empty", path)
	}
	var s JSONSchema
	nodes := 0
	if err := s.read(resolve(doc.Content[0]), &nodes); err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return s.Text, nil
}

func jsonText(path string, data []byte) (string, error) {
	var doc value.Doc
	lim := value.Limits{}.OrDefault()
	doc.Reset(lim.Nodes)
	root, err := json.Decode(&doc, string(data), &lim)
	if e, ok := errors.AsType[*value.Error](err); ok && e.Line > 0 {
		return "", fmt.Errorf("%s:%d:%d: %s", path, e.Line, e.Offset+1, e.Reason)
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	if doc.At(root).Kind != value.Object {
		return "", fmt.Errorf("%s: must be an object, not %s", path, doc.At(root).Kind)
	}
	return string(json.Append(nil, &doc, root)), nil
}
