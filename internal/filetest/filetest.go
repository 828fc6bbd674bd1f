// Package filetest has what tests do with files.
package filetest

import (
	"os"
	"path/filepath"
	"testing"
)

// Put writes a file as editors do, and gives its path: a new one takes the place of the
// old, so that nobody reads half of either. Its name ends otherwise until then.
func Put[T string | []byte](tb testing.TB, path string, content T) string {
	tb.Helper()
	next := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".new")
	if err := os.WriteFile(next, []byte(content), 0o600); err != nil {
		tb.Fatal(err)
	}
	if err := os.Rename(next, path); err != nil {
		tb.Fatal(err)
	}
	return path
}
