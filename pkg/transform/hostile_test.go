package transform_test

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/dragoman-mesh/dragoman/pkg/transform"
	"github.com/dragoman-mesh/dragoman/pkg/transform/mapping"
	"github.com/dragoman-mesh/dragoman/pkg/transform/soap"
	"github.com/dragoman-mesh/dragoman/pkg/transform/value"
)

const envelope = `<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>`

// TestHostile: bodies that are wrong, or meant to do harm, get an error that says
// where and why, and cost little.
func TestHostile(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat("[", 100000)
	for _, tt := range []struct {
		name, in string
		from     transform.Format
		is       error
		want     string
	}{
		{"deep JSON", deep, transform.JSON, value.ErrTooLarge, "more than 100 levels of lists and objects"},
		{"deep XML", strings.Repeat("<a>", 100000), transform.XML, value.ErrTooLarge, "more than 100 levels of elements"},
		{"deep SOAP", envelope + strings.Repeat("<a>", 100000), transform.SOAP, value.ErrTooLarge, "more than 102 levels of elements"},
		{"deep MessagePack", strings.Repeat("\x91", 100000), transform.MsgPack, value.ErrTooLarge, "more than 100 levels of lists and objects"},
		{"deep NDJSON", deep, transform.NDJSON, value.ErrTooLarge, "more than 100 levels of lists and objects"},
		{"many values", "[" + strings.Repeat("0,", 300000) + "0]", transform.JSON, value.ErrTooLarge, "json, [262143]: more than 262144 values"},
		{"many elements", "<a>" + strings.Repeat("<b/>", 300000) + "</a>", transform.XML, value.ErrTooLarge, "more than 262144 elements and attributes"},
		{"many attributes", "<a" + strings.Repeat(" b='1'", 1000) + "/>", transform.XML, value.ErrTooLarge, "too many attributes or namespaces"},
		{"many fields", strings.Repeat("a&", 300000), transform.Form, value.ErrTooLarge, "more than 262144 values"},
		{"many cells", "a\n" + strings.Repeat("1\n", 300000), transform.CSV, value.ErrTooLarge, "more than 262144 values"},
		{"many columns", strings.Repeat("a,", 10000), transform.CSV, value.ErrTooLarge, "more than 4096 columns"},
		{"a long body", strings.Repeat(" ", 11<<20), transform.JSON, value.ErrTooLarge, "json: more than 10485760 bytes"},
		{"a long name", `{"` + strings.Repeat("a", 2000) + `":1}`, transform.JSON, value.ErrTooLarge, "a name of more than 1024 bytes"},
		{"a long number", strings.Repeat("1", 1000), transform.JSON, value.ErrTooLarge, "a number of more than 512 characters"},
		{"a large exponent", "1e1000000000", transform.JSON, value.ErrTooLarge, "an exponent of more than four digits"},
		{"a name twice", `{"a":{"b":1,"b":2}}`, transform.JSON, value.ErrMalformed, "json line 1, byte 17, a.b: a name that is there twice"},
		{"a name twice in MessagePack", "\x82\xa1a\x01\xa1a\x02", transform.MsgPack, value.ErrMalformed, "a: a name that is there twice"},
		{"an attribute twice", `<a b="1" b="2"/>`, transform.XML, value.ErrMalformed, "an attribute that is there twice"},
		{"no UTF-8", "{\"a\":\"\xff\"}", transform.JSON, value.ErrMalformed, "json line 1, byte 7: not UTF-8"},
		{"no UTF-8 in XML", "<a>\xff</a>", transform.XML, value.ErrMalformed, "xml line 1, byte 4: not UTF-8"},
		{"no UTF-8 in a form", "a=%ff", transform.Form, value.ErrMalformed, "not UTF-8"},
		{"no UTF-8 in CSV", "a\n\xff\n", transform.CSV, value.ErrMalformed, "csv line 2, byte 1: not UTF-8"},
		{"no UTF-8 in MessagePack", "\xa1\xff", transform.MsgPack, value.ErrMalformed, "msgpack byte 1: not UTF-8"},
		{"half a surrogate", `"\ud800"`, transform.JSON, value.ErrMalformed, "half of a surrogate pair"},
		{"truncated JSON", "{\"a\":\n[1,", transform.JSON, value.ErrMalformed, "json line 2, byte 4, a[1]: it ends too early"},
		{"truncated XML", "<a>\n<b>", transform.XML, value.ErrMalformed, "xml line 2, byte 4, a.b: it ends too early"},
		{"truncated MessagePack", "\x81\xa1a\xcd\x01", transform.MsgPack, value.ErrMalformed, "msgpack byte 5, a: it ends too early"},
		{"a length beyond the end", "\xdb\xff\xff\xff\xff", transform.MsgPack, value.ErrMalformed, "a length beyond the end"},
		{"a list beyond the end", "\xdd\xff\xff\xff\xff", transform.MsgPack, value.ErrMalformed, "a length beyond the end"},
		{"DOCTYPE", `<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>`, transform.XML, value.ErrMalformed, "xml line 1, byte 1: a DOCTYPE is not allowed"},
		{"entity bomb", `<!DOCTYPE a [<!ENTITY b "bb"><!ENTITY c "&b;&b;">]><a>&c;</a>`, transform.XML, value.ErrMalformed, "a DOCTYPE is not allowed"},
		{"DOCTYPE in SOAP", `<!DOCTYPE a>` + envelope, transform.SOAP, value.ErrMalformed, "a DOCTYPE is not allowed"},
		{"an entity", `<a>&nbsp;</a>`, transform.XML, value.ErrMalformed, "xml line 1, byte 4, a: a reference that is not &lt;"},
		{"an attribute's entity", `<a b="&x;"/>`, transform.XML, value.ErrMalformed, "a reference that is not &lt;"},
		{"a reference to nothing", `<a>&#0;</a>`, transform.XML, value.ErrMalformed, "a reference that is not &lt;"},
		{"a control character", "<a>\x01</a>", transform.XML, value.ErrMalformed, "a character that XML does not have"},
		{"XML 1.1", `<?xml version="1.1"?><a/>`, transform.XML, value.ErrMalformed, "only version 1.0"},
		{"another charset", `<?xml version="1.0" encoding="utf-7"?><a/>`, transform.XML, value.ErrMalformed, `the charset "utf-7" is not known`},
		{"a prefix of nothing", `<x:a/>`, transform.XML, value.ErrMalformed, "a prefix without its namespace"},
		{"another end", `<a></b>`, transform.XML, value.ErrMalformed, "the end of a was expected"},
		{"order that would be lost", `<a><b/><c/><b/></a>`, transform.XML, value.ErrInexpressible, "xml, a.b: an element that comes again after others"},
		{"text that would be lost", `<a>x<b/></a>`, transform.XML, value.ErrInexpressible, "xml, a: text between elements"},
		{"no envelope", `<a/>`, transform.SOAP, value.ErrMalformed, "not an envelope of SOAP 1.1 or 1.2"},
		{"two operations", envelope + `<a/><b/></s:Body></s:Envelope>`, transform.SOAP, value.ErrInexpressible, "more than one element in the body"},
		{"a header that must be understood", `<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Header><x s:mustUnderstand="true"/></s:Header><s:Body/></s:Envelope>`, transform.SOAP, value.ErrInexpressible, "Header.x: an entry of the header that must be understood"},
		{"a bad escape", "a=%4", transform.Form, value.ErrMalformed, "form line 1, byte 3: a percent sign without two hexadecimal digits"},
		{"no boundary", "x", transform.Multipart, value.ErrMalformed, "the Content-Type has no boundary"},
		{"a part without end", "--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1", transform.Multipart, value.ErrMalformed, "it ends too early"},
		{"a part without name", "--x\r\n\r\n\r\n--x--", transform.Multipart, value.ErrMalformed, "a line of the header without a colon"},
		{"a header without end", "--x\r\n" + strings.Repeat("a", 100000), transform.Multipart, value.ErrMalformed, "has no end, or is too long"},
		{"another number of fields", "a,b\n1,2\n3\n", transform.CSV, value.ErrMalformed, "csv line 3, byte 1, [1]: 1 fields instead of 2"},
		{"a column twice", "a,a\n", transform.CSV, value.ErrMalformed, "a column without a name, or one that is there twice"},
		{"NaN", "\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00", transform.MsgPack, value.ErrInexpressible, "a number that is none, or infinite"},
		{"a key that is no string", "\x81\x01\x01", transform.MsgPack, value.ErrInexpressible, "a key of a map that is not a string"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := compile(t, &transform.Spec{From: transform.Side{Format: tt.from}, To: transform.Side{Format: transform.JSON}})
			out, err := p.Apply(t.Context(), []byte("kept"), []byte(tt.in), "")
			if !errors.Is(err, tt.is) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
			if string(out) != "kept" {
				t.Errorf("dst became %.80q", out)
			}
		})
	}
}

