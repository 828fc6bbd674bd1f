package transcode

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/dragoman-mesh/dragoman/pkg/transform/httprule"
	"github.com/dragoman-mesh/dragoman/pkg/transform/pbjson"
)

// Options say which methods there are and how requests find them.
type Options struct {
	// Services by their full names.
	Services []string
	// AutoMapping makes methods without a rule POST /package.Service/Method, with
	// all of the message in the body.
	AutoMapping bool
	// Rules by their selectors, the full names of methods; they go before the
	// annotations.
	Rules []*annotations.HttpRule
	// Unescape and UnknownVerbs are those of httprule.Matcher.
	Unescape     httprule.Unescape
	UnknownVerbs bool
	// Reverse demands of each rule that a request can be made of a message by it.
	Reverse bool
}

// RuleError says what is wrong with one rule.
type RuleError struct {
	Method  string // full name; of the service, if it is that which is not there
	Binding string // as in "get /v1/{name}"; "": the method as a whole
	Reason  string

	oneWay bool // requests are understood by the rule, but none can be made by it
}

// Error implements error.
func (e *RuleError) Error() string {
	if e.Binding == "" {
		return e.Method + ": " + e.Reason
	}
	return e.Method + ": " + e.Binding + ": " + e.Reason
}

// API is the methods of some services. It is read-only.
type API struct {
	Files    *protoregistry.Files
	Services []string // full names

	status  *pbjson.Message // google.rpc.Status
	methods map[string]*Method
	matcher httprule.Matcher[*Binding]
}

// Method is one of a service.
type Method struct {
	Name          string // full, as in "shop.Orders.Get"
	Path          string // of gRPC, as in "/shop.Orders/Get"
	Input, Output *pbjson.Message
	ClientStreams bool
	ServerStreams bool
	Bindings      []*Binding
	input         protoreflect.MessageType // for the reverse
}

// Binding is one way in which HTTP requests mean a method.
type Binding struct {
	Method     *Method
	HTTPMethod string
	Template   *httprule.Template
	variables  [][]*pbjson.Field // the field of each variable of the template
	all        bool              // the body is the whole message
	body       []*pbjson.Field   // the field that the body is; nil: there is none, or all
	response   *pbjson.Field     // the field that the answer is; nil: all
	// RawRequest and RawResponse say that the body is no JSON, but what a
	// google.api.HttpBody holds.
	RawRequest, RawResponse bool
}

// Compile prepares the methods. An error joins *RuleErrors, of all that is wrong.
func Compile(files *protoregistry.Files, o Options) (*API, error) {
	c := &compiler{
		o: o, files: files, types: pbjson.NewTypes(files),
		api: &API{Files: files, Services: o.Services, methods: make(map[string]*Method)}, rules: make(map[string]*annotations.HttpRule),
	}
	c.api.matcher.Unescape, c.api.matcher.UnknownVerbs = o.Unescape, o.UnknownVerbs
	c.api.status = statusType(files, c.types)
	for _, r := range o.Rules {
		if c.rules[r.GetSelector()] != nil {
			c.fail(r.GetSelector(), "", "there are two rules for it")
		}
		c.rules[r.GetSelector()] = r
	}
	for _, name := range o.Services {
		c.service(name)
	}
	for selector := range c.rules {
		if !slices.ContainsFunc(c.api.Methods(), func(m *Method) bool { return m.Name == selector }) {
			c.fail(selector, "", "there is a rule for it, but it is no method of the services")
		}
	}
	slices.SortStableFunc(c.errs, func(a, b error) int { return cmp.Compare(a.Error(), b.Error()) })
	if err := errors.Join(c.errs...); err != nil {
		return nil, err
	}
	return c.api, nil
}

// Method finds a method by its gRPC path.
func (a *API) Method(path string) *Method { return a.methods[path] }

