// Package goldentest compares what tests make with files in testdata. With -update (`make golden`) it rewrites those files instead: a file records what
// the code does, so read the diff before you commit it.
package goldentest

import (
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// Case is an archive of files: what a test is given, and what it is to make of it.
type Case struct {
	*txtar.Archive
	Name string // of the archive, without its folder and ending
	path string
}

// Run runs a test for each archive that matches the pattern, beside each other.
func Run(t *testing.T, pattern string, test func(t *testing.T, c *Case)) {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) == 0 {
		t.Fatalf("no cases are at %s: %v", pattern, err)
	}
	for _, path := range paths {
		name := strings.TrimSuffix(path, ".txtar")
		t.Run(strings.TrimPrefix(name, "testdata/"), func(t *testing.T) {
			t.Parallel()
			archive, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			test(t, &Case{Archive: archive, Name: filepath.Base(name), path: path})
		})
	}
}

// Data is what a file of the case holds, nil if there is none.
func (c *Case) Data(name string) []byte {
	if i := c.index(name); i >= 0 {
		return c.Files[i].Data
	}
	return nil
}

// Text is [Case.Data] as a string.
func (c *Case) Text(name string) string { return string(c.Data(name)) }

func (c *Case) index(name string) int {
	return slices.IndexFunc(c.Files, func(f txtar.File) bool { return f.Name == name })
}

// Compare looks whether the case has what was made of it, by name of the file. Without a text there is to be no file.
func (c *Case) Compare(t *testing.T, made map[string]string) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(made)) {
		if *update {
			c.set(name, made[name])
		} else if diff := cmp.Diff(c.Text(name), made[name]); diff != "" {
			t.Errorf("%s is not as in %s; -update rewrites it (-want +got):\n%s", name, c.path, diff)
		}
	}
	if *update {
		write(t, c.path, txtar.Format(c.Archive))
	}
}

func (c *Case) set(name, text string) {
	i := c.index(name)
	switch {
	case text == "" && i >= 0:
		c.Files = slices.Delete(c.Files, i, i+1)
	case text == "":
	case i >= 0:
		c.Files[i].Data = []byte(text)
	default:
		c.Files = append(c.Files, txtar.File{Name: name, Data: []byte(text)})
	}
}

// Compare looks whether a file has what was made.
func Compare(t *testing.T, path, made string) {
	t.Helper()
	if *update {
		write(t, path, []byte(made))
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), made); diff != "" {
		t.Errorf("%s is stale; -update rewrites it (-want +got):\n%s", path, diff)
	}
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}
