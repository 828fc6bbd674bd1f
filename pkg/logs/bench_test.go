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
	for name, line := range samples() {
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
