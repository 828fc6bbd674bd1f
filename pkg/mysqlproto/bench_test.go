package mysqlproto_test

import (
	"strings"
	"testing"

	"github.com/dragoman-mesh/dragoman/pkg/mysqlproto"
)

// BenchmarkRows is the cost of following a result: a thousand rows of 100 bytes, passed by.
func BenchmarkRows(b *testing.B) {
	const rows = 1000
	stream := packets("\x01|\x03def|" + strings.Repeat("\x63"+strings.Repeat("x", 99)+"|", rows) + "\xfe\x00\x00\x02\x00\x00\x00")
	ask := query("x")
	tr := mysqlproto.NewTracker(mysqlproto.DeprecateEOF, mysqlproto.StatusAutocommit)
	var out, in mysqlproto.Framer
	b.SetBytes(int64(len(stream)))
	b.ReportAllocs()
	for b.Loop() {
		say(tr, &out, ask)
		if states, err := hear(tr, &in, stream, 16<<10, true); len(states) != 1 || err != nil {
			b.Fatal(states, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/rows, "ns/row")
}
