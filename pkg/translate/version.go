package translate

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/timestamppb"

	transformv1 "github.com/dragoman-mesh/dragoman/api/dragoman/filters/http/transform/v1"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
)

// spoken is one way in which a request says its version.
type spoken struct {
	prefix string // of the path
	header *routev3.HeaderMatcher
}

// versions makes the routes of an API that has older versions.
type versions struct {
	t    *translator
	api  *mesh.APIAdapter
	spec *mesh.APIVersions
	name string // of the cluster
	out  []*routev3.Route
}

func (t *translator) versionRoutes(api *mesh.APIAdapter, name string) []*routev3.Route {
	v := &versions{t: t, api: api, spec: api.Versions, name: name}
	for i := range v.spec.Older {
		v.older(&v.spec.Older[i], v.says(v.spec.Older[i].Name))
	}
	v.app(v.says(v.spec.App))
	v.unknown()
	if v.spec.Default == v.spec.App {
		v.app(v.saysNothing())
	}
	for i := range v.spec.Older {
		if o := &v.spec.Older[i]; o.Name == v.spec.Default {
			v.older(o, v.saysNothing())
		}
	}
	if v.spec.Default == "" && v.spec.Path == "" {
		v.out = append(v.out, answering(anyPath(), &transformv1.Problem{
			Status: http.StatusBadRequest, Detail: "the request does not say its version: " + v.how(),
		}))
	}
	return v.out
}

func anyPath() *routev3.RouteMatch {
	return &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"}}
}

// prefix is what paths of a version begin with.
func (v *versions) prefix(version string) string {
	return strings.Replace(v.spec.Path, "{version}", version, 1)
}

// says is how requests say a version.
func (v *versions) says(version string) spoken {
	switch {
	case v.spec.Path != "":
		return spoken{prefix: v.prefix(version)}
	case v.spec.Header != "":
		return spoken{header: exactHeader(v.spec.Header, version)}
	default:
		return spoken{header: regexHeader("Accept", `(?i).*;\s*version\s*=\s*"?(?-i:`+regexp.QuoteMeta(version)+`)"?\s*([;,].*)?`)}
	}
}

func regexHeader(name, pattern string) *routev3.HeaderMatcher {
	return &routev3.HeaderMatcher{Name: name, HeaderMatchSpecifier: &routev3.HeaderMatcher_StringMatch{
		StringMatch: &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_SafeRegex{
			SafeRegex: &matcherv3.RegexMatcher{Regex: pattern},
		}},
	}}
}

// saysNothing is how requests are that say no version; the routes before have
// taken those that say one.
func (v *versions) saysNothing() spoken {
	if v.spec.Header != "" {
		return spoken{header: &routev3.HeaderMatcher{
			Name: v.spec.Header, HeaderMatchSpecifier: &routev3.HeaderMatcher_PresentMatch{PresentMatch: false},
		}}
	}
	return spoken{}
}

// how tells people how to say a version.
func (v *versions) how() string {
	var names []string
	for i := range v.spec.Older {
		names = append(names, v.spec.Older[i].Name)
	}
	list := strings.Join(append(names, v.spec.App), ", ")
	if v.spec.Header != "" {
		return "the header " + v.spec.Header + " may be " + list
	}
	return "the parameter version of Accept may be " + list
}

// unknown refuses versions that there are none of.
func (v *versions) unknown() {
	if v.spec.Path != "" {
		return
	}
	match, status := anyPath(), uint32(http.StatusBadRequest)
	match.Headers = []*routev3.HeaderMatcher{exactHeader(v.spec.Header, "*")}
	if v.spec.MediaType != "" {
		status = http.StatusNotAcceptable
		match.Headers = []*routev3.HeaderMatcher{regexHeader("Accept", `(?i).*;\s*version\s*=.*`)}
	}
	v.out = append(v.out, answering(match, &transformv1.Problem{Status: status, Detail: "there is no such version: " + v.how()}))
}

// older makes the routes of a version that the app does not speak.
func (v *versions) older(o *mesh.OlderVersion, s spoken) {
	next := v.spec.Next(o)
	for i := range o.Routes {
		r := o.Routes[i]
		v.add(&r, s, v.prefix(next), fmt.Sprintf("%s %s", o.Name, routeName(&r.Match, i)), func(c *transformv1.Route) { v.become(c, o, next) })
	}
	v.otherMethods(o.Name, o.Routes, s, v.announced(o, next))
	v.rest(s, v.prefix(next), o.Name, func(c *transformv1.Route) { v.become(c, o, next) })
}

// app makes those of the version that the app speaks.
func (v *versions) app(s spoken) {
	prefix := v.prefix(v.spec.App)
	if v.spec.AppPath != "" {
		prefix = strings.TrimSuffix(v.spec.AppPath, "/")
	}
	for i := range v.api.Routes {
		r := v.api.Routes[i]
		v.add(&r, s, prefix, fmt.Sprintf("%s %s", v.spec.App, routeName(&r.Match, i)), nil)
	}
	if len(v.api.Routes) == 0 {
		v.rest(s, prefix, v.spec.App, nil)
	}
	v.otherMethods(v.spec.App, v.api.Routes, s, nil)
	if s.header != nil && len(v.api.Routes) > 0 {
		match := anyPath()
		match.Headers = []*routev3.HeaderMatcher{s.header}
		v.out = append(v.out, answering(match, notFound()))
	}
}

