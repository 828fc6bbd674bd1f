package transcode

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/dragoman-mesh/dragoman/pkg/transform/pbjson"
)

// HTTPRequest is what a message becomes.
type HTTPRequest struct {
	Method string
	Path   string // escaped
	Query  string
	Body   []byte
	// ContentType of the body; "": there is no body.
	ContentType string
	Binding     *Binding // by which the answer is read
}

// ErrNoBinding is returned by Request for a message that no rule of its method
// fits.
var ErrNoBinding = errors.New("no rule of google.api.http fits the message")

// Request makes a request of a message, by the first rule whose variables the
// message has values for.
func (m *Method) Request(wire []byte, o pbjson.WriteOptions) (*HTTPRequest, error) {
	msg := m.input.New()
	if err := (proto.UnmarshalOptions{RecursionLimit: pbjson.MaxDepth}).Unmarshal(wire, msg.Interface()); err != nil {
		return nil, pbjson.ErrWire
	}
	first := ErrNoBinding
	for _, b := range m.Bindings {
		r, err := b.request(proto.Clone(msg.Interface()).ProtoReflect(), o)
		if err == nil {
			return r, nil
		}
		if errors.Is(first, ErrNoBinding) {
			first = fmt.Errorf("%w: %w", ErrNoBinding, err)
		}
	}
	return nil, first
}

// request uses up the message.
func (b *Binding) request(msg protoreflect.Message, o pbjson.WriteOptions) (*HTTPRequest, error) {
	values := make([]string, len(b.variables))
	for i, path := range b.variables {
		text, err := b.text(msg, path, o)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", dotted(path), err)
		}
		values[i] = text
	}
	path, err := b.Template.Expand(values)
	if err != nil {
		return nil, err
	}
	for _, v := range b.variables {
		clearField(msg, v)
	}
	r := &HTTPRequest{Method: b.HTTPMethod, Path: path, Binding: b}
	if r.Method == "*" {
		r.Method = "POST"
	}
	if err := b.content(msg, r, o); err != nil || b.all {
		return r, err
	}
	query := url.Values{}
	if err := b.query(msg, b.Method.Input, "", query, o); err != nil {
		return nil, err
	}
	r.Query = strings.ReplaceAll(query.Encode(), "+", "%20") // a + is a space for some only
	return r, nil
}

// Body makes a body of a message that comes after the one that Request was called
// with, in a stream.
func (b *Binding) Body(wire []byte, o pbjson.WriteOptions) ([]byte, error) {
	msg := b.Method.input.New()
	if err := (proto.UnmarshalOptions{RecursionLimit: pbjson.MaxDepth}).Unmarshal(wire, msg.Interface()); err != nil {
		return nil, pbjson.ErrWire
	}
	var r HTTPRequest
	err := b.content(msg, &r, o)
	return r.Body, err
}

// content makes the body, and takes what is in it out of the message.
func (b *Binding) content(msg protoreflect.Message, r *HTTPRequest, o pbjson.WriteOptions) error {
	if !b.HasBody() {
		return nil
	}
	r.ContentType = "application/json"
	holder, f := msg, (*pbjson.Field)(nil)
	if !b.all {
		for _, step := range b.body[:len(b.body)-1] {
			holder = holder.Mutable(step.Desc).Message()
		}
		f = b.body[len(b.body)-1]
	}
	wire, err := proto.MarshalOptions{AllowPartial: true, Deterministic: true}.Marshal(holder.Interface())
	if err != nil {
		return err
	}
	switch {
	case b.RawRequest:
		raw := &Binding{Method: &Method{Output: b.Method.Input}, response: f}
		r.ContentType, r.Body, err = raw.RawBody(wire)
		if r.ContentType == "" {
			r.ContentType = "application/octet-stream"
		}
	case b.all:
		r.Body, err = b.Method.Input.AppendJSON(nil, wire, o)
	default:
		r.Body, err = b.holderType().AppendFieldJSON(nil, f, wire, o)
	}
	if f != nil {
		holder.Clear(f.Desc)
	}
	return err
}

// holderType is the message that has the field of the body.
func (b *Binding) holderType() *pbjson.Message {
	if n := len(b.body); n > 1 {
		return b.body[n-2].Message()
	}
	return b.Method.Input
}

