package soap

import (
	"strings"

	"github.com/dragoman-mesh/dragoman/pkg/transform/json"
	"github.com/dragoman-mesh/dragoman/pkg/transform/value"
	"github.com/dragoman-mesh/dragoman/pkg/transform/xml"
)

const declaration = `<?xml version="1.0" encoding="UTF-8"?>` + "\n"

// operationPrefix is that of the operation's namespace where what is in its element
// has none.
const operationPrefix = "m"

// Append writes a message, in UTF-8. It changes the tree.
func Append(dst []byte, doc *value.Doc, root value.ID, opt *Options, lim *value.Limits) ([]byte, error) {
	dst = open(dst, opt.Version)
	if opt.Header {
		if header := doc.Get(root, headerName); header != value.None {
			doc.Unlink(root, header)
			var err error
			if dst, err = appendHeader(dst, doc, header, opt, lim); err != nil {
				return nil, value.In(err, headerName)
			}
		}
	}
	dst = append(dst, "<soap:Body>"...)
	name := opt.Operation
	if n := doc.At(root); name == "" {
		switch {
		case n.Kind == value.Object && n.First == value.None:
			return shut(dst), nil
		case n.Kind != value.Object || n.First != n.Last || doc.At(n.First).Kind == value.List:
			return nil, value.Inexpressible(Format, "not an object with one member: the option operation has to name the element in the body")
		}
		root = n.First
		name = doc.At(root).Name
	} else if n.Kind == value.List {
		return nil, value.Inexpressible(Format, "a list cannot be what is in the operation's element")
	}
	prefix, written := "", name
	if opt.Unqualified && opt.Namespace != "" && !strings.Contains(name, ":") {
		prefix, written = operationPrefix, operationPrefix+":"+name
	}
	w := xml.NewWriter(dst, doc, opt.writing(prefix), lim)
	w.Bind("soap")
	dst, err := w.Element(dst, written, root)
	if err != nil {
		return nil, value.In(err, name)
	}
	return shut(dst), nil
}

func open(dst []byte, version Version) []byte {
	dst = append(append(dst, declaration+`<soap:Envelope xmlns:soap="`...), namespaceOf(version)...)
	return append(dst, `">`...)
}

func shut(dst []byte) []byte { return append(dst, "</soap:Body></soap:Envelope>"...) }

func appendHeader(dst []byte, doc *value.Doc, header value.ID, opt *Options, lim *value.Limits) ([]byte, error) {
	if doc.At(header).Kind == value.Null || doc.At(header).Kind == value.String && doc.At(header).Text == "" {
		return dst, nil
	}
	if doc.At(header).Kind != value.Object {
		return nil, value.Inexpressible(Format, "a header is an object with its entries")
	}
	x := opt.XML
	w := xml.NewWriter(dst, doc, &x, lim)
	w.Bind("soap")
	return w.Element(dst, "soap:Header", header)
}

// AppendFault writes a fault as a message, in UTF-8. A detail that XML cannot have
// becomes the text of its JSON.
func AppendFault(dst []byte, f *Fault) []byte {
	dst = append(open(dst, f.Version), "<soap:Body><soap:Fault>"...)
	if f.Version == V12 {
		dst = f.append12(dst)
	} else {
		dst = f.append11(dst)
	}
	return shut(append(dst, "</soap:Fault>"...))
}

func (f *Fault) append11(dst []byte) []byte {
	code := code11(f.Code)
	if code == "Client" || code == "Server" || code == "MustUnderstand" || code == "VersionMismatch" {
		code = "soap:" + code
	}
	if f.Subcode != "" {
		code += "." + f.Subcode
	}
	dst = appendText(dst, "faultcode", code)
	dst = appendText(dst, "faultstring", f.Reason)
	if f.Actor != "" {
		dst = appendText(dst, "faultactor", f.Actor)
	}
	return f.appendDetail(dst, "detail")
}

func (f *Fault) append12(dst []byte) []byte {
	code, sub := f.Code, f.Subcode
	switch code {
	case "Sender", "Receiver", "MustUnderstand", "VersionMismatch", "DataEncodingUnknown":
	default:
		code, sub = "Receiver", code
	}
	dst = append(dst, "<soap:Code>"...)
	dst = appendText(dst, "soap:Value", "soap:"+code)
	if sub != "" {
		dst = append(dst, "<soap:Subcode>"...)
		dst = append(appendText(dst, "soap:Value", sub), "</soap:Subcode>"...)
	}
	dst = append(dst, `</soap:Code><soap:Reason><soap:Text xml:lang="en">`...)
	dst = append(xml.AppendText(dst, f.Reason), "</soap:Text></soap:Reason>"...)
	if f.Actor != "" {
		dst = appendText(dst, "soap:Role", f.Actor)
	}
	return f.appendDetail(dst, "soap:Detail")
}

func appendText(dst []byte, name, text string) []byte {
	dst = append(append(append(dst, '<'), name...), '>')
	dst = append(xml.AppendText(dst, text), "</"...)
	return append(append(dst, name...), '>')
}

func (f *Fault) appendDetail(dst []byte, name string) []byte {
	if f.Detail == "" {
		return dst
	}
	var doc value.Doc
	lim := value.Limits{}.OrDefault()
	doc.Reset(lim.Nodes)
	root, err := json.Decode(&doc, f.Detail, &lim)
	if err != nil {
		return appendText(dst, name, f.Detail)
	}
	if doc.At(root).Kind == value.List {
		list := root
		root = doc.New(value.Object, "")
		doc.Set(root, "item", list)
	}
	w := xml.NewWriter(dst, &doc, &xml.Options{}, &lim)
	w.Bind("soap")
	out, err := w.Element(dst, name, root)
	if err != nil {
		return appendText(dst, name, f.Detail)
	}
	return out
}
