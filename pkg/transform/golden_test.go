package transform_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/dragoman-mesh/dragoman/pkg/transform"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestGolden runs the archives of testdata: "spec" is a transform.Spec, "in" a
// body, "type" its Content-Type, "out" what becomes of it, "outtype" the new
// Content-Type, "error" why nothing does. MessagePack is written as hexadecimal
// digits; CSV and multipart end their lines with LF here.
func TestGolden(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no golden files", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(strings.TrimPrefix(file, "testdata/"), ".txtar"), func(t *testing.T) {
			t.Parallel()
			golden(t, file)
		})
	}
}

func golden(t *testing.T, file string) {
	t.Helper()
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	inputs := archive.Files[:0:0]
	for _, f := range archive.Files {
		want[f.Name] = string(f.Data)
		if f.Name == "spec" || f.Name == "in" || f.Name == "type" {
			inputs = append(inputs, f)
		}
	}
	got := map[string]string{}
	for _, f := range inputs {
		got[f.Name] = string(f.Data)
	}
	maps.Copy(got, convert(t, want))
	if *update {
		archive.Files = inputs
		for _, name := range []string{"outtype", "out", "error"} {
			if text, ok := got[name]; ok {
				archive.Files = append(archive.Files, txtar.File{Name: name, Data: []byte(text)})
			}
		}
		if err := os.WriteFile(file, txtar.Format(archive), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// convert does what an archive says.
func convert(t *testing.T, in map[string]string) map[string]string {
	t.Helper()
	spec := decodeSpec(t, in["spec"])
	p, err := transform.Compile(&spec)
	if err != nil {
		return map[string]string{"error": "refused: " + err.Error() + "\n"}
	}
	body := wire(t, spec.From.Format, in["in"])
	out, err := p.Apply(t.Context(), nil, body, strings.TrimSpace(in["type"]))
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
