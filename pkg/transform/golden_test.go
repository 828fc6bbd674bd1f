package transform_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"maps"
	"strings"
	"testing"

	"github.com/dragoman-mesh/dragoman/internal/goldentest"
	"github.com/dragoman-mesh/dragoman/pkg/transform"
)

// TestGolden runs the archives of testdata: "spec" is a transform.Spec, "in" a
// body, "type" its Content-Type, "out" what becomes of it, "outtype" the new
// Content-Type, "error" why nothing does. MessagePack is written as hexadecimal
// digits; CSV and multipart end their lines with LF here.
func TestGolden(t *testing.T) {
	t.Parallel()
	goldentest.Run(t, "testdata/*/*.txtar", func(t *testing.T, c *goldentest.Case) {
		made := map[string]string{"outtype": "", "out": "", "error": ""}
		maps.Copy(made, convert(t, c))
		c.Compare(t, made)
	})
}

// convert does what an archive says.
func convert(t *testing.T, c *goldentest.Case) map[string]string {
	t.Helper()
	spec := decodeSpec(t, c.Text("spec"))
	p, err := transform.Compile(&spec)
	if err != nil {
		return map[string]string{"error": "refused: " + err.Error() + "\n"}
	}
	body := wire(t, spec.From.Format, c.Text("in"))
	out, err := p.Apply(t.Context(), nil, body, strings.TrimSpace(c.Text("type")))
	if err != nil {
		return map[string]string{"error": err.Error() + "\n"}
	}
	return map[string]string{"outtype": p.ContentType(out) + "\n", "out": shown(spec.To.Format, out)}
}

func decodeSpec(t *testing.T, text string) transform.Spec {
	t.Helper()
	var spec transform.Spec
	dec := json.NewDecoder(strings.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&spec); err != nil {
		t.Fatal(err)
	}
	return spec
}

// wire is a body as it is sent.
func wire(t *testing.T, f transform.Format, text string) []byte {
	t.Helper()
	switch f {
	case transform.MsgPack:
		data, err := hex.DecodeString(strings.Join(strings.Fields(text), ""))
		if err != nil {
			t.Fatal(err)
		}
		return data
	case transform.Multipart:
		text = strings.ReplaceAll(text, "\n", "\r\n")
	case transform.Form:
		text = strings.TrimSuffix(text, "\n")
	}
	return []byte(text)
}

// shown is a body as a golden file has it.
func shown(f transform.Format, body []byte) string {
	switch f {
	case transform.MsgPack:
		var b strings.Builder
		for i := 0; i < len(body); i += 32 {
			b.WriteString(hex.EncodeToString(body[i:min(i+32, len(body))]) + "\n")
		}
		return b.String()
	case transform.CSV, transform.Multipart:
		body = bytes.ReplaceAll(body, []byte("\r\n"), []byte("\n"))
	}
	if !bytes.HasSuffix(body, []byte("\n")) {
		body = append(body, '\n')
	}
	return string(body)
}
