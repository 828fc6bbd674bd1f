package logs_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/filters/logs"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// TestPlaceOfPositions: a process with a folder for positions has those there that no document names, under a name that is the object's.
func TestPlaceOfPositions(t *testing.T) {
	t.Parallel()
	for name, byDefault := range map[string]bool{"by default": true, "named": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			file, beside, apart := filepath.Join(dir, "app.log"), filepath.Join(dir, ".shop-app.positions"), filepath.Join(dir, "state", "logs", ".shop-app.positions")
			if err := os.WriteFile(file, []byte("one\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			log := slog.New(slog.NewTextHandler(t.Output(), nil))
			b := logs.NewBuilder(log, logs.Options{Stdout: t.Output(), Getenv: func(name string) string {
				return map[string]string{"DRAGOMAN_LOG_POSITIONS": filepath.Dir(apart)}[name]
			}})
			run(t, b, &resource.LogsFilter{
				Sources: []resource.LogsSource{{Name: "app", Paths: []string{file}}}, Positions: beside, PositionsByDefault: byDefault,
				MaxLine: 4096, MaxFiles: 10, Rest: time.Second, BatchBytes: 1 << 20, BatchRecords: 1000, BatchInterval: 10 * time.Millisecond, Sink: &resource.LogsStdout{},
			}, filters.Context{Listener: "shop/app", Log: log})
			want, other := beside, apart
			if byDefault {
				want, other = apart, beside
			}
			redistest.Eventually(t, 30*time.Second, want, func() error {
				_, err := os.Stat(want)
				return err
			})
			if _, err := os.Stat(other); err == nil {
				t.Errorf("there is %s, too", other)
			}
		})
	}
}
