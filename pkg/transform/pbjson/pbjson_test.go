package pbjson_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/dragoman-mesh/dragoman/internal/grpctest/shop"
	"github.com/dragoman-mesh/dragoman/pkg/transform/pbjson"
)

func everything() *pbjson.Message {
	return pbjson.NewTypes(protoregistry.GlobalFiles).Message((&shop.Everything{}).ProtoReflect().Descriptor())
}

func legacy() *pbjson.Message {
	return pbjson.NewTypes(protoregistry.GlobalFiles).Message((&shop.Legacy{}).ProtoReflect().Descriptor())
}

// texts are JSON of Everything: right and wrong, as protojson has to see it, too.
func texts() []string {
	return []string{
		`{}`, ` { } `, `{"aBool": true, "a_bool": true}`, `{"a_bool": true}`, `{"aBool": null}`, `{"aBool": "true"}`, `{"aBool": 1}`,
		`{"aInt32": 2147483647}`, `{"aInt32": 2147483648}`, `{"aInt32": -2147483648}`, `{"aInt32": "-5"}`, `{"aInt32": 1e3}`, `{"aInt32": 1.50e1}`,
		`{"aInt32": 0.5}`, `{"aInt32": 0e99999}`, `{"aInt32": "1 "}`, `{"aInt32": ""}`, `{"aInt32": -0}`, `{"aInt32": 0.0}`, `{"aInt32": 01}`, `{"aInt32": 1.}`, `{"aInt32": +1}`,
		`{"aInt64": "9223372036854775807"}`, `{"aInt64": 9223372036854775808}`, `{"aInt64": -9223372036854775808}`, `{"aInt64": 1e18}`, `{"aInt64": 1e19}`, `{"aInt64": 1e300}`,
		`{"aUint32": 4294967295}`, `{"aUint32": 4294967296}`, `{"aUint32": -1}`, `{"aUint32": -0}`, `{"aUint64": "18446744073709551615"}`, `{"aUint64": 18446744073709551616}`,
		`{"aSint32": -7, "aSint64": "-9", "aFixed32": 5, "aFixed64": 6, "aSfixed32": -5, "aSfixed64": -6}`, `{"aSint64": -9223372036854775808}`,
		`{"aFloat": 3.4e38}`, `{"aFloat": 3.5e38}`, `{"aFloat": "NaN"}`, `{"aDouble": "Infinity"}`, `{"aDouble": "-Infinity"}`, `{"aDouble": "1.5"}`, `{"aDouble": "inf"}`, `{"aDouble": 1e309}`, `{"aDouble": "0x10"}`, `{"aDouble": "1_0"}`, `{"aDouble": -0}`,
		`{"aString": "a\u00e9\n\ud83d\ude00\/"}`, `{"aString": "\ud83d"}`, `{"aString": "\ude00\ud83d"}`, `{"aString": "\x"}`, `{"aString": 5}`, "{\"aString\": \"a\nb\"}", "{\"aString\": \"\xff\"}", `{"aString": "é"}`,
		`{"aBytes": "AQID"}`, `{"aBytes": "AQI"}`, `{"aBytes": "AQI="}`, `{"aBytes": "-_8"}`, `{"aBytes": "!"}`, `{"aBytes": ""}`,
		`{"aEnum": "PAID"}`, `{"aEnum": 2}`, `{"aEnum": 77}`, `{"aEnum": "paid"}`, `{"aEnum": "NONE"}`, `{"aEnum": 1.0}`, `{"aEnum": "2"}`,
		`{"aMessage": {"aMessage": {"aBool": true}}}`, `{"aMessage": []}`, `{"aMessage": {}}`,
		`{"bools": [true, false], "ints": [1, -2, "3"], "doubles": [1, 2.5, "NaN"], "strings": ["", "a"], "blobs": ["AQ==", ""], "enums": ["OPEN", 2, "STATE_UNSPECIFIED"], "items": [{}, {"sku": "x"}], "unpacked": [1, 0]}`,
		`{"ints": []}`, `{"ints": [null]}`, `{"ints": 1}`, `{"ints": {}}`, `{"ints": [1,]}`, `{"ints": [1 2]}`, `{"items": [null]}`, `{"ints": null}`,
		`{"byName": {"a": {"sku": "s"}, "": {}}, "byInt": {"1": "x", "-5": ""}, "byBool": {"true": "PAID", "false": 0}, "byUint64": {"18446744073709551615": 1.5}, "values": {"n": null, "s": "x", "l": [1, {"a": true}]}}`,
		`{"byInt": {"a": "x"}}`, `{"byInt": {"1": "x", "1": "y"}}`, `{"byBool": {"1": 0}}`, `{"byName": {"a": null}}`, `{"byInt": {"1.0": "x"}}`, `{"byInt": {1: "x"}}`,
		`{"maybeInt": 0, "maybeString": ""}`, `{"maybeInt": null}`, `{"oneString": "", "oneInt": 0}`, `{"oneString": null, "oneInt": 0}`, `{"oneItem": {}}`, `{"oneNull": null}`, `{"oneNull": "NULL_VALUE"}`,
		`{"other-name": "x"}`, `{"renamed": "x"}`, `{"otherName": "x"}`, `{"far": "x"}`, `{"unknown": 1}`, `{"unknown": {"a": [1, "x", null, true, false, -1.5e3]}, "aBool": true}`,
		`{"any": {"@type": "type.googleapis.com/dragoman.test.shop.Item", "sku": "x"}}`, `{"any": {"@type": "type.googleapis.com/google.protobuf.Duration", "value": "1s"}}`, `{"any": {"@type": "type.googleapis.com/none"}}`, `{"any": {}}`, `{"any": {"sku": "x"}}`,
		`{"timestamp": "2026-01-02T03:04:05Z"}`, `{"timestamp": "2026-01-02T03:04:05.123456789+01:00"}`, `{"timestamp": "2026-01-02T03:04:05.1234567890Z"}`, `{"timestamp": "2026-01-02"}`, `{"timestamp": 5}`, `{"timestamp": "1970-01-01T00:00:00Z"}`, `{"timestamp": "0001-01-01T00:00:00Z"}`, `{"timestamp": "0000-01-01T00:00:00Z"}`, `{"timestamp": "9999-12-31T23:59:59.999Z"}`, `{"timestamp": "2026-01-02t03:04:05z"}`,
		`{"duration": "1.5s"}`, `{"duration": "-0.000000001s"}`, `{"duration": "1"}`, `{"duration": "315576000001s"}`, `{"mask": "aBool,aMessage.aString"}`, `{"mask": "a_bool"}`, `{"mask": ""}`,
		`{"struct": {"a": 1, "b": [null, {"c": "d"}]}, "value": null, "list": [1, "x", null]}`, `{"struct": {"a": 1, "a": 2}}`, `{"value": {"x": 1e400}}`, `{"empty": {}}`, `{"empty": {"a": 1}}`, `{"empty": null}`,
		`{"boolValue": false, "stringValue": "", "bytesValue": "AQ==", "int32Value": 0, "int64Value": "5", "uint32Value": 6, "uint64Value": "7", "floatValue": 1.5, "doubleValue": "NaN"}`, `{"boolValue": null}`, `{"boolValue": "true"}`, `{"int32Value": {"value": 1}}`,
		`{"timestamps": ["2026-01-02T03:04:05Z"], "anyValues": [null, 1, "x", [], {}]}`, `{"timestamps": [null]}`,
		``, `null`, `[]`, `{`, `{"aBool"`, `{"aBool":`, `{"aBool": true`, `{"aBool": true} x`, `{"aBool": true,}`, `{,}`, `{"aBool": tru}`, `{aBool: true}`, `{"aBool" true}`, `5`,
		strings.Repeat(`{"aMessage":`, 50) + "{}" + strings.Repeat("}", 50),
		`{"value": ` + strings.Repeat("[", 90) + strings.Repeat("]", 90) + `}`,
	}
}

