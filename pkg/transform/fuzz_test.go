package transform_test

import (
	"testing"

	"github.com/dragoman-mesh/dragoman/pkg/transform"
	"github.com/dragoman-mesh/dragoman/pkg/transform/csv"
	"github.com/dragoman-mesh/dragoman/pkg/transform/fields"
	"github.com/dragoman-mesh/dragoman/pkg/transform/form"
	"github.com/dragoman-mesh/dragoman/pkg/transform/json"
	"github.com/dragoman-mesh/dragoman/pkg/transform/mapping"
	"github.com/dragoman-mesh/dragoman/pkg/transform/msgpack"
	"github.com/dragoman-mesh/dragoman/pkg/transform/multipart"
	"github.com/dragoman-mesh/dragoman/pkg/transform/ndjson"
	"github.com/dragoman-mesh/dragoman/pkg/transform/soap"
	"github.com/dragoman-mesh/dragoman/pkg/transform/value"
	"github.com/dragoman-mesh/dragoman/pkg/transform/xml"
)

// limits of fuzzed documents.
func limits() *value.Limits {
	lim := value.Limits{Nodes: 10000, Depth: 50}.OrDefault()
	return &lim
}

// codec is one format with some options.
type codec struct {
	decode func(doc *value.Doc, text string) (value.ID, error)
	append func(doc *value.Doc, root value.ID) ([]byte, error)
	// partly: there are trees that cannot be written although they were read.
	partly bool
}

// roundTrip decodes text, and fails unless what is read is read again from what
// is written of it.
func roundTrip(t *testing.T, c codec, text string) {
	t.Helper()
	var first, second value.Doc
	lim := limits()
	first.Reset(lim.Nodes)
	second.Reset(lim.Nodes)
	root, err := c.decode(&first, text)
	if err != nil {
		return
	}
	before := json.Append(nil, &first, root)
	out, err := c.append(&first, root)
	if err != nil {
		if c.partly {
			return
		}
		t.Fatalf("%q was read as %s and cannot be written: %v", text, before, err)
	}
	again, err := c.decode(&second, string(out))
	if err != nil {
		t.Fatalf("%q was written as %q and cannot be read: %v", text, out, err)
	}
	if after := json.Append(nil, &second, again); string(before) != string(after) {
		t.Fatalf("%q became %q\nfirst %s\nthen  %s", text, out, before, after)
	}
}

func jsonCodec() codec {
	return codec{
		decode: func(doc *value.Doc, text string) (value.ID, error) { return json.Decode(doc, text, limits()) },
		append: func(doc *value.Doc, root value.ID) ([]byte, error) { return json.Append(nil, doc, root), nil },
	}
}

func FuzzJSON(f *testing.F) {
	for _, s := range []string{`{"a":[1,-0.5e+10,"\ud83d\ude00\n",null,true]}`, `[[[[]]]]`, `{"a":1,"a":2}`, `"\ud800"`, "\"\xff\"", `1e99999`, `00`, `[1,]`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) { roundTrip(t, jsonCodec(), text) })
}

func FuzzXML(f *testing.F) {
	for _, s := range []string{
		`<?xml version="1.0" encoding="iso-8859-1"?><a b="1" xmlns:x="u"><x:c>&lt;&#65;</x:c><x:c/><![CDATA[]]></a>`, `<a>x<b/>y</a>`, `<a><b/><c/><b/></a>`,
		`<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>`, `<a xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:nil="true"/>`, "<a>\r\n</a>", `<a b="&#10;&#9;"> </a>`, "\xff\xfe<\x00a\x00/\x00>\x00",
	} {
		f.Add(s, uint8(0))
		f.Add(s, uint8(1))
		f.Add(s, uint8(2))
	}
	f.Fuzz(func(t *testing.T, text string, how uint8) {
		opt := &xml.Options{Content: []xml.Content{xml.Strict, xml.Group, xml.Ordered}[how%3], StripNamespaces: how&4 != 0}
		if opt.Check() != nil {
			t.Fatal(opt.Check())
		}
		roundTrip(t, codec{
			decode: func(doc *value.Doc, text string) (value.ID, error) { return xml.Decode(doc, text, "", opt, limits()) },
			append: func(doc *value.Doc, root value.ID) ([]byte, error) { return xml.Append(nil, doc, root, opt, limits()) },
			partly: how%3 == 1, // text that was joined has another place
		}, text)
	})
}

