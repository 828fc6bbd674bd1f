package webhook

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// operation is one of JSON Patch (RFC 6902). What is patched is only what has
// to be: fields that a newer API server knows and this program does not are
// never written, and so not lost.
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value"`
}

// patch is a list of operations.
type patch []operation

func (p *patch) add(value any, path ...string) {
	*p = append(*p, operation{"add", pointer(path), value})
}

// insertFirst puts values before the others of a list, or makes the list.
func insertFirst[T any](p *patch, list []T, values []any, path ...string) {
	if len(list) == 0 && len(values) > 0 {
		p.add(values, path...)
		return
	}
	for n, value := range values {
		p.add(value, append(slices.Clone(path), strconv.Itoa(n))...)
	}
}

// appendLast puts values behind the others of a list, or makes the list.
func appendLast[T any](p *patch, list []T, values []T, path ...string) {
	if len(values) == 0 {
		return
	}
	if len(list) == 0 {
		p.add(values, path...)
		return
	}
	for _, v := range values {
		p.add(v, append(slices.Clone(path), "-")...)
	}
}

// set gives a map keys, or makes the map.
func (p *patch) set(m, values map[string]string, path ...string) {
	if len(m) == 0 && len(values) > 0 {
		p.add(values, path...)
		return
	}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		p.add(values[key], append(slices.Clone(path), key)...)
	}
}

// encode gives the form that the API server takes; nil: nothing is changed.
func (p patch) encode() ([]byte, error) {
	if len(p) == 0 {
		return nil, nil
	}
	return json.Marshal([]operation(p))
}

// pointer is a path as RFC 6901 has it.
func pointer(path []string) string {
	var b strings.Builder
	for _, p := range path {
		b.WriteByte('/')
		b.WriteString(strings.NewReplacer("~", "~0", "/", "~1").Replace(p))
	}
	return b.String()
}