// Methods lists them, sorted by name.
func (a *API) Methods() []*Method {
	list := make([]*Method, 0, len(a.methods))
	for _, m := range a.methods {
		list = append(list, m)
	}
	slices.SortFunc(list, func(a, b *Method) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

// compiler prepares one API.
type compiler struct {
	o     Options
	files *protoregistry.Files
	types *pbjson.Types
	api   *API
	rules map[string]*annotations.HttpRule
	errs  []error
}

func (c *compiler) fail(method, binding, format string, args ...any) {
	c.errs = append(c.errs, &RuleError{Method: method, Binding: binding, Reason: fmt.Sprintf(format, args...)})
}

func (c *compiler) service(name string) {
	found, err := c.files.FindDescriptorByName(protoreflect.FullName(name))
	service, ok := found.(protoreflect.ServiceDescriptor)
	if err != nil || !ok {
		c.fail(name, "", "there is no such service among the descriptors, which have: %s", listed(Services(c.files)))
		return
	}
	for i := range service.Methods().Len() {
		c.method(service, service.Methods().Get(i))
	}
}

// listed names some of what there is.
func listed(names []string) string {
	const most = 10
	switch {
	case len(names) == 0:
		return "none"
	case len(names) > most:
		return strings.Join(names[:most], ", ") + ", ..."
	default:
		return strings.Join(names, ", ")
	}
}

func (c *compiler) method(service protoreflect.ServiceDescriptor, desc protoreflect.MethodDescriptor) {
	m := &Method{
		Name: string(desc.FullName()), Path: "/" + string(service.FullName()) + "/" + string(desc.Name()),
		Input: c.types.Message(desc.Input()), Output: c.types.Message(desc.Output()),
		ClientStreams: desc.IsStreamingClient(), ServerStreams: desc.IsStreamingServer(),
		input: dynamicpb.NewMessageType(desc.Input()),
	}
	if c.api.methods[m.Path] != nil {
		c.fail(m.Name, "", "the service is named twice")
		return
	}
	c.api.methods[m.Path] = m
	rule := c.rules[m.Name]
	if rule == nil {
		rule, _ = proto.GetExtension(desc.Options(), annotations.E_Http).(*annotations.HttpRule)
	}
	if rule == nil || rule.GetPattern() == nil {
		if c.o.AutoMapping {
			c.binding(m, &annotations.HttpRule{Pattern: &annotations.HttpRule_Post{Post: m.Path}, Body: "*"})
		}
		return
	}
	c.binding(m, rule)
	for _, more := range rule.GetAdditionalBindings() {
		if len(more.GetAdditionalBindings()) > 0 {
			c.fail(m.Name, described(more), "additional_bindings has additional_bindings of its own")
		}
		c.binding(m, more)
	}
	if c.o.Reverse && len(m.Bindings) > 0 { // one way is enough
		c.errs = slices.DeleteFunc(c.errs, func(err error) bool {
			e := new(RuleError)
			return errors.As(err, &e) && e.Method == m.Name && e.oneWay
		})
	}
}

// pattern gives a rule's method of HTTP and its template.
func pattern(r *annotations.HttpRule) (method, template string) {
	switch p := r.GetPattern().(type) {
	case *annotations.HttpRule_Get:
		return "GET", p.Get
	case *annotations.HttpRule_Put:
		return "PUT", p.Put
	case *annotations.HttpRule_Post:
		return "POST", p.Post
	case *annotations.HttpRule_Delete:
		return "DELETE", p.Delete
	case *annotations.HttpRule_Patch:
		return "PATCH", p.Patch
	case *annotations.HttpRule_Custom:
		return p.Custom.GetKind(), p.Custom.GetPath()
	default:
		return "", ""
	}
}

func described(r *annotations.HttpRule) string {
	method, template := pattern(r)
	return strings.ToLower(method) + " " + template
}

// binding adds one way to a method.
func (c *compiler) binding(m *Method, r *annotations.HttpRule) {
	if c.o.Reverse && m.ClientStreams && r.GetBody() == "" {
		return // nothing of the request could hold a stream
	}
	fail := func(format string, args ...any) { c.fail(m.Name, described(r), format, args...) }
	before := len(c.errs)
	b := &Binding{Method: m}
	var text string
	b.HTTPMethod, text = pattern(r)
	if b.HTTPMethod == "" {
		fail("has no method and path")
		return
	}
	template, err := httprule.Parse(text)
	if err != nil {
		fail("%v", err)
		return
	}
	b.Template = template
	for i := range template.Variables {
		path, reason := fieldPath(m.Input, template.Variables[i].Field)
		if reason == "" {
			reason = leaf(path, false)
		}
		if reason != "" {
			fail("the variable %q %s", strings.Join(template.Variables[i].Field, "."), reason)
			continue
		}
		b.variables = append(b.variables, path)
	}
	if reason := b.setBody(r.GetBody()); reason != "" {
		fail("body %q %s", r.GetBody(), reason)
	}
	if reason := b.setResponse(r.GetResponseBody()); reason != "" {
		fail("response_body %q %s", r.GetResponseBody(), reason)
	}
	if len(c.errs) > before {
		return
	}
	if c.o.Reverse {
		if reason := b.reversible(); reason != "" {
			c.errs = append(c.errs, &RuleError{Method: m.Name, Binding: described(r), Reason: reason, oneWay: true})
			return
		}
	} else if err := c.api.matcher.Add(b.HTTPMethod, template, b); err != nil {
		fail("%v", err)
		return
	}
	m.Bindings = append(m.Bindings, b)
}

const httpBody = "google.api.HttpBody"

func isHTTPBody(m *pbjson.Message) bool { return m != nil && m.Desc.FullName() == httpBody }

func (b *Binding) setBody(body string) (reason string) {
	switch body {
	case "":
		if b.Method.ClientStreams {
			return "is missing: messages of a stream come in the body"
		}
		return ""
	case "*":
		b.all, b.RawRequest = true, isHTTPBody(b.Method.Input)
		return ""
	}
	path, reason := fieldPath(b.Method.Input, strings.Split(body, "."))
	if reason != "" {
		return reason
	}
	last := path[len(path)-1]
	b.body, b.RawRequest = path, isHTTPBody(last.Message()) && !last.Desc.IsList()
	return ""
}

func (b *Binding) setResponse(field string) (reason string) {
	b.RawResponse = isHTTPBody(b.Method.Output)
	if field == "" || field == "*" {
		return ""
	}
	if b.response = b.Method.Output.Field(field); b.response == nil {
		return "is not a field of " + string(b.Method.Output.Desc.FullName())
	}
	b.RawResponse = isHTTPBody(b.response.Message()) && !b.response.Desc.IsList()
	return ""
}

// fieldPath finds the fields that names lead through.
func fieldPath(m *pbjson.Message, names []string) (path []*pbjson.Field, reason string) {
	for i, name := range names {
		if m == nil {
			return nil, fmt.Sprintf("goes on after %q, which is no message", names[i-1])
		}
		f := m.Field(name)
		if f == nil {
			return nil, fmt.Sprintf("is not a field: %s has no %q", m.Desc.FullName(), name)
		}
		if i > 0 && path[i-1].Desc.IsList() {
			return nil, fmt.Sprintf("goes through %q, which is a list", names[i-1])
		}
		path = append(path, f)
		if m = f.Message(); f.Desc.IsMap() {
			m = nil
		}
	}
	return path, ""
}

// leaf says why the end of a path cannot have a text as its value.
func leaf(path []*pbjson.Field, list bool) (reason string) {
	f := path[len(path)-1]
	switch {
	case f.Desc.IsList() && !list:
		return "is a list"
	case f.Desc.IsMap():
		return "is a map"
	case !f.Textual():
		return "is a message, not a value"
	default:
		return ""
	}
}
