package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/proto"

	"github.com/dragoman-mesh/dragoman/pkg/translate"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// output is what translate writes.
type output struct {
	Listeners  []yaml.Node `yaml:"listeners,omitempty"`
	Clusters   []yaml.Node `yaml:"clusters,omitempty"`
	Endpoints  []yaml.Node `yaml:"endpoints,omitempty"`
	Secrets    []yaml.Node `yaml:"secrets,omitempty"`
	Conditions []shown     `yaml:"conditions"`
}

type shown struct {
	Object  string `yaml:"object"`
	Type    string `yaml:"type"`
	Status  bool   `yaml:"status"`
	Reason  string `yaml:"reason"`
	Message string `yaml:"message,omitempty"`
}

// write writes resources in the order of the set, which is that of their names.
func write(w io.Writer, set *resource.Set, conditions []translate.Condition) error {
	out := output{Conditions: []shown{}}
	for _, part := range []struct {
		into *[]yaml.Node
		from []proto.Message
	}{
		{&out.Listeners, messages(set.Listeners)},
		{&out.Clusters, messages(set.Clusters)},
		{&out.Endpoints, messages(set.Endpoints)},
		{&out.Secrets, messages(set.Secrets)},
	} {
		for _, m := range part.from {
			node, err := asYAML(m)
			if err != nil {
				return err
			}
			*part.into = append(*part.into, *node)
		}
	}
	for _, c := range conditions {
		out.Conditions = append(out.Conditions, shown{c.Object, string(c.Type), c.Status, c.Reason, c.Message})
	}
	enc := yaml.NewEncoder(w)
	enc.SetIndent(2)
	if err := enc.Encode(out); err != nil {
		return fmt.Errorf("writing resources: %w", err)
	}
	return enc.Close()
}

func messages[M proto.Message](list []M) []proto.Message {
	out := make([]proto.Message, len(list))
	for i, m := range list {
		out[i] = m
	}
	return out
}

// asYAML goes by JSON, of which YAML keeps the order.
func asYAML(m proto.Message) (*yaml.Node, error) {
	var compact bytes.Buffer // protojson's spaces vary on purpose
	if err := json.Compact(&compact, resource.Show(m)); err != nil {
		return nil, fmt.Errorf("writing a resource: %w", err)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(compact.Bytes(), &doc); err != nil {
		return nil, fmt.Errorf("writing a resource: %w", err)
	}
	block(doc.Content[0])
	return doc.Content[0], nil
}

// block drops the braces and quotes of JSON; what needs quotes gets them anew.
func block(n *yaml.Node) {
	n.Style = 0
	for _, c := range n.Content {
		block(c)
	}
}