// otherMethods makes routes for paths of a version with methods that neither it nor
// what it becomes has.
func (v *versions) otherMethods(version string, list []mesh.APIRoute, s spoken, announced *transformv1.Fields) {
	var done []string
	for i := range list {
		path := list[i].Match.Path
		if slices.Contains(done, path) {
			continue
		}
		done = append(done, path)
		allowed := map[string]bool{}
		v.methods(version, path, allowed)
		if allowed[""] {
			continue
		}
		made := otherMethods(s.prefix+path, slices.Sorted(maps.Keys(allowed)), announced)
		if s.header != nil {
			made.Match.Headers = append(made.Match.Headers, s.header)
		}
		v.out = append(v.out, made)
	}
}

// methods adds those that a version, or one that it becomes, may have for a path;
// "" stands for all.
func (v *versions) methods(version, path string, allowed map[string]bool) {
	list, next := v.api.Routes, ""
	for i := range v.spec.Older {
		if o := &v.spec.Older[i]; o.Name == version {
			list, next = o.Routes, v.spec.Next(o)
		}
	}
	for i := range list {
		if m := &list[i].Match; mayBoth(m.Path, path) {
			allowed[m.Method] = true
		}
	}
	switch {
	case next != "":
		v.methods(next, path, allowed)
	case len(list) == 0:
		allowed[""] = true // the app decides
	}
}

// mayBoth tells whether there are paths that two templates match.
func mayBoth(a, b string) bool {
	x, y := strings.Split(a, "/"), strings.Split(b, "/")
	for i := range x {
		switch {
		case i < len(y) && strings.HasSuffix(y[i], "=**}"), strings.HasSuffix(x[i], "=**}"):
			return true
		case i >= len(y):
			return false
		case x[i] != y[i] && !strings.HasPrefix(x[i], "{") && !strings.HasPrefix(y[i], "{"):
			return false
		}
	}
	return len(x) == len(y) || len(y) == len(x)+1 && strings.HasSuffix(y[len(x)], "=**}")
}

// add makes a route of one in the document, whose paths follow a prefix each.
func (v *versions) add(r *mesh.APIRoute, s spoken, prefix, name string, more func(*transformv1.Route)) {
	request := mesh.APIRequest{}
	if r.Request != nil {
		request = *r.Request
	}
	request.Path = prefix + cmp.Or(request.Path, asText(r.Match.Path))
	r.Match.Path = s.prefix + r.Match.Path
	r.Request = &request
	config := &transformv1.Route{Name: name, Path: r.Match.Path, Request: apiRequest(r.Request), Response: apiResponse(r.Response)}
	if more != nil {
		more(config)
	}
	made := v.t.apiRoute(r, v.api, config, v.name)
	if s.header != nil {
		made.Match.Headers = append(made.Match.Headers, s.header)
	}
	v.out = append(v.out, made)
}

// asText is a path template as a text with values in it.
func asText(template string) string { return strings.ReplaceAll(template, "=**}", "}") }

// rest makes the routes of requests that no route of the document matches.
func (v *versions) rest(s spoken, prefix, name string, more func(*transformv1.Route)) {
	v.add(&mesh.APIRoute{Match: mesh.APIMatch{Path: "/{rest=**}"}}, s, prefix, name+" rest", more)
	if s.prefix != "" {
		r := &mesh.APIRoute{Match: mesh.APIMatch{Path: ""}, Request: &mesh.APIRequest{Path: "/"}}
		if prefix != "" {
			r.Request = nil
		}
		v.add(r, s, prefix, name+" top", more)
	}
}

// become has a request go on as one of the next version, and says of responses
// that the version is an old one.
func (v *versions) become(c *transformv1.Route, o *mesh.OlderVersion, next string) {
	c.Reroute = true
	if o.AfterSunset == "Refuse" {
		c.Gone = timestamppb.New(o.Sunset.Time)
	}
	headers := set(&c.GetRequest().Headers)
	if v.spec.Header != "" {
		headers.Set[v.spec.Header] = next
	}
	if v.spec.MediaType != "" {
		headers.Set["Accept"] = v.spec.MediaType + "; version=" + next
	}
	c.OwnHeaders = v.announced(o, next)
}

// announced is what responses to clients of a version say of it. Those of an older
// one that becomes this one say what is true of that.
func (v *versions) announced(o *mesh.OlderVersion, next string) *transformv1.Fields {
	var out *transformv1.Fields
	if !o.Deprecated.IsZero() {
		set(&out).Set["Deprecation"] = fmt.Sprintf("@%d", o.Deprecated.Unix())
	}
	if !o.Sunset.IsZero() {
		set(&out).Set["Sunset"] = o.Sunset.UTC().Format(http.TimeFormat)
	}
	var links []string
	if o.Link != "" {
		relation := "deprecation"
		if o.Deprecated.IsZero() && !o.Sunset.IsZero() {
			relation = "sunset"
		}
		links = append(links, "<"+o.Link+`>; rel="`+relation+`"; type="text/html"`)
	}
	successor := o.Successor
	if successor == "" && v.spec.Path != "" {
		successor = v.prefix(next)
	}
	if successor != "" {
		links = append(links, "<"+successor+`>; rel="successor-version"`)
	}
	if len(links) > 0 {
		set(&out).Add["Link"] = strings.Join(links, ", ")
	}
	return out
}

// set makes sure that fields are there to be set.
func set(f **transformv1.Fields) *transformv1.Fields {
	if *f == nil {
		*f = &transformv1.Fields{}
	}
	if (*f).Set == nil {
		(*f).Set = map[string]string{}
	}
	if (*f).Add == nil {
		(*f).Add = map[string]string{}
	}
	return *f
}
