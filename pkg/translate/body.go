package translate

import (
	"cmp"
	"maps"
	"slices"

	transformv1 "github.com/dragoman-mesh/dragoman/api/dragoman/filters/http/transform/v1"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
)

// apiBody is what becomes of a body.
func apiBody(b *mesh.BodyTransform) *transformv1.Body {
	if b == nil {
		return nil
	}
	return &transformv1.Body{
		From: apiSide(b, b.From), To: apiSide(b, b.To), Values: maps.Clone(b.Values), Map: apiMap(b.Map), Jq: b.JQ, AsIs: b.AsIs,
	}
}

// apiSide is one format with the options of the document that are for it.
func apiSide(b *mesh.BodyTransform, f mesh.BodyFormat) *transformv1.Side {
	s := &transformv1.Side{Format: string(f)}
	switch f {
	case mesh.BodyXML, mesh.BodySOAP:
		if x := b.XML; x != nil {
			s.Xml = &transformv1.Xml{
				Root: x.Root, Item: x.Item, Attribute: x.Attribute, Text: x.Text, Content: string(x.Content),
				Namespaces: maps.Clone(x.Namespaces), StripNamespaces: x.StripNamespaces, Nulls: string(x.Nulls),
			}
		}
		if o := b.SOAP; o != nil && f == mesh.BodySOAP {
			s.Soap = &transformv1.Soap{
				Version: string(o.Version), Namespace: o.Namespace, Operation: o.Operation, Action: o.Action, Unqualified: o.Unqualified, Header: o.Header,
			}
		}
	case mesh.BodyForm:
		s.Fields = apiFlat(b.Form)
	case mesh.BodyMultipart:
		s.Fields = apiFlat(b.Multipart)
	case mesh.BodyCSV:
		if o := b.CSV; o != nil {
			s.Csv = &transformv1.Csv{
				Delimiter: o.Delimiter, Columns: slices.Clone(o.Columns), NoHeader: o.NoHeader, Nested: string(o.Nested), Nulls: string(o.Nulls),
			}
		}
	case mesh.BodyMsgPack:
		if o := b.MsgPack; o != nil {
			s.Msgpack = &transformv1.MsgPack{Round: o.Round}
		}
	}
	return s
}

func apiFlat(o *mesh.FieldsOptions) *transformv1.Flat {
	if o == nil {
		return nil
	}
	return &transformv1.Flat{Nested: string(o.Nested), Nulls: string(o.Nulls)}
}

func apiMap(m *mesh.BodyMap) *transformv1.Map {
	if m == nil {
		return nil
	}
	out := &transformv1.Map{
		Drop: slices.Clone(m.Drop), Move: maps.Clone(m.Move), Default: maps.Clone(m.Default), Constant: maps.Clone(m.Constant),
		List: slices.Clone(m.List),
	}
	if m.Coerce != nil {
		out.Coerce = make(map[string]string, len(m.Coerce))
		for path, t := range m.Coerce {
			out.Coerce[path] = string(t)
		}
	}
	if m.Each != nil {
		out.Each = make(map[string]*transformv1.Map, len(m.Each))
		for path, each := range m.Each {
			out.Each[path] = apiMap(each)
		}
	}
	return out
}

// schemaText is the one of two that is there, empty if neither is.
func schemaText(inline, file *mesh.JSONSchema) string {
	if s := cmp.Or(inline, file); s != nil {
		return s.Text
	}
	return ""
}
