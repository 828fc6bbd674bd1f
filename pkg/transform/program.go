package transform

import (
	"github.com/dragoman-mesh/dragoman/pkg/transform/json"
	"github.com/dragoman-mesh/dragoman/pkg/transform/multipart"
	"github.com/dragoman-mesh/dragoman/pkg/transform/soap"
	"github.com/dragoman-mesh/dragoman/pkg/transform/value"
)

// ContentType is the Content-Type of a body that Apply or Stream made: a body of
// multipart names its boundary.
func (p *Program) ContentType(body []byte) string {
	switch p.to.Format {
	case SOAP:
		opt := orZero(p.to.SOAP)
		return soap.ContentType(opt.Version, opt.Action)
	case Multipart:
		return `multipart/form-data; boundary="` + multipart.Boundary("", string(body[:min(len(body), 128)])) + `"`
	}
	return ContentType(p.to.Format)
}

// From and To are the formats.
func (p *Program) From() Format { return p.from.Format }

// To is the format of what Apply makes.
func (p *Program) To() Format { return p.to.Format }

// AppendFault appends, in the format that Apply writes, what a fault says, as an
// object: {"fault": {"code", "subcode", "reason", "actor", "detail"}} with what
// there is of them. The map is not applied to it. Apply returns the *soap.Fault as its error.
func (p *Program) AppendFault(dst []byte, f *soap.Fault) ([]byte, error) {
	var doc value.Doc
	doc.Reset(p.limits.Nodes)
	inner := doc.New(value.Object, "")
	for _, m := range []struct{ name, text string }{{"code", f.Code}, {"subcode", f.Subcode}, {"reason", f.Reason}, {"actor", f.Actor}} {
		if m.text != "" {
			doc.Set(inner, m.name, doc.New(value.String, m.text))
		}
	}
	if f.Detail != "" {
		detail, err := json.Decode(&doc, f.Detail, &p.limits)
		if err != nil {
			return dst, err
		}
		doc.Set(inner, "detail", detail)
	}
	root := doc.New(value.Object, "")
	doc.Set(root, "fault", inner)
	return p.write(dst, &doc, root)
}
