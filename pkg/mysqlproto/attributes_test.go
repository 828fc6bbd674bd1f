package mysqlproto_test

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/dragoman-mesh/dragoman/pkg/mysqlproto"
)

// recordedQuery is what mysql2 3.24 of Node sends for "KILL QUERY 7" with the attributes traceparent, n, f, none (null), flag, when and big: a text,
// two doubles, NULL, a byte, a time and another text.
const recordedQuery = "0307010801fd000b7472616365706172656e740500016e050001660600046e6f6e65010004666c61670c00047768656efd00036269673730" +
	"302d30616637363531393136636434336464383434386562323131633830333139632d623761643662373136393230333333312d30310000" +
	"000000001c40000000000000f83f010bea070102030405701700000231304b494c4c2051554552592037"

func recorded(tb testing.TB) []byte {
	tb.Helper()
	b, err := hex.DecodeString(recordedQuery)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func TestQueryText(t *testing.T) {
	t.Parallel()
	const attributes = mysqlproto.QueryAttributes
	long := strings.Repeat("x", 300)
	tests := []struct {
		name, payload string
		caps          mysqlproto.Capabilities
		want          string
	}{
		{"without the capability", "\x03select 1", 0, "select 1"},
		{"no attributes", "\x03\x00\x01select 1", attributes, "select 1"},
		{"no text", "\x03\x00\x01", attributes, ""},
		{"every kind", string(recorded(t)), attributes, "KILL QUERY 7"},
		{"integers", "\x03\x05\x01\x00\x01\x01\x00\x00\x02\x80\x00\x03\x00\x00\x09\x00\x00\x0d\x00\x001223333444455select 1", attributes, "select 1"},
		{"a long value", "\x03\x01\x01\x00\x01\xfd\x00\x01n\xfc\x2c\x01" + long + "select 1", attributes, "select 1"},
		{"nine, all null", "\x03\x09\x01\xff\x01\x01" + strings.Repeat("\x08\x00\x00", 9) + "select 1", attributes, "select 1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, ok := mysqlproto.QueryText([]byte(tt.payload), tt.caps)
			if string(got) != tt.want || !ok {
				t.Fatalf("%q, %v; want %q", got, ok, tt.want)
			}
			for n := range len(tt.payload) - len(tt.want) {
				if got, ok := mysqlproto.QueryText([]byte(tt.payload[:n]), tt.caps); ok && tt.caps != 0 {
					t.Errorf("the first %d bytes: text %q", n, got)
				}
			}
		})
	}
	for name, payload := range map[string]string{
		"two sets": "\x03\x01\x02\x00\x01\x01\x00\x00\x01select 1", "types of the query before": "\x03\x01\x01\x00\x00select 1",
		"too many": "\x03\xfd\x00\x00\x01\x01" + strings.Repeat("\xff", 1<<14) + "\x01", "a length beyond the packet": "\x03\x01\x01\x00\x01\xfd\x00\x00\xfe\xff\xff\xff\xff\xff\xff\xff\xffselect 1",
	} {
		if text, ok := mysqlproto.QueryText([]byte(payload), attributes); ok {
			t.Errorf("%s: taken, with the text %q", name, text)
		}
	}
}

func TestAttribute(t *testing.T) {
	t.Parallel()
	const execute = "\x17\x01\x00\x00\x00\x08\x01\x00\x00\x00\x02\x00\x01\x08\x00\x00\xfd\x00\x01n12345678\x03abc" // a parameter, and an attribute
	for _, tt := range []struct{ payload, name, want string }{
		{string(recorded(t)), "traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
		{string(recorded(t)), "big", "10"},
		{string(recorded(t)), "none", ""},
		{string(recorded(t)), "n", ""},
		{string(recorded(t)), "other", ""},
		{execute, "n", "abc"},
		{strings.Replace(execute, "\x08", "\x00", 1), "n", ""}, // without the number of parameters
		{"\x03\x00\x01select 1", "n", ""},
		{"\x16select 1", "n", ""},
		{"", "n", ""},
	} {
		got, ok := mysqlproto.Attribute([]byte(tt.payload), mysqlproto.QueryAttributes, tt.name)
		if got != tt.want || ok != (tt.want != "") {
			t.Errorf("%q has %s: %q, %v, want %q", tt.payload, tt.name, got, ok, tt.want)
		}
		if _, ok := mysqlproto.Attribute([]byte(tt.payload), 0, tt.name); ok {
			t.Errorf("%q has %s without the capability", tt.payload, tt.name)
		}
		for n := range len(tt.payload) {
			if got, ok := mysqlproto.Attribute([]byte(tt.payload[:n]), mysqlproto.QueryAttributes, tt.name); ok && got != tt.want {
				t.Errorf("the first %d bytes: %q", n, got)
			}
		}
	}
}

// FuzzQueryText asserts that a text is the end of its payload, and that it is not found before all of the attributes are there.
func FuzzQueryText(f *testing.F) {
	f.Add(recorded(f), []byte("select 1"))
	f.Add([]byte("\x03\x02\x01\x02\x01\x01\x00\x01a\xfd\x00\x01b\x07"), []byte{})
	f.Fuzz(func(t *testing.T, payload, more []byte) {
		text, ok := mysqlproto.QueryText(payload, mysqlproto.QueryAttributes)
		if !ok {
			return
		}
		mysqlproto.Attribute(payload, mysqlproto.QueryAttributes, "a")
		before := len(payload) - len(text)
		if before < 0 || !bytes.HasSuffix(payload, text) {
			t.Fatalf("%q has the text %q", payload, text)
		}
		if got, ok := mysqlproto.QueryText(payload[:before-1], mysqlproto.QueryAttributes); ok {
			t.Fatalf("%q has the text %q, and a part of it %q", payload, text, got)
		}
		if got, ok := mysqlproto.QueryText(append(payload[:before:before], more...), mysqlproto.QueryAttributes); !ok || !bytes.Equal(got, more) {
			t.Fatalf("with the text %q: %q, %v", more, got, ok)
		}
	})
}
