package mesh

import (
	"maps"
	"slices"

	"github.com/dragoman-mesh/dragoman/pkg/transform"
	"github.com/dragoman-mesh/dragoman/pkg/transform/csv"
	"github.com/dragoman-mesh/dragoman/pkg/transform/fields"
	"github.com/dragoman-mesh/dragoman/pkg/transform/form"
	"github.com/dragoman-mesh/dragoman/pkg/transform/mapping"
	"github.com/dragoman-mesh/dragoman/pkg/transform/msgpack"
	"github.com/dragoman-mesh/dragoman/pkg/transform/soap"
	"github.com/dragoman-mesh/dragoman/pkg/transform/value"
	"github.com/dragoman-mesh/dragoman/pkg/transform/xml"
)

// Spec is what the engine makes of it. A body that is none is an empty object.
func (b *BodyTransform) Spec(maxBytes int) *transform.Spec {
	return &transform.Spec{
		From: b.side(b.From), To: b.side(b.To), Map: b.Map.spec(), JQ: b.JQ,
		Given:  slices.Sorted(maps.Keys(b.Values)),
		Limits: value.Limits{Bytes: maxBytes},
	}
}

// side is one format with its options.
func (b *BodyTransform) side(f BodyFormat) transform.Side {
	s := transform.Side{Format: transform.Format(f)}
	switch f {
	case BodyNone:
		s.Format = transform.JSON
	case BodyXML:
		s.XML = b.XML.options()
	case BodySOAP:
		s.SOAP = b.SOAP.options(b.XML)
	case BodyForm:
		s.Form = b.Form.options()
	case BodyMultipart:
		s.Multipart = b.Multipart.options()
	case BodyCSV:
		if o := b.CSV; o != nil {
			s.CSV = &csv.Options{
				Delimiter: o.Delimiter, Columns: o.Columns, NoHeader: o.NoHeader,
				Nested: fields.Nested(o.Nested), Nulls: fields.Nulls(o.Nulls),
			}
		}
	case BodyMsgPack:
		if o := b.MsgPack; o != nil {
			s.MsgPack = &msgpack.Options{Round: o.Round}
		}
	}
	return s
}

func (m *BodyMap) spec() *mapping.Map {
	if m == nil {
		return nil
	}
	out := &mapping.Map{Drop: m.Drop, Move: m.Move, Default: m.Default, Constant: m.Constant, List: m.List}
	if m.Coerce != nil {
		out.Coerce = make(map[string]mapping.Type, len(m.Coerce))
		for path, t := range m.Coerce {
			out.Coerce[path] = mapping.Type(t)
		}
	}
	if m.Each != nil {
		out.Each = make(map[string]*mapping.Map, len(m.Each))
		for path, each := range m.Each {
			out.Each[path] = each.spec()
		}
	}
	return out
}

func (o *XMLOptions) options() *xml.Options {
	if o == nil {
		return nil
	}
	return &xml.Options{
		Root: o.Root, Item: o.Item, Attribute: o.Attribute, Text: o.Text, Content: xml.Content(o.Content),
		Namespaces: o.Namespaces, StripNamespaces: o.StripNamespaces, Nulls: xml.Nulls(o.Nulls),
	}
}

func (o *SOAPOptions) options(x *XMLOptions) *soap.Options {
	out := &soap.Options{}
	if o != nil {
		out = &soap.Options{
			Version: soap.Version(o.Version), Namespace: o.Namespace, Operation: o.Operation, Action: o.Action, Unqualified: o.Unqualified, Header: o.Header,
		}
	}
	if inner := x.options(); inner != nil {
		out.XML = *inner
	}
	return out
}

func (o *FieldsOptions) options() *form.Options {
	if o == nil {
		return nil
	}
	return &form.Options{Nested: fields.Nested(o.Nested), Nulls: fields.Nulls(o.Nulls)}
}
