package mesh

import (
	"encoding/json"
	"errors"
	"fmt"

	"go.yaml.in/yaml/v3"
)

// raw is a type that takes any YAML.
type raw interface {
	read(n *yaml.Node, nodes *int) error
}

// JSONSchema is a schema as JSON has it, inline in a document.
type JSONSchema struct {
	Text string // with sorted names
}

// MarshalJSON gives the form that decoding takes.
func (s JSONSchema) MarshalJSON() ([]byte, error) { return []byte(s.Text), nil }

func (s *JSONSchema) read(n *yaml.Node, nodes *int) error {
	if n.Kind != yaml.MappingNode {
		return errors.New("must be a mapping, not " + describe(n))
	}
	v, err := jsonOf(n, nodes)
	if err != nil {
		return err
	}
	text, err := json.Marshal(v)
	s.Text = string(text)
	return err
}

// jsonOf makes of YAML what encoding/json takes. nodes counts towards maxNodes.
func jsonOf(n *yaml.Node, nodes *int) (any, error) {
	if *nodes++; *nodes > maxNodes {
		return nil, errors.New("the document is too large (fewer aliases (*name) make it smaller)")
	}
	n = resolve(n)
	switch n.Kind {
	case yaml.MappingNode:
		out := make(map[string]any, len(n.Content)/2)
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := resolve(n.Content[i])
			if key.Kind != yaml.ScalarNode || key.ShortTag() != "!!str" {
				return nil, fmt.Errorf("line %d: a key that is not a string", key.Line)
			}
			if _, twice := out[key.Value]; twice {
				return nil, fmt.Errorf("line %d: %q is there twice", key.Line, clip(key.Value))
			}
			v, err := jsonOf(n.Content[i+1], nodes)
			if err != nil {
				return nil, err
			}
			out[key.Value] = v
		}
		return out, nil
	case yaml.SequenceNode:
		out := make([]any, 0, len(n.Content))
		for _, item := range n.Content {
			v, err := jsonOf(item, nodes)
			if err != nil {
				return nil, err
			}
			out = append(out, v)
		}
		return out, nil
	default:
		return jsonScalar(n)
	}
}

func jsonScalar(n *yaml.Node) (any, error) {
	switch n.ShortTag() {
	case "!!null":
		return nil, nil
	case "!!bool":
		var b bool
		err := n.Decode(&b)
		return b, err
	case "!!int", "!!float":
		if json.Valid([]byte(n.Value)) {
			return json.Number(n.Value), nil
		}
		return nil, fmt.Errorf("line %d: %s is not written as a number of JSON is", n.Line, clip(n.Value))
	default:
		return n.Value, nil
	}
}
