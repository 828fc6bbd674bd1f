package postgres

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
)

// TestLargeObjects: libpq moves them by FunctionCall messages, which nothing else uses.
func TestLargeObjects(t *testing.T) {
	t.Parallel()
	db := dbtest.StartPostgres(t)
	for name, change := range modes() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := config()
			change(cfg)
			f := start(t, cfg, db.Addr())
			dir := t.TempDir()
			in, out := filepath.Join(dir, "in"), filepath.Join(dir, "out")
			want := bytes.Repeat([]byte("0123456789\x00\xff\n"), 50_000)
			if err := os.WriteFile(in, want, 0o600); err != nil {
				t.Fatal(err)
			}
			f.must(fmt.Sprintf("\\lo_import '%s'\n\\lo_export :LASTOID '%s'\nselect lo_unlink(:LASTOID);", in, out))
			got, err := os.ReadFile(out)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(want, got) {
				t.Errorf("%d other bytes come back than the %d that were stored", len(got), len(want))
			}
		})
	}
}
