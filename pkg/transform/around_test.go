package transform_test

import (
	"errors"
	"testing"

	"github.com/dragoman-mesh/dragoman/pkg/transform"
	"github.com/dragoman-mesh/dragoman/pkg/transform/soap"
	"github.com/dragoman-mesh/dragoman/pkg/transform/value"
)

// TestAroundSOAP: what is around an operation, or in a fault, may have namespaces that nobody has named and elements in any order, as messages with
// WS-Addressing, WS-Security and the details of exceptions do.
func TestAroundSOAP(t *testing.T) {
	t.Parallel()
	const (
		begin = `<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" xmlns:w="urn:addressing">`
		op    = `<p:Op xmlns:p="urn:orders"><p:x>1</p:x></p:Op>`
		body  = `<s:Body>` + op + `</s:Body></s:Envelope>`
		fault = `<s:Body><s:Fault><faultcode>s:Client</faultcode><faultstring>no</faultstring><detail>`
	)
	named := `{"format":"soap","soap":{"xml":{"namespaces":{"o":"urn:orders"}}}}`
	kept := `{"format":"soap","soap":{"header":true,"xml":{"namespaces":{"o":"urn:orders"}}}}`
	for name, tt := range map[string]struct{ side, in, want string }{
		"an entry of another namespace":     {named, begin + `<s:Header><w:To w:id="1">x</w:To></s:Header>` + body, `{"o:Op":{"o:x":"1"}}`},
		"entries in any order":              {`{"format":"soap"}`, begin + `<s:Header><w:a/><w:b/><w:a/></s:Header>` + body, `{"Op":{"x":"1"}}`},
		"an attribute of the body":          {named, begin + `<s:Body w:Id="1">` + op + `</s:Body></s:Envelope>`, `{"o:Op":{"o:x":"1"}}`},
		"a fault with another namespace":    {named, begin + fault + `<w:Bad><p:x xmlns:p="urn:orders">1</p:x></w:Bad></detail></s:Fault></s:Body></s:Envelope>`, `Sender no {"Bad":{"o:x":"1"}}`},
		"a fault with frames":               {`{"format":"soap"}`, begin + fault + `<a>1</a><b/><a>2</a></detail></s:Fault></s:Body></s:Envelope>`, `Sender no {"a":["1","2"],"b":""}`},
		"an operation of another namespace": {named, begin + `<s:Body><w:Op/></s:Body></s:Envelope>`, value.ErrInexpressible.Error()},
		"a value of another namespace":      {named, begin + `<s:Body><p:Op xmlns:p="urn:orders"><w:x/></p:Op></s:Body></s:Envelope>`, value.ErrInexpressible.Error()},
		"a kept header's other namespace":   {kept, begin + `<s:Header><w:To/></s:Header>` + body, value.ErrInexpressible.Error()},
		"a kept header":                     {kept, begin + `<s:Header><p:a xmlns:p="urn:orders"/></s:Header>` + body, `{"#header":{"o:a":""},"o:Op":{"o:x":"1"}}`},
		"two bodies":                        {`{"format":"soap"}`, begin + `<s:Body><a/></s:Body><s:Body><b/></s:Body></s:Envelope>`, value.ErrMalformed.Error()},
	} {
		p, err := transform.Compile(&transform.Spec{From: side(t, tt.side), To: transform.Side{Format: transform.JSON}})
		if err != nil {
			t.Fatal(err)
		}
		out, err := p.Apply(t.Context(), nil, []byte(tt.in), "")
		got := string(out)
		if f, ok := errors.AsType[*soap.Fault](err); ok {
			got = f.Code + " " + f.Reason + " " + f.Detail
		} else if e, ok := errors.AsType[*value.Error](err); ok {
			got = e.Is.Error()
		}
		if got != tt.want {
			t.Errorf("%s: %s, %v, want %s", name, got, err, tt.want)
		}
	}
}

// TestByteOrderMark: JSON may begin with one, whether its Content-Type names a charset or not.
func TestByteOrderMark(t *testing.T) {
	t.Parallel()
	for from, in := range map[transform.Format]string{transform.JSON: "\uFEFF" + `{"a":1}`, transform.NDJSON: "\uFEFF{\"a\":1}\n", transform.CSV: "\uFEFFa\n1\n"} {
		p, err := transform.Compile(&transform.Spec{From: transform.Side{Format: from}, To: transform.Side{Format: transform.NDJSON}})
		if err != nil {
			t.Fatal(err)
		}
		for _, contentType := range []string{"", "; charset=utf-8"} {
			if contentType != "" {
				contentType = transform.ContentTypes(from)[0] + contentType
			}
			out, err := p.Apply(t.Context(), nil, []byte(in), contentType)
			if want := map[bool]string{true: `{"a":"1"}`, false: `{"a":1}`}[from == transform.CSV] + "\n"; string(out) != want || err != nil {
				t.Errorf("%s %s: %q, %v, want %q", from, contentType, out, err, want)
			}
		}
	}
}