// compareRead asserts that JSON means what it means for protojson.
func compareRead(t *testing.T, m *pbjson.Message, text string, into, want proto.Message, lenient bool) {
	t.Helper()
	wire, err := m.Append([]byte("before"), []byte(text), pbjson.ReadOptions{IgnoreUnknown: lenient})
	bad := protojson.UnmarshalOptions{DiscardUnknown: lenient, RecursionLimit: pbjson.MaxDepth}.Unmarshal([]byte(text), want)
	if err != nil && bad == nil && !json.Valid([]byte(text)) {
		return // protojson takes some numbers that are none
	}
	if (err != nil) != (bad != nil) {
		t.Errorf("%.200q (lenient %v): %v; protojson: %v", text, lenient, err, bad)
		return
	}
	if string(wire[:6]) != "before" {
		t.Errorf("%.200q: what was there has become %q", text, wire[:6])
	}
	if err != nil {
		var typed *pbjson.Error
		if !errors.As(err, &typed) || len(wire) != 6 {
			t.Errorf("%.200q: %T, %d bytes", text, err, len(wire))
		}
		return
	}
	if err := proto.Unmarshal(wire[6:], into); err != nil {
		t.Errorf("%.200q: %v", text, err)
		return
	}
	if !proto.Equal(want, into) {
		t.Errorf("%.200q: %v, want %v", text, into, want)
	}
}

