package record

import (
	"maps"
	"slices"
)

// Resource is where records come from: the pod, the container, the file. It is
// made once for each file, and is read-only.
type Resource struct {
	Attributes map[string]string
	// Names are those of Attributes, sorted.
	Names []string
	json  []byte // the member of a record, with the comma before it
}

// NewResource keeps the attributes, which are not to be changed any more.
func NewResource(attributes map[string]string) *Resource {
	r := &Resource{Attributes: attributes, Names: slices.Sorted(maps.Keys(attributes))}
	if len(r.Names) == 0 {
		return r
	}
	r.json = append(r.json, `,"resource":{`...)
	for i, name := range r.Names {
		if i > 0 {
			r.json = append(r.json, ',')
		}
		r.json = append(AppendString(r.json, []byte(name)), ':')
		r.json = AppendString(r.json, []byte(attributes[name]))
	}
	r.json = append(r.json, '}')
	return r
}
