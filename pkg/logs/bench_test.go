package logs_test

import (
	"testing"

	"github.com/dragoman-mesh/dragoman/pkg/logs/parse"
	"github.com/dragoman-mesh/dragoman/pkg/logs/record"
	"github.com/dragoman-mesh/dragoman/pkg/logs/sink"
	"github.com/dragoman-mesh/dragoman/pkg/logs/sink/stdout"
)

// BenchmarkRecord parses a line and writes its record.
func BenchmarkRecord(b *testing.B) {
	for name, line := range map[parse.Format]string{
		parse.NginxCombined: `10.1.2.3 - - [02/Jan/2026:15:04:05 +0000] "GET /api/v1/orders/4711?full=true HTTP/1.1" 200 5316 "https://example.com/orders" "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"`,
		parse.JSON:          `{"time":"2026-01-02T15:04:05.123456789Z","level":"INFO","msg":"request served","method":"GET","path":"/api/v1/orders/4711","status":200,"duration":0.0123,"user":{"id":17,"name":"bob"}}`,
		parse.Logfmt:        `time=2026-01-02T15:04:05.123Z level=info msg="request served" method=GET path=/api/v1/orders/4711 status=200 duration=12.3ms`,
		parse.Plain:         `2026-01-02 15:04:05.123 INFO [main] com.example.Orders: request served in 12.3 ms`,
	} {
		b.Run(string(name), func(b *testing.B) {
			p, err := parse.New(parse.Options{Format: name})
			if err != nil {
				b.Fatal(err)
			}
			s := stdout.New(nil)
			res := record.NewResource(map[string]string{"k8s.pod.name": "web-0", "log.file.path": "/var/log/nginx/access.log"})
			var batch sink.Batch
			var r record.Record
			text := []byte(line)
			b.SetBytes(int64(len(line)) + 1)
			b.ReportAllocs()
			for b.Loop() {
				r.Reset()
				if !p.Parse(text, &r) {
					b.Fatal("it is not of the format")
				}
				r.Observed = 1767366245123456789
				if batch.Add(s, &r, res); batch.Bytes > 1<<20 {
					batch.Reset()
				}
			}
		})
	}
}
