package try

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/dragoman-mesh/dragoman/pkg/filters/http/route"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// why tells what keeps a route from being that of a request; "": nothing.
func why(m *resource.RouteMatch, r *route.Request) string {
	path := route.New(&resource.RouteConfig{VirtualHosts: []resource.VirtualHost{{
		Domains: []string{"*"}, Routes: []resource.Route{{Match: resource.RouteMatch{Path: m.Path}}},
	}}})
	if _, found := path.Find(r); found == nil {
		return "the path is another"
	}
	var reasons []string
	for i := range m.Headers {
		if h := &m.Headers[i]; !route.MatchHeader(h, r) {
			reasons = append(reasons, headerReason(h, r))
		}
	}
	for i := range m.Query {
		q := &m.Query[i]
		got, there := r.QueryValue(q.Name)
		switch {
		case !there:
			reasons = append(reasons, fmt.Sprintf("there is no parameter %s", q.Name))
		case !q.Present && got != q.String.Value:
			reasons = append(reasons, fmt.Sprintf("the parameter %s is %q, not %q", q.Name, got, q.String.Value))
		}
	}
	return strings.Join(reasons, ", ")
}

func headerReason(h *resource.HeaderMatch, r *route.Request) string {
	if h.Name == ":method" {
		return fmt.Sprintf("the method is %s", r.Method)
	}
	got, there := r.Header[http.CanonicalHeaderKey(h.Name)]
	switch {
	case h.Absent:
		return fmt.Sprintf("the header %s is there", h.Name)
	case !there:
		return fmt.Sprintf("there is no header %s", h.Name)
	case h.String.Regex != nil:
		return fmt.Sprintf("the header %s is %q", h.Name, strings.Join(got, ", "))
	default:
		return fmt.Sprintf("the header %s is %q, not %q", h.Name, strings.Join(got, ", "), h.String.Value)
	}
}
