package rules

import (
	"strings"

	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// Of makes a rule of what a document says is to be read. A label in double
// quotes is a text, others are paths.
func Of(x *resource.Extraction) Rule {
	r := Rule{Name: x.Name, Help: x.Help, Type: x.Type, Each: x.Path, Value: x.Value, Words: x.ValueMap, Scale: x.Scale}
	for name, path := range x.Labels {
		if n := len(path); n >= 2 && strings.HasPrefix(path, `"`) && strings.HasSuffix(path, `"`) {
			if r.Constants == nil {
				r.Constants = make(map[string]string)
			}
			r.Constants[name] = path[1 : n-1]
			continue
		}
		if r.Labels == nil {
			r.Labels = make(map[string]string)
		}
		r.Labels[name] = path
	}
	return r
}

// AllOf is Of for a list.
func AllOf(list []resource.Extraction) []Rule {
	out := make([]Rule, 0, len(list))
	for i := range list {
		out = append(out, Of(&list[i]))
	}
	return out
}
