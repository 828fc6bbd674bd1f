package release

import (
	"bytes"
	"debug/elf"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func runs(t *testing.T, dir, program string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s%s", program, args, err, out, stderr.Bytes())
	}
	return string(out)
}

// TestReleaseIsReproducible builds two clones in folders of different names: the binaries are the same to the last byte. They are static, tell
// the revision, and their bills of materials have what is linked.
func TestReleaseIsReproducible(t *testing.T) {
	t.Parallel()
	root := strings.TrimSpace(runs(t, ".", "git", "rev-parse", "--show-toplevel"))
	revision := strings.TrimSpace(runs(t, root, "git", "rev-parse", "HEAD"))
	var clones []string
	for _, name := range []string{"one", "another-place"} {
		clone := filepath.Join(t.TempDir(), name)
		runs(t, root, "git", "clone", "--quiet", "--shared", "--no-checkout", root, clone)
		runs(t, clone, "git", "checkout", "--quiet", "--detach", revision)
		runs(t, clone, "make", "build", "BIN="+filepath.Join(clone, "bin"))
		clones = append(clones, clone)
	}
	for _, name := range []string{"proxy", "controlplane"} {
		path := filepath.Join(clones[0], "bin", name)
		first, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		second, err := os.ReadFile(filepath.Join(clones[1], "bin", name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(first, second) {
			t.Errorf("%s: two builds differ", name)
		}
		if bytes.Contains(first, []byte(clones[0])) {
			t.Errorf("%s has the path of its sources", name)
		}
		isStatic(t, path)
		if got := runs(t, ".", path, "version"); !strings.Contains(got, revision[:12]) {
			t.Errorf("%s says it is %s; want the revision %s", name, got, revision[:12])
		}
		hasBill(t, path)
	}
}

func isStatic(t *testing.T, path string) {
	t.Helper()
	f, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			t.Errorf("%s needs an interpreter: it is not static", path)
		}
	}
	if libraries, err := f.ImportedLibraries(); err != nil || len(libraries) > 0 {
		t.Errorf("%s needs %q, %v", path, libraries, err)
	}
}

// hasBill compares a bill of materials with what Go itself says of the binary.
func hasBill(t *testing.T, path string) {
	t.Helper()
	text := runs(t, filepath.Join("..", ".."), "go", "run", "./hack/sbom", path)
	if again := runs(t, filepath.Join("..", ".."), "go", "run", "./hack/sbom", path); again != text {
		t.Error("a second bill of materials differs")
	}
	var bill struct {
		BOMFormat, SpecVersion, SerialNumber string
		Components                           []struct {
			Type, Name, Version, PURL string
			Ref                       string `json:"bom-ref"`
		}
		Dependencies []struct{ DependsOn []string }
	}
	if err := json.Unmarshal([]byte(text), &bill); err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(bill.SerialNumber) ||
		bill.BOMFormat != "CycloneDX" || bill.SpecVersion != "1.5" {
		t.Errorf("%s %s %s", bill.BOMFormat, bill.SpecVersion, bill.SerialNumber)
	}
	got, refs := map[string]string{}, map[string]bool{}
	for _, c := range bill.Components {
		got[c.Name] = c.Version
		if c.Type != "library" || c.PURL != "pkg:golang/"+c.Name+"@"+strings.ReplaceAll(c.Version, "+", "%2B") || refs[c.Ref] {
			t.Errorf("component %+v", c)
		}
		refs[c.Ref] = true
	}
	for _, ref := range bill.Dependencies[0].DependsOn {
		if !refs[ref] {
			t.Errorf("%s is depended upon and not there", ref)
		}
	}
	want := map[string]string{}
	for line := range strings.Lines(runs(t, ".", "go", "version", "-m", path)) {
		if fields := strings.Fields(line); len(fields) >= 3 && fields[0] == "dep" {
			want[fields[1]] = fields[2]
		}
	}
	if got["std"] == "" || len(want) == 0 {
		t.Errorf("std is %q, and %d modules are linked", got["std"], len(want))
	}
	delete(got, "std")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: -go version -m +bill:\n%s", path, diff)
	}
}

// TestContainerfiles: the image from source and the one of a binary are the same, FROM scratch, and not root's.
func TestContainerfiles(t *testing.T) {
	t.Parallel()
	for name, file := range map[string]string{"proxy": "manifests/Containerfile", "controlplane": "manifests/controlplane/Containerfile"} {
		text, err := os.ReadFile(filepath.Join("..", "..", file))
		if err != nil {
			t.Fatal(err)
		}
		stages := map[string][]string{}
		stage := ""
		for line := range strings.Lines(string(text)) {
			line = strings.TrimSpace(line)
			switch from, ok := strings.CutPrefix(line, "FROM "); {
			case line == "" || strings.HasPrefix(line, "#"):
			case ok:
				stage = from
			default:
				stages[stage] = append(stages[stage], strings.Replace(line, "--from=build /out/", "", 1))
			}
		}
		want := []string{"COPY " + name + " /" + name, "USER 65532:65532", `ENTRYPOINT ["/` + name + `"]`}
		for _, stage := range []string{"scratch AS prebuilt", "scratch"} {
			if diff := cmp.Diff(want, stages[stage]); diff != "" {
				t.Errorf("%s, %s (-want +got):\n%s", file, stage, diff)
			}
		}
		if stage != "scratch" {
			t.Errorf("%s: the last stage is FROM %s", file, stage)
		}
	}
}
