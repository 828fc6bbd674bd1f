package redis

import (
	"maps"
	"slices"

	"github.com/dragoman-mesh/dragoman/pkg/redisproto"
)

// latencies are how long the calls of one command took, as LATENCY HISTOGRAM has it.
type latencies struct {
	name   []byte
	calls  int64
	within map[int64]int64 // calls by the upper bound of their bucket, in us
}

// combineHistograms is for LATENCY HISTOGRAM: each command once, with the calls of
// all shards. A server counts in a bucket also what is in those before it, and
// leaves out a bucket that adds nothing.
func combineHistograms(m *merge, dst []byte, resp uint8) []byte {
	var all []*latencies
	byName := map[string]*latencies{}
	for _, p := range m.parts {
		v, _, err := redisproto.ParseValue(p, &replyLimits)
		if err != nil {
			return append(dst, p...)
		}
		for i := 0; i+1 < len(v.Elems); i += 2 {
			name := v.Elems[i].Str
			h := byName[string(name)]
			if h == nil {
				h = &latencies{name: name, within: map[int64]int64{}}
				byName[string(name)] = h
				all = append(all, h)
			}
			h.add(&v.Elems[i+1])
		}
	}
	dst = redisproto.AppendMap(dst, len(all), int(resp))
	for _, h := range all {
		dst = h.appendTo(redisproto.AppendBulk(dst, h.name), int(resp))
	}
	return dst
}

// add takes in what one server has.
func (h *latencies) add(v *redisproto.Value) {
	if calls := statOf(v, "calls"); calls != nil {
		h.calls += calls.Int
	}
	buckets, before := statOf(v, "histogram_usec"), int64(0)
	for i := 0; buckets != nil && i+1 < len(buckets.Elems); i += 2 {
		bound, sum := buckets.Elems[i].Int, buckets.Elems[i+1].Int
		h.within[bound] += sum - before
		before = sum
	}
}

func (h *latencies) appendTo(dst []byte, resp int) []byte {
	dst = redisproto.AppendMap(dst, 2, resp)
	dst = redisproto.AppendInt(redisproto.AppendBulkString(dst, "calls"), h.calls)
	dst = redisproto.AppendMap(redisproto.AppendBulkString(dst, "histogram_usec"), len(h.within), resp)
	sum := int64(0)
	for _, bound := range slices.Sorted(maps.Keys(h.within)) {
		sum += h.within[bound]
		dst = redisproto.AppendInt(redisproto.AppendInt(dst, bound), sum)
	}
	return dst
}