// compareWrite asserts that a message looks as protojson writes it.
func compareWrite(t *testing.T, m *pbjson.Message, msg proto.Message, wire []byte) {
	t.Helper()
	for _, o := range []pbjson.WriteOptions{{}, {EmitDefaults: true}, {EnumNumbers: true, ProtoNames: true}} {
		text, bad := protojson.MarshalOptions{UseProtoNames: o.ProtoNames, UseEnumNumbers: o.EnumNumbers, EmitDefaultValues: o.EmitDefaults}.Marshal(msg)
		got, err := m.AppendJSON(nil, wire, o)
		if err == nil && bad != nil && strings.Contains(bad.Error(), "none of the oneof fields") {
			continue // a google.protobuf.Value without a value is null here
		}
		if (err != nil) != (bad != nil) {
			t.Errorf("%+v: %v; protojson: %v of %v", o, err, bad, msg)
			continue
		}
		if err != nil {
			continue
		}
		var want strings.Builder
		if err := compact(&want, text); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want.String(), string(got)); diff != "" {
			t.Errorf("%+v (-protojson +pbjson):\n%s", o, diff)
		}
	}
}

func compact(out *strings.Builder, text []byte) error {
	var b bytes.Buffer
	if err := json.Compact(&b, text); err != nil {
		return err
	}
	out.Write(b.Bytes())
	return nil
}

func TestAsProtojson(t *testing.T) {
	t.Parallel()
	m := everything()
	for _, text := range texts() {
		for _, lenient := range []bool{false, true} {
			want := &shop.Everything{}
			compareRead(t, m, text, &shop.Everything{}, want, lenient)
			wire, err := proto.MarshalOptions{Deterministic: true}.Marshal(want)
			if err != nil {
				t.Fatal(err)
			}
			compareWrite(t, m, want, wire)
		}
	}
}

