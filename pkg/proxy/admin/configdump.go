package admin

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
)

// configDump shows the configuration: all of it, or as Envoy does the resources of
// one kind (resource), by their names (name_regex), and some fields of each (mask).
func (o Options) configDump(w http.ResponseWriter, req *http.Request) {
	q := req.URL.Query()
	names, err := regexp.Compile(q.Get("name_regex"))
	if err != nil {
		wrong(w, "name_regex is not a regular expression: %v", err)
		return
	}
	kind := q.Get("resource")
	if kind == "" || o.Resources == nil {
		if q.Has("name_regex") {
			wrong(w, "name_regex: names of what? add resource=dynamic_listeners, or another kind")
			return
		}
		o.writeMasked(w, o.ConfigDump(), q.Get("mask"))
		return
	}
	list, ok := o.Resources(kind, names.MatchString)
	if !ok {
		http.Error(w, fmt.Sprintf("%s not found in config dump: there is dynamic_listeners, dynamic_active_clusters, dynamic_endpoint_configs, "+
			"dynamic_route_configs and dynamic_active_secrets", kind), http.StatusNotFound)
		return
	}
	for i := range list {
		if list[i], err = masked(list[i], q.Get("mask")); err != nil {
			wrong(w, "%v", err)
			return
		}
	}
	writeJSON(w, o.Log, map[string]any{"configs": list})
}

func (o Options) writeMasked(w http.ResponseWriter, v any, mask string) {
	v, err := masked(v, mask)
	if err != nil {
		wrong(w, "%v", err)
		return
	}
	writeJSON(w, o.Log, v)
}

// masked is what a mask leaves of something: fields, separated by commas, as in
// "name,active_state.listener.address". "": all of it.
func masked(v any, mask string) (any, error) {
	if mask == "" {
		return v, nil
	}
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var whole map[string]any
	if err := decoder.Decode(&whole); err != nil {
		return nil, err
	}
	out := map[string]any{}
	if t, ok := whole["@type"]; ok {
		out["@type"] = t
	}
	for path := range strings.SplitSeq(mask, ",") {
		if strings.Trim(path, ".") != path || path == "" || strings.Contains(path, "..") {
			return nil, fmt.Errorf("mask %q: want fields separated by commas, as in name,active_state.listener", mask)
		}
		pick(out, whole, path)
	}
	return out, nil
}

// pick copies a field from one object into another, with what is around it. A list
// on the way is not gone into, as in a FieldMask.
func pick(into, from map[string]any, path string) {
	name, rest, deeper := strings.Cut(path, ".")
	value, ok := from[name]
	if !ok {
		return
	}
	inner, ok := value.(map[string]any)
	if !deeper || !ok {
		if !deeper {
			into[name] = value
		}
		return
	}
	next, ok := into[name].(map[string]any)
	if !ok {
		next = map[string]any{}
		into[name] = next
	}
	pick(next, inner, rest)
}
