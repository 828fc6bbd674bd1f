package resource

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	transformv1 "github.com/dragoman-mesh/dragoman/api/dragoman/filters/http/transform/v1"
	"github.com/dragoman-mesh/dragoman/pkg/placeholder"
	"github.com/dragoman-mesh/dragoman/pkg/schema"
	"github.com/dragoman-mesh/dragoman/pkg/transform"
	"github.com/dragoman-mesh/dragoman/pkg/transform/csv"
	"github.com/dragoman-mesh/dragoman/pkg/transform/fields"
	"github.com/dragoman-mesh/dragoman/pkg/transform/form"
	fieldmap "github.com/dragoman-mesh/dragoman/pkg/transform/mapping"
	"github.com/dragoman-mesh/dragoman/pkg/transform/msgpack"
	"github.com/dragoman-mesh/dragoman/pkg/transform/soap"
	"github.com/dragoman-mesh/dragoman/pkg/transform/value"
	"github.com/dragoman-mesh/dragoman/pkg/transform/xml"
)

// noBody is the format of a body that does not come.
const noBody = "none"

func (r *reader) transformResponse(p *transformv1.Response, names *placeholder.Template, path string) *TransformResponse {
	out := &TransformResponse{
		Headers: r.transformFields(p.GetHeaders(), names, true, join(path, "headers")),
		Body:    r.transformBody(p.GetBody(), names, join(path, "body")),
		Schema:  r.transformSchema(p.GetSchema(), p.GetBody().GetFrom(), join(path, "schema")),
		Error:   r.transformBody(p.GetError(), names, join(path, "error")),
	}
	if out.Error == nil && out.Body != nil {
		plain := &transformv1.Body{From: p.GetBody().GetFrom(), To: p.GetBody().GetTo()}
		if b, err := newTransformBody(plain); err == nil {
			out.Error = b
		}
	}
	for _, old := range slices.Sorted(maps.Keys(p.GetStatus())) {
		status, at := p.GetStatus()[old], join(path, "status")
		from, err := strconv.Atoi(strings.TrimSuffix(old, "xx"))
		class := strings.HasSuffix(old, "xx")
		if err != nil || class && (from < 2 || from > 5) || !class && (from < 200 || from > 599) {
			r.fail(at, "%q is no status", old)
		}
		if status < 200 || status > 599 || status == 204 || status == 304 {
			r.fail(at, "%d is no status of a response with a body", status)
		}
		if out.Status == nil {
			out.Status = make(map[int]int)
		}
		out.Status[from] = int(min(status, 599))
	}
	for _, code := range slices.Sorted(maps.Keys(p.GetFaults())) {
		status := p.GetFaults()[code]
		if status < 400 || status > 599 {
			r.fail(join(path, "faults"), "%d is no status of an error", status)
		}
		if out.Faults == nil {
			out.Faults = make(map[string]int)
		}
		out.Faults[code] = int(min(status, 599))
	}
	return out
}

func (r *reader) transformBody(p *transformv1.Body, names *placeholder.Template, path string) *TransformBody {
	if p == nil {
		return nil
	}
	b, err := newTransformBody(p)
	if err != nil {
		r.fail(path, "%v", err)
		return nil
	}
	for _, field := range slices.Sorted(maps.Keys(p.GetValues())) {
		b.Values = append(b.Values, r.transformText(p.GetValues()[field], names, join(path, "values")))
	}
	return b
}

// newTransformBody compiles what a body becomes, but for its values.
func newTransformBody(p *transformv1.Body) (*TransformBody, error) {
	spec := &transform.Spec{
		From: transformSide(p.GetFrom()), To: transformSide(p.GetTo()), Map: transformMap(p.GetMap()), JQ: p.GetJq(),
		Given:  slices.Sorted(maps.Keys(p.GetValues())),
		Limits: value.Limits{Bytes: MaxTransformBytes},
	}
	b := &TransformBody{From: spec.From.Format, To: spec.To.Format, AsIs: p.GetAsIs(), None: p.GetFrom().GetFormat() == noBody}
	var err error
	if b.Program, err = transform.Compile(spec); err != nil {
		return nil, err
	}
	if b.To != transform.SOAP {
		return b, nil
	}
	options := &soap.Options{}
	if spec.To.SOAP != nil {
		options = spec.To.SOAP
	}
	if b.SOAP, b.Action = options.Version, options.Action; b.SOAP != "" {
		return b, nil
	}
	other := *options
	other.Version = soap.V12
	spec.To.SOAP = &other
	b.SOAP = soap.V11
	b.Program12, err = transform.Compile(spec)
	return b, err
}

