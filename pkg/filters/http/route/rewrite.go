package route

import (
	"strings"

	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// Rewrite gives the path that goes upstream.
func Rewrite(rw *resource.PathRewrite, m *resource.PathMatch, path string) string {
	switch {
	case rw.Prefix != nil:
		return rewritePrefix(*rw.Prefix, m, path)
	case rw.Regex != nil:
		return rw.Regex.ReplaceAllString(path, rw.Subst)
	case rw.Template != nil:
		return rewriteTemplate(rw.Template, m, path)
	default:
		return path
	}
}

// rewritePrefix replaces what the match has matched: all of the path where it
// was no prefix.
func rewritePrefix(prefix string, m *resource.PathMatch, path string) string {
	rest := ""
	if m.Kind == resource.PathPrefix || m.Kind == resource.PathSegments {
		rest = path[min(len(m.Value), len(path)):]
	}
	if m.Kind == resource.PathSegments && prefix == "/" && strings.HasPrefix(rest, "/") {
		return rest
	}
	if out := prefix + rest; strings.HasPrefix(out, "/") {
		return out
	}
	return "/" + prefix + rest
}

func rewriteTemplate(t *resource.Template, m *resource.PathMatch, path string) string {
	found := m.Regex.FindStringSubmatch(path)
	if found == nil {
		return path // a filter has changed the path since
	}
	var out strings.Builder
	for _, p := range t.Parts {
		if p.Variable == "" {
			out.WriteString(p.Literal)
			continue
		}
		out.WriteString(found[m.Regex.SubexpIndex(p.Variable)])
	}
	return out.String()
}

// Location is where a redirect leads.
func Location(rd *resource.Redirect, m *resource.PathMatch, r *Request) string {
	scheme := rd.Scheme
	if scheme == "" {
		scheme = r.Scheme
	}
	host := r.Host
	if rd.Host != "" {
		host = rd.Host
	}
	if port := portOf(rd.Port); port != "" {
		host = WithoutPort(host) + ":" + port
	} else if rd.Host == "" && scheme != r.Scheme {
		host = withoutDefault(host, r.Scheme)
	}
	path, query := r.Path, r.Query
	if rd.Path != "" {
		var given bool
		if path, query, given = strings.Cut(rd.Path, "?"); !given {
			query = r.Query
		}
	} else {
		path = Rewrite(&rd.Rewrite, m, path)
	}
	out := scheme + "://" + host + path
	if query != "" && !rd.StripQuery {
		out += "?" + query
	}
	return out
}

func portOf(port uint32) string {
	if port == 0 {
		return ""
	}
	var digits [5]byte
	at := len(digits)
	for ; port > 0 && at > 0; port /= 10 {
		at--
		digits[at] = byte('0' + port%10)
	}
	return string(digits[at:])
}

// withoutDefault drops a port that is the default one of the scheme that is
// left.
func withoutDefault(host, scheme string) string {
	if scheme == "http" && strings.HasSuffix(host, ":80") || scheme == "https" && strings.HasSuffix(host, ":443") {
		return WithoutPort(host)
	}
	return host
}
