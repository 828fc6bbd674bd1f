package resource

import (
	"maps"
	"net/http"
	"slices"

	"google.golang.org/protobuf/types/known/anypb"

	transformv1 "github.com/dragoman-mesh/dragoman/api/dragoman/filters/http/transform/v1"
	"github.com/dragoman-mesh/dragoman/pkg/placeholder"
)

func (r *reader) transformFilter(packed *anypb.Any, path string) *TransformFilter {
	f := &TransformFilter{MaxBodyBytes: DefaultTransformBytes, BodyTimeout: DefaultTransformTimeout}
	var p transformv1.Transform
	if !r.unpack(packed, &p, path) {
		return f
	}
	if v := p.GetMaxBodyBytes(); v != nil {
		if v.GetValue() == 0 || v.GetValue() > MaxTransformBytes {
			r.fail(join(path, "max_body_bytes"), "must be from 1 to %d", MaxTransformBytes)
		}
		f.MaxBodyBytes = int(min(v.GetValue(), MaxTransformBytes))
	}
	f.BodyTimeout = r.positive(p.GetBodyTimeout(), join(path, "body_timeout"), DefaultTransformTimeout)
	return f
}

func (r *reader) transformRoute(packed *anypb.Any, path string) *TransformRoute {
	out := &TransformRoute{}
	var p transformv1.Route
	if !r.unpack(packed, &p, path) {
		return out
	}
	out.Name = p.GetName()
	if p.GetPath() != "" {
		var err error
		if out.Path, err = placeholder.ParseTemplate(p.GetPath()); err != nil {
			r.fail(join(path, "path"), "%v", err)
		}
	}
	if p.GetRequest() != nil {
		out.Request = r.transformRequest(p.GetRequest(), out.Path, join(path, "request"))
	}
	if p.GetResponse() != nil {
		out.Response = r.transformResponse(p.GetResponse(), out.Path, join(path, "response"))
	}
	out.OwnHeaders = r.transformFields(p.GetOwnHeaders(), out.Path, true, join(path, "own_headers"))
	out.Reroute = p.GetReroute()
	if g := p.GetGone(); g != nil {
		if out.Gone = g.AsTime(); g.CheckValid() != nil {
			r.fail(join(path, "gone"), "is not a time")
		}
	}
	if q := p.GetProblem(); q != nil {
		r.only(&p, path, "name", "path", "problem", "own_headers")
		out.Problem = &TransformProblem{Status: int(min(q.GetStatus(), 1000)), Detail: q.GetDetail(), Allow: q.GetAllow()}
		if q.GetStatus() < 400 || q.GetStatus() > 599 {
			r.fail(join(path, "problem.status"), "must be from 400 to 599")
			out.Problem.Status = http.StatusInternalServerError
		}
		for i, m := range q.GetAllow() {
			r.transformMethod(m, index(join(path, "problem.allow"), i))
		}
	}
	return out
}

func (r *reader) transformMethod(m, path string) {
	if m != "" && !ValidHeaderName(m) || m == http.MethodConnect {
		r.fail(path, "%q is not a method that a request can have here", m)
	}
}

func (r *reader) transformRequest(p *transformv1.Request, names *placeholder.Template, path string) *TransformRequest {
	out := &TransformRequest{
		Method:  p.GetMethod(),
		Query:   r.transformFields(p.GetQuery(), names, false, join(path, "query")),
		Headers: r.transformFields(p.GetHeaders(), names, true, join(path, "headers")),
	}
	r.transformMethod(out.Method, join(path, "method"))
	out.Body = r.transformBody(p.GetBody(), names, join(path, "body"))
	out.Schema = r.transformSchema(p.GetSchema(), p.GetBody().GetFrom(), join(path, "schema"))
	if p.GetPath() == "" {
		return out
	}
	if out.Path = r.transformText(p.GetPath(), names, join(path, "path")); len(out.Path) > 0 && p.GetPath()[0] != '/' {
		r.fail(join(path, "path"), "must begin with /")
	}
	return out
}

// transformText reads a text with values in it.
func (r *reader) transformText(s string, names *placeholder.Template, path string) placeholder.Text {
	t, err := placeholder.Parse(s)
	if err != nil {
		r.fail(path, "%v", err)
	}
	for _, v := range t.Values() {
		if v.Kind == placeholder.Path && (names == nil || !slices.Contains(names.Names, v.Text)) {
			r.fail(path, "%v is not a name of the route's path", v)
		}
	}
	if !validValue(s) {
		r.fail(path, "has characters that no header's value may have")
	}
	return t
}

func (r *reader) transformFields(p *transformv1.Fields, names *placeholder.Template, headers bool, path string) TransformFields {
	var out TransformFields
	name := func(s, at string) string {
		if headers {
			return r.headerName(s, at)
		}
		if s == "" {
			r.fail(at, "is empty")
		}
		return s
	}
	for i, s := range p.GetRemove() {
		if s == "*" {
			out.All = true
			continue
		}
		out.Remove = append(out.Remove, name(s, index(join(path, "remove"), i)))
	}
	for _, from := range slices.Sorted(maps.Keys(p.GetRename())) {
		at := join(path, "rename")
		out.Rename = append(out.Rename, TransformRename{name(from, at), name(p.GetRename()[from], at)})
	}
	list := func(values map[string]string, at string) []TransformField {
		var fields []TransformField
		for _, key := range slices.Sorted(maps.Keys(values)) {
			fields = append(fields, TransformField{name(key, at), r.transformText(values[key], names, at)})
		}
		return fields
	}
	out.Set = list(p.GetSet(), join(path, "set"))
	out.Add = list(p.GetAdd(), join(path, "add"))
	return out
}
