package main

import (
	"bytes"
	"encoding/json"
	"fmt"

	"go.yaml.in/yaml/v3"

	"github.com/dragoman-mesh/dragoman/pkg/mesh"
)

// documents writes objects as the YAML that run -f reads.
func documents(objs []mesh.Object) ([]byte, error) {
	var out bytes.Buffer
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	for _, o := range objs {
		text, err := json.Marshal(o)
		if err != nil {
			return nil, fmt.Errorf("writing %s: %w", o.Key(), err)
		}
		var node yaml.Node
		if err := yaml.Unmarshal(text, &node); err != nil {
			return nil, fmt.Errorf("writing %s: %w", o.Key(), err)
		}
		block(&node)
		if err := enc.Encode(&node); err != nil {
			return nil, fmt.Errorf("writing %s: %w", o.Key(), err)
		}
	}
	return out.Bytes(), enc.Close()
}

// block drops the braces and quotes of JSON; what needs quotes gets them anew.
func block(n *yaml.Node) {
	n.Style = 0
	for _, c := range n.Content {
		block(c)
	}
}
