package logs_test

import (
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/logs"
	"github.com/dragoman-mesh/dragoman/pkg/logs/parse"
	"github.com/dragoman-mesh/dragoman/pkg/logs/record"
	"github.com/dragoman-mesh/dragoman/pkg/logs/sink"
	"github.com/dragoman-mesh/dragoman/pkg/logs/sink/stdout"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// samples are lines of each format.
func samples() map[parse.Format]string {
	return map[parse.Format]string{
		parse.NginxCombined: `10.1.2.3 - - [02/Jan/2026:15:04:05 +0000] "GET /api/v1/orders/4711?full=true HTTP/1.1" 200 5316 "https://example.com/orders" "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"`,
		parse.JSON:          `{"time":"2026-01-02T15:04:05.123456789Z","level":"INFO","msg":"request served","method":"GET","path":"/api/v1/orders/4711","status":200,"duration":0.0123,"user":{"id":17,"name":"bob"}}`,
		parse.Logfmt:        `time=2026-01-02T15:04:05.123Z level=info msg="request served" method=GET path=/api/v1/orders/4711 status=200 duration=12.3ms`,
		parse.Plain:         `2026-01-02 15:04:05.123 INFO [main] com.example.Orders: request served in 12.3 ms`,
	}
}

// TestNoAllocationForARecord: to parse a line and to write its record takes no memory, once there are buffers.
func TestNoAllocationForARecord(t *testing.T) { //nolint:paralleltest // allocations are counted for the whole process
	for format, line := range samples() {
		p, err := parse.New(parse.Options{Format: format})
		if err != nil {
			t.Fatal(err)
		}
		s := stdout.New(nil)
		res := record.NewResource(map[string]string{"k8s.pod.name": "web-0", "log.file.path": "/var/log/nginx/access.log"})
		var batch sink.Batch
		var r record.Record
		text := []byte(line)
		one := func() {
			batch.Reset()
			r.Reset()
			if !p.Parse(text, &r) {
				t.Errorf("%s: it is not of the format", format)
			}
			batch.Add(s, &r, res)
		}
		if n := testing.AllocsPerRun(100, one); n != 0 {
			t.Errorf("%s: %v allocations for a line", format, n)
		}
	}
}

// TestFewAllocationsForALine has files followed to their end: what is allocated is for batches and files, not for lines.
func TestFewAllocationsForALine(t *testing.T) { //nolint:paralleltest // allocations are counted for the whole process
	const lines = 50_000
	for format, line := range samples() {
		file := filepath.Join(t.TempDir(), "app.log")
		if err := os.WriteFile(file, []byte(strings.Repeat(line+"\n", lines)), 0o600); err != nil {
			t.Fatal(err)
		}
		counters := logs.NewCounters("test")
		p, err := logs.New(logs.Options{
			Config: &resource.LogsFilter{
				Sources:   []resource.LogsSource{{Name: "app", Paths: []string{file}, Parse: parse.Options{Format: format}}},
				Positions: filepath.Join(t.TempDir(), "positions"), MaxLine: resource.DefaultLogLine, MaxFiles: 10, Rest: time.Second,
				BatchBytes: resource.DefaultLogBatch, BatchRecords: resource.DefaultLogRecords, BatchInterval: time.Second, Sink: &resource.LogsStdout{},
			},
			Sink: stdout.New(io.Discard), Metrics: counters, Log: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		p.Start(nil)
		err = p.Drain(ctx)
		runtime.ReadMemStats(&after)
		cancel()
		p.Close()
		if err != nil || value(counters.Records) != lines {
			t.Fatalf("%s: %v of %d records, %v", format, value(counters.Records), lines, err)
		}
		each := float64(after.Mallocs-before.Mallocs) / lines
		t.Logf("%s: %.4f allocations for a line", format, each)
		if each > 0.05 {
			t.Errorf("%s: %v allocations for a line, which is more than for batches", format, each)
		}
	}
}