// transformSchema compiles a schema; side is what the body is written in, JSON if
// nil.
func (r *reader) transformSchema(text string, side *transformv1.Side, path string) *TransformSchema {
	if text == "" {
		return nil
	}
	out := &TransformSchema{}
	var err error
	if out.Schema, err = schema.Compile(text); err != nil {
		r.fail(path, "%v", err)
		return nil
	}
	spec := &transform.Spec{
		From: transform.Side{Format: transform.JSON}, To: transform.Side{Format: transform.JSON},
		Limits: value.Limits{Bytes: MaxTransformBytes},
	}
	if side != nil {
		spec.From = transformSide(side)
	}
	out.Format = spec.From.Format
	if out.Reader, err = transform.Compile(spec); err != nil {
		r.fail(path, "%v", err)
		return nil
	}
	return out
}

// transformSide is a format with its options. A body that is none is an empty
// object.
func transformSide(p *transformv1.Side) transform.Side {
	s := transform.Side{Format: transform.Format(p.GetFormat())}
	switch p.GetFormat() {
	case noBody:
		s.Format = transform.JSON
	case string(transform.XML):
		s.XML = transformXML(p.GetXml())
	case string(transform.SOAP):
		s.SOAP = transformSOAP(p)
	case string(transform.Form):
		s.Form = transformFlat(p.GetFields())
	case string(transform.Multipart):
		s.Multipart = transformFlat(p.GetFields())
	case string(transform.CSV):
		if o := p.GetCsv(); o != nil {
			s.CSV = &csv.Options{
				Delimiter: o.GetDelimiter(), Columns: o.GetColumns(), NoHeader: o.GetNoHeader(),
				Nested: fields.Nested(o.GetNested()), Nulls: fields.Nulls(o.GetNulls()),
			}
		}
	case string(transform.MsgPack):
		if o := p.GetMsgpack(); o != nil {
			s.MsgPack = &msgpack.Options{Round: o.GetRound()}
		}
	}
	return s
}

func transformXML(o *transformv1.Xml) *xml.Options {
	if o == nil {
		return nil
	}
	return &xml.Options{
		Root: o.GetRoot(), Item: o.GetItem(), Attribute: o.GetAttribute(), Text: o.GetText(), Content: xml.Content(o.GetContent()),
		Namespaces: o.GetNamespaces(), StripNamespaces: o.GetStripNamespaces(), Nulls: xml.Nulls(o.GetNulls()),
	}
}

func transformSOAP(p *transformv1.Side) *soap.Options {
	o := p.GetSoap()
	out := &soap.Options{
		Version: soap.Version(o.GetVersion()), Namespace: o.GetNamespace(), Operation: o.GetOperation(), Action: o.GetAction(), Unqualified: o.GetUnqualified(), Header: o.GetHeader(),
	}
	if x := transformXML(p.GetXml()); x != nil {
		out.XML = *x
	}
	return out
}

func transformFlat(o *transformv1.Flat) *form.Options {
	if o == nil {
		return nil
	}
	return &form.Options{Nested: fields.Nested(o.GetNested()), Nulls: fields.Nulls(o.GetNulls())}
}

func transformMap(p *transformv1.Map) *fieldmap.Map {
	if p == nil {
		return nil
	}
	out := &fieldmap.Map{
		Drop: p.GetDrop(), Move: p.GetMove(), Default: p.GetDefault(), Constant: p.GetConstant(), List: p.GetList(),
	}
	if p.GetCoerce() != nil {
		out.Coerce = make(map[string]fieldmap.Type, len(p.GetCoerce()))
		for path, t := range p.GetCoerce() {
			out.Coerce[path] = fieldmap.Type(t)
		}
	}
	if p.GetEach() != nil {
		out.Each = make(map[string]*fieldmap.Map, len(p.GetEach()))
		for path, each := range p.GetEach() {
			out.Each[path] = transformMap(each)
		}
	}
	return out
}
