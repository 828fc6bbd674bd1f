package transform_test

import (
	"testing"

	"github.com/dragoman-mesh/dragoman/pkg/transform"
	"github.com/dragoman-mesh/dragoman/pkg/transform/mapping"
)

func TestMap(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		m    mapping.Map
		in   string
		want string
	}{
		{"rename keeps the place", mapping.Map{Move: map[string]string{"b": "x"}}, `{"a":1,"b":2,"c":3}`, `{"a":1,"x":2,"c":3}`},
		{"two change places", mapping.Map{Move: map[string]string{"a": "b", "b": "a"}}, `{"a":1,"b":2}`, `{"b":1,"a":2}`},
		{"move replaces", mapping.Map{Move: map[string]string{"a": "b"}}, `{"a":1,"b":2}`, `{"b":1}`},
		{"move inwards and outwards", mapping.Map{Move: map[string]string{"a": "x.y", "o.p": "p"}}, `{"a":1,"o":{"p":2,"q":3}}`, `{"o":{"q":3},"p":2,"x":{"y":1}}`},
		{"unwrap", mapping.Map{Move: map[string]string{"data": "."}}, `{"data":{"a":1},"meta":2}`, `{"a":1}`},
		{"wrap", mapping.Map{Move: map[string]string{".": "data"}}, `[1,2]`, `{"data":[1,2]}`},
		{"list and its elements", mapping.Map{Move: map[string]string{"items": "lines", "items[].sku": "lines[].code", "items[].n": "lines[].count.value"}}, `{"items":[{"sku":"a","n":1},{"n":2},{"sku":"c"}]}`, `{"lines":[{"code":"a","count":{"value":1}},{"count":{"value":2}},{"code":"c"}]}`},
		{"columns to elements", mapping.Map{Move: map[string]string{"items[].sku": "lines[].code", "items[].n": "lines[].n"}, Drop: []string{"items[].x"}}, `{"items":[{"sku":"a","n":1,"x":1},{"n":2},{"sku":"c"}]}`, `{"lines":[{"n":1,"code":"a"},{"n":2},{"code":"c"}]}`},
		{"elements to a list", mapping.Map{Move: map[string]string{"items[].sku": "skus[]"}, Drop: nil}, `{"items":[{"sku":"a"},{"n":2},{"sku":"c"}]}`, `{"items":[{},{"n":2},{}],"skus":["a","c"]}`},
		{"default", mapping.Map{Default: map[string]string{"a": "x", "b.c": "y", "l[].z": "1", "none[].z": "1"}}, `{"a":null,"l":[{},{"z":2}]}`, `{"a":null,"l":[{"z":"1"},{"z":2}],"b":{"c":"y"}}`},
		{"constant", mapping.Map{Constant: map[string]string{"a": "x", "l[]": "y"}}, `{"a":1,"l":[1,2]}`, `{"a":"x","l":["y","y"]}`},
		{"coerce", mapping.Map{Coerce: map[string]mapping.Type{"n": mapping.Number, "s": mapping.String, "t": mapping.Boolean, "l[].n": mapping.Number, "d": mapping.Number}, Default: map[string]string{"d": "5"}}, `{"n":" +007.50 ","s":1.50,"t":"1","l":{"n":"3"}}`, `{"n":7.50,"s":"1.50","t":true,"l":{"n":3},"d":5}`},
		{"list", mapping.Map{List: []string{"a", "b", "c", "d.e", "f.g"}}, `{"a":1,"b":[1],"f":{}}`, `{"a":[1],"b":[1],"f":{"g":[]},"c":[]}`},
		{"each", mapping.Map{Each: map[string]*mapping.Map{"l": {Move: map[string]string{"a": "b"}, Constant: map[string]string{"c": "d"}}, "m": {Move: map[string]string{".": "v"}}}}, `{"l":[{"a":1},{"a":2}],"m":[1,2]}`, `{"l":[{"b":1,"c":"d"},{"b":2,"c":"d"}],"m":[{"v":1},{"v":2}]}`},
		{"each that wraps", mapping.Map{Each: map[string]*mapping.Map{"l": {Move: map[string]string{".": "v"}, Default: map[string]string{"d": "e"}}}}, `{"l":[1,2,3],"m":4}`, `{"l":[{"v":1,"d":"e"},{"v":2,"d":"e"},{"v":3,"d":"e"}],"m":4}`},
		{"each that wraps a member", mapping.Map{Each: map[string]*mapping.Map{"l": {Move: map[string]string{".": "v"}, Default: map[string]string{"d": "e"}}}}, `{"l":1,"m":2,"n":3}`, `{"l":{"v":1,"d":"e"},"m":2,"n":3}`},
		{"each that wraps and moves", mapping.Map{Each: map[string]*mapping.Map{"l": {Move: map[string]string{".": "v", "a": "b"}}}}, `{"l":[{"a":1,"c":2},{"a":3,"c":4}],"m":5}`, `{"l":[{"v":{"c":2},"b":1},{"v":{"c":4},"b":3}],"m":5}`},
		{"quoted names", mapping.Map{Move: map[string]string{`a\.b`: `c\[\]`}}, `{"a.b":1}`, `{"c[]":1}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p, err := transform.Compile(&transform.Spec{From: transform.Side{Format: transform.JSON}, To: transform.Side{Format: transform.JSON}, Map: &tt.m})
			if err != nil {
				t.Fatal(err)
			}
			got, err := p.Apply(t.Context(), nil, []byte(tt.in), "")
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}