func FuzzSOAP(f *testing.F) {
	const open = `<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/">`
	for _, s := range []string{
		open + `<s:Header><h s:mustUnderstand="1">x</h></s:Header><s:Body><a><b>1</b></a></s:Body></s:Envelope>`,
		open + `<s:Body><s:Fault><faultcode>s:Client.X</faultcode><faultstring>no</faultstring><detail><x/></detail></s:Fault></s:Body></s:Envelope>`,
		`<e:Envelope xmlns:e="http://www.w3.org/2003/05/soap-envelope"><e:Body/></e:Envelope>`,
	} {
		f.Add(s, true)
		f.Add(s, false)
	}
	f.Fuzz(func(t *testing.T, text string, header bool) {
		opt := &soap.Options{Header: header}
		roundTrip(t, codec{
			decode: func(doc *value.Doc, text string) (value.ID, error) { return soap.Decode(doc, text, "", opt, limits()) },
			append: func(doc *value.Doc, root value.ID) ([]byte, error) { return soap.Append(nil, doc, root, opt, limits()) },
		}, text)
	})
}

func FuzzForm(f *testing.F) {
	for _, s := range []string{"a=1&b=%20+x&a=2", "a[b][0][c]=1&a[b][0][d]=2&t[]=1&t[]=2", "a.b.c=1&a.d=2", "%zz", "a[99999999]=1", "=x", "a&b"} {
		f.Add(s, uint8(0))
		f.Add(s, uint8(1))
		f.Add(s, uint8(2))
	}
	f.Fuzz(func(t *testing.T, text string, how uint8) {
		opt := &form.Options{Nested: nested(how)}
		roundTrip(t, codec{
			decode: func(doc *value.Doc, text string) (value.ID, error) { return form.Decode(doc, text, "", opt, limits()) },
			append: func(doc *value.Doc, root value.ID) ([]byte, error) { return form.Append(nil, doc, root, opt, limits()) },
			partly: true, // a[][] is read, and is a list in a list
		}, text)
	})
}

func nested(how uint8) fields.Nested {
	return []fields.Nested{fields.Flat, fields.Dots, fields.Brackets}[how%3]
}

func FuzzMultipart(f *testing.F) {
	const part = "--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n"
	const file = "--x\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a \\\"b\"\r\nContent-Type: image/png\r\n\r\n\xff\x00\r\n"
	for _, s := range []string{part + "--x--\r\n", part + file + "--x--", "--x--\r\n", part, "--x\r\n\r\n\r\n--x--"} {
		f.Add(s, uint8(0))
		f.Add(s, uint8(2))
	}
	f.Fuzz(func(t *testing.T, text string, how uint8) {
		opt := &multipart.Options{Nested: nested(how)}
		roundTrip(t, codec{
			decode: func(doc *value.Doc, text string) (value.ID, error) {
				return multipart.Decode(doc, text, "", opt, limits())
			},
			append: func(doc *value.Doc, root value.ID) ([]byte, error) {
				return multipart.Append(nil, doc, root, opt, limits())
			},
			partly: true, // as FuzzForm, and names of fields that look like a file's
		}, text)
	})
}