// TestAmplification: what would become much larger than it is, is stopped before
// the memory is taken.
func TestAmplification(t *testing.T) { //nolint:paralleltest // It measures memory.
	name := strings.Repeat("n", 1000)
	list := `{"` + name + `":[` + strings.Repeat("1,", 200000) + `1]}`
	nested := strings.Repeat(`{"`+name+`":`, 90) + "[" + strings.Repeat(`{"a":1},`, 1000) + `{"a":1}]` + strings.Repeat("}", 90)
	for _, tt := range []struct {
		name string
		in   string
		spec transform.Spec
		is   error
	}{
		{"the name of a list, in XML", list, transform.Spec{To: side(t, `{"format":"xml","xml":{"root":"r"}}`)}, value.ErrTooLarge},
		{"the name of a list, in SOAP", list, transform.Spec{To: side(t, `{"format":"soap","soap":{"operation":"r"}}`)}, value.ErrTooLarge},
		{"the name of a list, in a form", list, transform.Spec{To: transform.Side{Format: transform.Form}}, value.ErrTooLarge},
		{"the name of a list, in parts", list, transform.Spec{To: transform.Side{Format: transform.Multipart}}, value.ErrTooLarge},
		{"names within names", nested, transform.Spec{To: side(t, `{"format":"form","form":{"nested":"brackets"}}`)}, value.ErrInexpressible},
		{"defaults for each element", `{"l":[` + strings.Repeat("{},", 100000) + `{}]}`, transform.Spec{
			To:  transform.Side{Format: transform.JSON},
			Map: &mapping.Map{Default: map[string]string{"l[].a": "1", "l[].b": "1", "l[].c": "1", "l[].d": "1"}},
		}, value.ErrTooLarge},
	} {
		tt.spec.From.Format = transform.JSON
		p := compile(t, &tt.spec)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := p.Apply(t.Context(), nil, []byte(tt.in), "")
		runtime.ReadMemStats(&after)
		if !errors.Is(err, tt.is) {
			t.Errorf("%s: error %v, want %v", tt.name, err, tt.is)
		}
		if took := after.TotalAlloc - before.TotalAlloc; took > 400<<20 {
			t.Errorf("%s: took %d MB", tt.name, took>>20)
		}
	}
}

