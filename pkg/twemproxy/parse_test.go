package twemproxy_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/tools/txtar"

	"github.com/dragoman-mesh/dragoman/internal/goldentest"
	"github.com/dragoman-mesh/dragoman/pkg/twemproxy"
)

func TestParse(t *testing.T) {
	t.Parallel()
	goldentest.Run(t, "testdata/parse/*.txtar", func(t *testing.T, c *goldentest.Case) {
		cfg, errs := twemproxy.Parse("in.yml", c.Files[0].Data)
		if (cfg == nil) == (len(errs) == 0) {
			t.Fatalf("Parse: config %v with errors %v", cfg, errs)
		}
		got := map[string]string{"errors": "", "want.yml": ""}
		if cfg != nil {
			got["want.yml"] = string(cfg.Append(nil))
		} else {
			got["errors"] = errs.Error() + "\n"
		}
		c.Compare(t, got)
	})
}

// TestSameVerdict has nutcracker itself judge the cases.
func TestSameVerdict(t *testing.T) {
	t.Parallel()
	nutcracker, err := exec.LookPath("nutcracker")
	if err != nil {
		t.Fatalf("nutcracker is not installed: %v", err)
	}
	files, _ := filepath.Glob("testdata/parse/*.txtar")
	for _, file := range files {
		if filepath.Base(file) == "reuseport.txtar" {
			continue // unknown to 0.5.0
		}
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			ar, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			in := filepath.Join(t.TempDir(), "in.yml")
			if err := os.WriteFile(in, ar.Files[0].Data, 0o600); err != nil {
				t.Fatal(err)
			}
			_, errs := twemproxy.Parse(in, ar.Files[0].Data)
			out, err := exec.CommandContext(t.Context(), nutcracker, "-t", "-o", os.DevNull, "-c", in).CombinedOutput()
			if (err == nil) != (len(errs) == 0) {
				t.Errorf("nutcracker: %v %s; Parse: %v", err, out, errs)
			}
		})
	}
}

func TestHashName(t *testing.T) {
	t.Parallel()
	cfg, errs := twemproxy.Parse("in.yml", []byte(`p:
  listen: 127.0.0.1:1
  servers:
  - 127.0.0.1:6379:1
  - 127.0.0.1:11211:1
  - 127.0.0.1:6379:1 named
  - ::1:6379:1
  - /run/s:1
`))
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	type names struct{ Hash, Address string }
	var got []names
	for _, s := range cfg.Pools[0].Servers {
		got = append(got, names{s.HashName(), s.Address()})
	}
	want := []names{
		{"127.0.0.1:6379", "127.0.0.1:6379"},
		{"127.0.0.1", "127.0.0.1:11211"},
		{"named", "127.0.0.1:6379"},
		{"::1:6379", "[::1]:6379"},
		{"/run/s:", "/run/s"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func FuzzParse(f *testing.F) {
	files, _ := filepath.Glob("testdata/parse/*.txtar")
	for _, file := range files {
		ar, err := txtar.ParseFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(ar.Files[0].Data)
	}
	ignoreLines := cmp.Options{
		cmpopts.IgnoreFields(twemproxy.Pool{}, "Line"),
		cmpopts.IgnoreFields(twemproxy.Server{}, "Line"),
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		cfg, errs := twemproxy.Parse("in.yml", data)
		if cfg == nil {
			if len(errs) == 0 {
				t.Fatal("neither a configuration nor an error")
			}
			return
		}
		text := cfg.Append(nil)
		again, errs := twemproxy.Parse("again.yml", text)
		if len(errs) > 0 {
			t.Fatalf("own text refused: %v\n%s", errs, text)
		}
		if diff := cmp.Diff(cfg, again, ignoreLines); diff != "" {
			t.Fatalf("round trip (-first +second):\n%s\n%s", diff, text)
		}
	})
}