func FuzzCSV(f *testing.F) {
	for _, s := range []string{"a,b\n1,2\n", "a\r\n\"x\"\"\ny\"\r\n", "a;b\n1;2", "\xef\xbb\xbfa\n\"\"\n", "a.b,a.c\n1,2\n", "a\n\"x", "a,a\n"} {
		f.Add(s, uint8(0))
		f.Add(s, uint8(1))
		f.Add(s, uint8(2))
	}
	f.Fuzz(func(t *testing.T, text string, how uint8) {
		opt := &csv.Options{NoHeader: how&1 != 0}
		if how&2 != 0 {
			opt.Nested, opt.Delimiter = fields.Dots, ";"
		}
		roundTrip(t, codec{
			decode: func(doc *value.Doc, text string) (value.ID, error) { return csv.Decode(doc, text, "", opt, limits()) },
			append: func(doc *value.Doc, root value.ID) ([]byte, error) {
				if doc.At(root).First == value.None && !opt.NoHeader {
					// Without a record, nothing tells the columns.
					return []byte(text), nil
				}
				return csv.Append(nil, doc, root, opt, limits())
			},
		}, text)
	})
}

func FuzzNDJSON(f *testing.F) {
	for _, s := range []string{"1\n\n{\"a\":\"\\n\"}\r\n", "", "[1]\n2", "{\n}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		roundTrip(t, codec{
			decode: func(doc *value.Doc, text string) (value.ID, error) { return ndjson.Decode(doc, text, limits()) },
			append: func(doc *value.Doc, root value.ID) ([]byte, error) { return ndjson.Append(nil, doc, root), nil },
		}, text)
	})
}

func FuzzMsgPack(f *testing.F) {
	for _, s := range []string{"\x82\xa1a\x01\xa1b\x92\xc0\xc3", "\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00", "\xca\x3d\xcc\xcc\xcd", "\xd6\xff\x00\x00\x00\x01", "\xc7\x0c\xff\x00\x00\x00\x01\xff\xff\xff\xff\xff\xff\xff\xff", "\xd4\x05\x01", "\xc4\x02\xff\xfe", "\xdd\xff\xff\xff\xff", "\xdf\xff\xff\xff\xff", "\xcf\xff\xff\xff\xff\xff\xff\xff\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		roundTrip(t, codec{
			decode: func(doc *value.Doc, text string) (value.ID, error) { return msgpack.Decode(doc, text, limits()) },
			append: func(doc *value.Doc, root value.ID) ([]byte, error) {
				return msgpack.Append(nil, doc, root, &msgpack.Options{})
			},
		}, text)
	})
}

// FuzzMap: whatever a body is, a map leaves a tree: one that is written, and read
// again, as the same.
func FuzzMap(f *testing.F) {
	f.Add(`{"a":{"b":[{"c":1},{"d":2}]},"e":[[1],2]}`, "a.b[].c", "x[].y", "e", "a.b[]")
	f.Add(`[1,{"a":2}]`, "[].a", "l[].b", ".", "[]")
	f.Add(`{"a":1,"b":2}`, "a", "b", "b", "a")
	f.Fuzz(func(t *testing.T, text, from, to, second, third string) {
		m := &mapping.Map{
			Move: map[string]string{from: to, second: from}, Drop: []string{third}, Default: map[string]string{second: "1"}, Constant: map[string]string{third: "2"},
			Coerce: map[string]mapping.Type{second: mapping.Number, to: mapping.String}, List: []string{to, second}, Each: map[string]*mapping.Map{second: {Move: map[string]string{to: from}}},
		}
		p, err := transform.Compile(&transform.Spec{From: transform.Side{Format: transform.JSON}, To: transform.Side{Format: transform.JSON}, Map: m, Limits: value.Limits{Nodes: 10000, Depth: 50}})
		if err != nil {
			return
		}
		out, err := p.Apply(t.Context(), nil, []byte(text), "")
		if err != nil {
			return
		}
		var doc value.Doc
		lim := value.Limits{Nodes: 20000, Depth: 500}.OrDefault()
		doc.Reset(lim.Nodes)
		root, err := json.Decode(&doc, string(out), &lim)
		if err != nil {
			t.Fatalf("%q became %q: %v", text, out, err)
		}
		if again := json.Append(nil, &doc, root); string(again) != string(out) {
			t.Fatalf("%q became %q, and that %q", text, out, again)
		}
	})
}