// TestManyNames: finding names that are there twice takes no time that grows with
// their square.
func TestManyNames(t *testing.T) {
	t.Parallel()
	var object, form, elements strings.Builder
	for i := range 50000 {
		id := strings.Map(func(r rune) rune { return 'a' + r - '0' }, strings.TrimSpace(strings.Repeat(" ", 0)+itoa(i)))
		object.WriteString(`"` + id + `":1,`)
		form.WriteString(id + "=1&")
		elements.WriteString("<" + id + "/>")
	}
	for from, in := range map[transform.Format]string{
		transform.JSON: "{" + object.String() + `"zz":1}`,
		transform.Form: form.String(),
		transform.XML:  "<r>" + elements.String() + "</r>",
	} {
		p := compile(t, &transform.Spec{From: transform.Side{Format: from}, To: transform.Side{Format: transform.JSON}})
		if _, err := p.Apply(t.Context(), nil, []byte(in), ""); err != nil {
			t.Errorf("%s: %v", from, err)
		}
	}
}

// TestManyPlaces: neither names within names, nor lists whose elements are changed,
// take time that grows with their square.
func TestManyPlaces(t *testing.T) {
	t.Parallel()
	const n = 60000
	each := func(format string) string {
		var b strings.Builder
		for i := range n / 2 {
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	list := "[" + strings.Repeat("1,", n) + "1]"
	for _, tt := range []struct{ name, spec, in string }{
		{"dots", `{"from":{"format":"form","form":{"nested":"dots"}},"to":{"format":"json"}}`, each("a.%d=&")},
		{"brackets", `{"from":{"format":"form","form":{"nested":"brackets"}},"to":{"format":"json"}}`, each("a[x%d]=&")},
		{"indexes", `{"from":{"format":"form","form":{"nested":"brackets"}},"to":{"format":"json"}}`, each("a[%d]=&")},
		{"objects of a list", `{"from":{"format":"form","form":{"nested":"brackets"}},"to":{"format":"json"}}`, each("a[%d][b]=&")},
		{"space between elements", `{"from":{"format":"xml","xml":{"content":"ordered"}},"to":{"format":"json"}}`, "<r>" + strings.Repeat("<a/> ", n/4) + "</r>"},
		{"list", `{"from":{"format":"json"},"to":{"format":"json"},"map":{"list":["l[]"]}}`, `{"l":[` + strings.Repeat("1,", n/2) + `1]}`},
		{"each", `{"from":{"format":"json"},"to":{"format":"json"},"map":{"each":{"l":{"move":{".":"x"}}}}}`, `{"l":[` + strings.Repeat("1,", n/2) + `1]}`},
		{"constant", `{"from":{"format":"json"},"to":{"format":"json"},"map":{"constant":{"l[]":"x"}}}`, `{"l":` + list + `}`},
		{"move into objects", `{"from":{"format":"json"},"to":{"format":"json"},"map":{"move":{"l[]":"m[].x"}}}`, `{"l":[` + strings.Repeat("1,", n/2) + `1]}`},
		{"move over others", `{"from":{"format":"json"},"to":{"format":"json"},"map":{"move":{"l[]":"m[]"}}}`, `{"l":` + list + `,"m":` + list + `}`},
	} {
		spec := decodeSpec(t, tt.spec)
		if out, err := compile(t, &spec).Apply(t.Context(), nil, []byte(tt.in), ""); err != nil || len(out) < n {
			t.Errorf("%s: %d bytes, %v", tt.name, len(out), err)
		}
	}
}

func itoa(i int) string {
	return string([]byte{byte('0' + i/100000), byte('0' + i/10000%10), byte('0' + i/1000%10), byte('0' + i/100%10), byte('0' + i/10%10), byte('0' + i%10)})
}

func side(t *testing.T, text string) transform.Side {
	t.Helper()
	return decodeSpec(t, `{"to":`+text+`}`).To
}

// TestFault: a fault of SOAP is an error that has a status, and is written in the
// other format; and the other way round.
func TestFault(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, in string
		status   int
		want     string
	}{
		{
			"1.1", envelope + `<s:Fault><faultcode>s:Client.Auth</faultcode><faultstring> no &lt;entry&gt; </faultstring><faultactor>urn:a</faultactor><detail><code>7</code></detail></s:Fault></s:Body></s:Envelope>`,
			400, `{"fault":{"code":"Sender","subcode":"Auth","reason":"no <entry>","actor":"urn:a","detail":{"code":"7"}}}`,
		},
		{
			"1.2", `<e:Envelope xmlns:e="http://www.w3.org/2003/05/soap-envelope"><e:Body><e:Fault><e:Code><e:Value>e:Receiver</e:Value><e:Subcode><e:Value xmlns:m="urn:m">m:Busy</e:Value></e:Subcode></e:Code><e:Reason><e:Text xml:lang="en">later</e:Text><e:Text xml:lang="de">später</e:Text></e:Reason></e:Fault></e:Body></e:Envelope>`,
			500, `{"fault":{"code":"Receiver","subcode":"Busy","reason":"later"}}`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := compile(t, &transform.Spec{From: transform.Side{Format: transform.SOAP}, To: transform.Side{Format: transform.JSON}})
			_, err := p.Apply(t.Context(), nil, []byte(tt.in), "")
			fault, ok := errors.AsType[*soap.Fault](err)
			if !ok {
				t.Fatalf("error %v, want a fault", err)
			}
			got, err := p.AppendFault(nil, fault)
			if err != nil || string(got) != tt.want || fault.Status() != tt.status {
				t.Errorf("%d %s, %v\nwant %d %s", fault.Status(), got, err, tt.status, tt.want)
			}
			_, err = p.Apply(t.Context(), nil, soap.AppendFault(nil, fault), "")
			again, ok := errors.AsType[*soap.Fault](err)
			if !ok || *again != *fault {
				t.Errorf("written and read again: %+v, want %+v", again, fault)
			}
		})
	}
	f := soap.FaultOf(soap.V12, 404, "no such order", `{"title":"x","a b":1}`)
	if f.BindingStatus() != 400 || !strings.Contains(string(soap.AppendFault(nil, f)), `{"title":"x","a b":1}`) {
		t.Errorf("%d %s", f.BindingStatus(), soap.AppendFault(nil, f))
	}
}