func clearField(msg protoreflect.Message, path []*pbjson.Field) {
	for _, f := range path[:len(path)-1] {
		if !msg.Has(f.Desc) {
			return
		}
		msg = msg.Mutable(f.Desc).Message()
	}
	msg.Clear(path[len(path)-1].Desc)
}

// text gives a field's value as paths and queries have it.
func (b *Binding) text(msg protoreflect.Message, path []*pbjson.Field, o pbjson.WriteOptions) (string, error) {
	m := b.Method.Input
	for _, f := range path[:len(path)-1] {
		msg, m = msg.Get(f.Desc).Message(), f.Message()
	}
	f := path[len(path)-1]
	wire, err := proto.MarshalOptions{AllowPartial: true, Deterministic: true}.Marshal(msg.Interface())
	if err != nil {
		return "", err
	}
	json, err := m.AppendFieldJSON(nil, f, wire, o)
	if err != nil {
		return "", err
	}
	return plain(json), nil
}

// plain takes the quotes off a value.
func plain(json []byte) string {
	if text, ok := pbjson.Text(json); ok {
		return text
	}
	return string(json)
}

// query adds the fields of a message, by their names behind prefix.
func (b *Binding) query(msg protoreflect.Message, m *pbjson.Message, prefix string, out url.Values, o pbjson.WriteOptions) error {
	wire, err := proto.MarshalOptions{AllowPartial: true, Deterministic: true}.Marshal(msg.Interface())
	if err != nil {
		return err
	}
	msg.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		name := fd.JSONName()
		if o.ProtoNames {
			name = fd.TextName()
		}
		f := m.Field(fd.TextName())
		switch {
		case f == nil || fd.IsMap() || fd.IsList() && !f.Textual():
			err = fmt.Errorf("%s%s cannot be a parameter of a query", prefix, name)
		case fd.IsList():
			err = b.elements(m, f, wire, prefix+name, out, o)
		case f.Textual():
			var json []byte
			json, err = m.AppendFieldJSON(nil, f, wire, o)
			out.Add(prefix+name, plain(json))
		default:
			err = b.query(v.Message(), f.Message(), prefix+name+".", out, o)
		}
		return err == nil
	})
	return err
}

// elements adds a parameter for each element of a list.
func (b *Binding) elements(m *pbjson.Message, f *pbjson.Field, wire []byte, name string, out url.Values, o pbjson.WriteOptions) error {
	json, err := m.AppendFieldJSON(nil, f, wire, o)
	if err != nil {
		return err
	}
	list, err := pbjson.Elements(json)
	for _, element := range list {
		out.Add(name, plain(element))
	}
	return err
}

// reversible says why requests cannot be made by the rule.
func (b *Binding) reversible() string {
	for i := range b.Template.Segments {
		if s := &b.Template.Segments[i]; s.Kind != 0 && !b.variable(i) {
			return "has a wildcard that is no variable: there is no value for it"
		}
	}
	if b.all {
		return ""
	}
	return b.expressible(b.Method.Input, nil, map[*pbjson.Message]bool{})
}

func (b *Binding) variable(segment int) bool {
	for _, v := range b.Template.Variables {
		if segment >= v.Start && segment < v.End {
			return true
		}
	}
	return false
}

// expressible says which field neither path, query nor body can hold.
func (b *Binding) expressible(m *pbjson.Message, at []string, seen map[*pbjson.Message]bool) string {
	if seen[m] {
		return ""
	}
	seen[m] = true
	for i := range m.Desc.Fields().Len() {
		fd := m.Desc.Fields().Get(i)
		f := m.Field(fd.TextName())
		path := append(slices.Clip(at), f.Name())
		if b.body != nil && strings.HasPrefix(strings.Join(path, ".")+".", dotted(b.body)+".") {
			continue
		}
		switch {
		case f.Textual():
		case fd.IsMap() || fd.IsList() || f.Message().Desc.ParentFile().Package() == "google.protobuf" && f.Message().Desc.Fields().Len() > 0:
			return fmt.Sprintf("the field %s cannot be a parameter of a query; name it, or *, as body", strings.Join(path, "."))
		default:
			if reason := b.expressible(f.Message(), path, seen); reason != "" {
				return reason
			}
		}
	}
	return ""
}