func TestLegacy(t *testing.T) {
	t.Parallel()
	m := legacy()
	for _, text := range []string{
		`{"id": "x"}`, `{}`, `{"id": "x", "count": 0, "color": "RED", "numbers": [1], "packed": [1, 2]}`, `{"id": "x", "part": {"sku": "s"}}`, `{"id": "x", "Part": {"sku": "s"}}`,
		`{"id": "x", "inner": {"count": 1}}`, `{"id": "x", "inner": {"id": "y"}}`, `{"id": "x", "[dragoman.test.shop.note]": "n"}`, `{"id": "x", "[dragoman.test.shop.more]": [{"id": "z"}]}`,
		`{"id": "x", "note": "n"}`, `{"id": "x", "[dragoman.test.shop.none]": "n"}`, `{"id": "x", "color": 9}`,
	} {
		want := &shop.Legacy{}
		compareRead(t, m, text, &shop.Legacy{}, want, false)
		if wire, err := (proto.MarshalOptions{AllowPartial: true}).Marshal(want); err == nil && proto.CheckInitialized(want) == nil {
			compareWrite(t, m, want, wire)
		}
	}
	if _, err := m.Append(nil, []byte(`{}`), pbjson.ReadOptions{Partial: true}); err != nil {
		t.Errorf("a required field that comes from elsewhere: %v", err)
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	m := everything()
	for text, want := range map[string]string{
		`{"items": [{"sku": "a"}, {"sku": "b", "count": -1}]}`:         "items[1].count (at byte 47): is not in the range of a uint32",
		`{"byName": {"a b": {"colour": 1}}}`:                           `byName["a b"].colour (at byte 20): is not a field of the message`,
		`{"aMessage": {"aMessage": {"aEnum": "NONE"}}}`:                `aMessage.aMessage.aEnum (at byte 36): "NONE" is not a value of the enum`,
		`{"ints": [1, 2, "x"]}`:                                        "ints[2] (at byte 16): is not a whole number",
		`{"aBool": "yes"}`:                                             "aBool (at byte 10): '\"' where true or false is expected",
		`{"oneString": "a", "oneInt": 1}`:                              "oneInt (at byte 29): is one of several fields, of which only one may be there: oneof choice",
		`{"timestamp": "yesterday"}`:                                   `timestamp (at byte 14): is not a google.protobuf.Timestamp, as in "2006-01-02T15:04:05Z"`,
		`{"duration": "5"}`:                                            `duration (at byte 13): is not a google.protobuf.Duration: invalid google.protobuf.Duration value "5"`,
		`{"aString": "x"`:                                              "at byte 15: ends where ',' or '}' is expected",
		strings.Repeat(`{"aMessage":`, 101) + strings.Repeat("}", 101): "",
	} {
		_, err := m.Append(nil, []byte(text), pbjson.ReadOptions{})
		if err == nil || want != "" && err.Error() != want {
			t.Errorf("%.100s: %v, want %s", text, err, want)
		}
	}
}

func TestFoldEnums(t *testing.T) {
	t.Parallel()
	m := everything()
	wire, err := m.Append(nil, []byte(`{"aEnum": "paid"}`), pbjson.ReadOptions{FoldEnums: true})
	got := &shop.Everything{}
	if err != nil || proto.Unmarshal(wire, got) != nil || got.GetAEnum() != shop.State_PAID {
		t.Errorf("%v, %v", got, err)
	}
}

// TestWire has messages that no marshaller writes, but that decoders take.
func TestWire(t *testing.T) {
	t.Parallel()
	m := everything()
	parts := [][]byte{
		marshal(t, &shop.Everything{AMessage: &shop.Everything{AInt32: 5}, Choice: &shop.Everything_OneString{OneString: "a"}, Ints: []int32{1, 2}}),
		marshal(t, &shop.Everything{AMessage: &shop.Everything{AString: "x", Ints: []int32{4}}, Choice: &shop.Everything_OneItem{OneItem: &shop.Item{Sku: "s"}}, Ints: []int32{3}}),
		marshal(t, &shop.Everything{ByInt: map[int32]string{5: "b"}, Choice: &shop.Everything_OneItem{OneItem: &shop.Item{Count: 2}}}),
		marshal(t, &shop.Everything{ByInt: map[int32]string{5: "a", -1: ""}}),
		{0xaa, 0x01, 0x00},
		{0xa8, 0x01, 0x01},       // bools: packed and empty; one, not packed
		{0x10, 0x80, 0x00},       // a_int32: 0 in two bytes
		{0x12, 0x01, 'x'},        // a_int32 as bytes
		{0xfa, 0x01, 0x00},       // by_name: an entry without key and value
		{0xc8, 0xbb, 0x01, 0x05}, // no field
	}
	var wire []byte
	for _, p := range parts {
		wire = append(wire, p...)
	}
	msg := &shop.Everything{}
	if err := proto.Unmarshal(wire, msg); err != nil {
		t.Fatal(err)
	}
	compareWrite(t, m, msg, wire)
	for _, broken := range [][]byte{{0x08}, {0x0a, 0x05, 'a'}, {0x8a, 0x01, 0x02, 0x08}, {0x72, 0x01, 0xff}, {0x07}} {
		if got, err := m.AppendJSON([]byte("x"), broken, pbjson.WriteOptions{}); err == nil || string(got) != "x" {
			t.Errorf("%x: %s", broken, got)
		}
	}
	deep := []byte{}
	for range 150 {
		deep = append(append([]byte{0x8a, 0x01}, byte(len(deep)&0x7f|0x80), byte(len(deep)>>7)), deep...)
	}
	if _, err := m.AppendJSON(nil, deep, pbjson.WriteOptions{}); !errors.Is(err, pbjson.ErrDeep) {
		t.Errorf("150 messages in each other: %v", err)
	}
}

func marshal(t *testing.T, m proto.Message) []byte {
	t.Helper()
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestFields(t *testing.T) {
	t.Parallel()
	m := everything()
	texts := []struct{ field, text, want string }{
		{"aInt32", "5", `{"aInt32":5}`},
		{"aString", `a"b`, `{"aString":"a\"b"}`},
		{"aBool", "true", `{"aBool":true}`},
		{"aEnum", "PAID", `{"aEnum":"PAID"}`},
		{"aEnum", "2", `{"aEnum":"PAID"}`},
		{"aEnum", "NONE", ""},
		{"aDouble", "1.5", `{"aDouble":1.5}`},
		{"aBytes", "AQ==", `{"aBytes":"AQ=="}`},
		{"strings", "x", `{"strings":["x"]}`},
		{"ints", "-3", `{"ints":[-3]}`},
		{"timestamp", "2026-01-02T03:04:05Z", `{"timestamp":"2026-01-02T03:04:05Z"}`},
		{"int64Value", "7", `{"int64Value":"7"}`},
		{"boolValue", "true", `{"boolValue":true}`},
		{"mask", "aBool", `{"mask":"aBool"}`},
		{"maybeInt", "0", `{"maybeInt":0}`},
		{"aBool", "1", ""},
		{"aInt32", "x", ""},
		{"aInt32", "", ""},
	}
	for _, test := range texts {
		f := m.Field(test.field)
		if !f.Textual() {
			t.Errorf("%s is not textual", test.field)
		}
		wire, err := f.AppendText(nil, test.text, pbjson.ReadOptions{})
		if (err != nil) != (test.want == "") {
			t.Errorf("%s of %q: %v", test.field, test.text, err)
			continue
		}
		if test.want == "" {
			continue
		}
		if got, err := m.AppendJSON(nil, wire, pbjson.WriteOptions{}); err != nil || string(got) != test.want {
			t.Errorf("%s of %q: %s, %v, want %s", test.field, test.text, got, err, test.want)
		}
	}
	for _, name := range []string{"aMessage", "byInt", "struct", "any", "value", "items"} {
		if m.Field(name).Textual() {
			t.Errorf("%s is textual", name)
		}
	}
	wire, err := m.Field("items").Append(nil, []byte(`[{"sku": "a"}, {}]`), pbjson.ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"items": `[{"sku":"a"},{}]`, "aMessage": "{}", "aString": `""`, "ints": "[]", "byInt": "{}", "aInt64": `"0"`, "value": "null", "aEnum": `"STATE_UNSPECIFIED"`} {
		got, err := m.AppendFieldJSON(nil, m.Field(name), wire, pbjson.WriteOptions{})
		if err != nil || string(got) != want {
			t.Errorf("%s: %s, %v, want %s", name, got, err, want)
		}
	}
}

// FuzzRead compares with protojson, whatever the text is.
func FuzzRead(f *testing.F) {
	for _, text := range texts() {
		f.Add(text)
	}
	m := everything()
	f.Fuzz(func(t *testing.T, text string) {
		want := &shop.Everything{}
		compareRead(t, m, text, &shop.Everything{}, want, false)
		if wire, err := (proto.MarshalOptions{Deterministic: true}).Marshal(want); err == nil {
			compareWrite(t, m, want, wire)
		}
	})
}

// FuzzWrite compares with protojson, whatever the bytes are.
func FuzzWrite(f *testing.F) {
	for _, text := range texts() {
		msg := &shop.Everything{}
		if protojson.Unmarshal([]byte(text), msg) == nil {
			b, _ := proto.Marshal(msg)
			f.Add(b)
		}
	}
	m := everything()
	f.Fuzz(func(t *testing.T, wire []byte) {
		msg := &shop.Everything{}
		if err := (proto.UnmarshalOptions{RecursionLimit: 60}).Unmarshal(wire, msg); err != nil {
			_, _ = m.AppendJSON(nil, wire, pbjson.WriteOptions{}) // what is wrong where nobody looks may pass
			return
		}
		compareWrite(t, m, msg, wire)
	})
}
