package redis

import (
	"testing"

	"github.com/dragoman-mesh/dragoman/pkg/netloop"
)

// Answers wait for each other only among what a client has sent at once: one that
// sends a request for each of its users must not have them wait for one another.
func TestBatches(t *testing.T) {
	t.Parallel()
	table := newCommandTable()
	for name, tt := range map[string]struct {
		sent     []string // each at once; GET of keys of two shards
		answered string   // by which shards, in turn
		mid      []bool   // whether the client is in the middle of a batch after each answer
	}{
		"one request":              {[]string{"1"}, "1", []bool{false}},
		"one after the other":      {[]string{"1", "2"}, "12", []bool{false, false}},
		"two at once":              {[]string{"12"}, "12", []bool{true, false}},
		"the second comes first":   {[]string{"12"}, "21", []bool{false, false}},
		"two batches":              {[]string{"12", "12"}, "1212", []bool{true, false, true, false}},
		"a batch, one shard first": {[]string{"121", "2"}, "1122", []bool{true, true, false, false}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(table, "shards: 2")
			s.build(t)
			conn := s.loop.Pipe(nil, netloop.Downstream)
			conn.SetDriver(s.filter.Accept(conn))
			for _, batch := range tt.sent {
				var b []byte
				for _, shard := range batch {
					b = append(b, wire("GET a"+string(shard))...)
				}
				conn.Feed(b)
				s.loop.Turn()
			}
			for _, shard := range s.conns {
				if shard != conn {
					shard.Feed(wire("+PONG"))
				}
			}
			for i, shard := range tt.answered {
				s.conns["s"+string(shard)].Feed(wire("$1 x"))
				if got := conn.Driver().(*client).has(stateMidBatch); got != tt.mid[i] {
					t.Errorf("after answer %d: in the middle of a batch: %v, want %v", i+1, got, tt.mid[i])
				}
			}
		})
	}
}
