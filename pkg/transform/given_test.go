package transform_test

import (
	"testing"

	"github.com/dragoman-mesh/dragoman/pkg/transform"
	"github.com/dragoman-mesh/dragoman/pkg/transform/mapping"
)

// TestGiven: texts are in the old body before the map sees it.
func TestGiven(t *testing.T) {
	t.Parallel()
	p, err := transform.Compile(&transform.Spec{
		From: transform.Side{Format: transform.JSON}, To: transform.Side{Format: transform.JSON},
		Given: []string{"id", "tenant.name"},
		Map:   &mapping.Map{Move: map[string]string{"id": "OrderId"}, Coerce: map[string]mapping.Type{"OrderId": mapping.Number}},
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := p.ApplyWith(t.Context(), nil, []byte(`{"a":1,"id":"mine"}`), "", []transform.Given{{0, "42"}, {1, "acme"}})
	if want := `{"a":1,"OrderId":42,"tenant":{"name":"acme"}}`; err != nil || string(got) != want {
		t.Errorf("got  %s, %v\nwant %s", got, err, want)
	}
	if got, err := p.ApplyWith(t.Context(), nil, []byte(`[1]`), "", []transform.Given{{0, "42"}}); err == nil {
		t.Errorf("a list is given a field: %s", got)
	}
	for _, bad := range []string{".", "a[]", "a..b", ""} {
		if _, err := transform.Compile(&transform.Spec{
			From: transform.Side{Format: transform.JSON}, To: transform.Side{Format: transform.JSON}, Given: []string{bad},
		}); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
