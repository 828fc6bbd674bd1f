package release

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// The module that carries CycloneDX's own schemas, and its checksum. It is data here, and nothing that is linked.
const (
	cyclonedx    = "github.com/CycloneDX/cyclonedx-go@v0.12.0"
	cyclonedxSum = "h1:/7Jum36UA6V043tQZ/fE3jf+Nf9gn/qxUFfd7QReMy8="
)

// billSchema is the schema of CycloneDX 1.5, with the two that it refers to.
func billSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	var module struct{ Dir, Sum, Error string }
	if err := json.Unmarshal([]byte(runs(t, ".", "go", "mod", "download", "-json", cyclonedx)), &module); err != nil {
		t.Fatal(err)
	}
	if module.Sum != cyclonedxSum {
		t.Fatalf("%s has the checksum %s, not %s; %s", cyclonedx, module.Sum, cyclonedxSum, module.Error)
	}
	const base = "http://cyclonedx.org/schema/"
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	for name, file := range map[string]string{
		"bom-1.5.schema.json": "bom-1.5.schema.json", "spdx.schema.json": "spdx.schema.json", "jsf-0.82.schema.json": "jsf-0.82.schemax.json",
	} {
		text, err := os.ReadFile(filepath.Join(module.Dir, "schema", file))
		if err != nil {
			t.Fatal(err)
		}
		document, err := jsonschema.UnmarshalJSON(strings.NewReader(string(text)))
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if err := c.AddResource(base+name, document); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
	}
	schema, err := c.Compile(base + "bom-1.5.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// TestBillsAreValid holds bills of materials against the schema that CycloneDX gives out, which refuses what is wrong.
func TestBillsAreValid(t *testing.T) {
	t.Parallel()
	root, schema := filepath.Join("..", ".."), billSchema(t)
	validate := func(text string) error {
		document, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		return schema.Validate(document)
	}
	for _, name := range []string{"proxy", "controlplane"} {
		binary := filepath.Join(t.TempDir(), name)
		runs(t, root, "go", "build", "-pgo=off", "-o", binary, "./cmd/"+name)
		bill := runs(t, root, "go", "run", "./hack/sbom", binary)
		if err := validate(bill); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for what, wrong := range map[string][2]string{
			"no name":          {`"name"`, `"nam"`},
			"no serial number": {"urn:uuid:", "urn:"},
			"another type":     {`"type": "library"`, `"type": "module"`},
			"another hash":     {`"alg": "SHA-256"`, `"alg": "SHA256"`},
		} {
			if broken := strings.Replace(bill, wrong[0], wrong[1], 1); broken == bill || validate(broken) == nil {
				t.Errorf("%s: a bill with %s is valid", name, what)
			}
		}
	}
}
