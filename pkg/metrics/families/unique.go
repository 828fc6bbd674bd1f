package families

import (
	"hash/maphash"
	"slices"

	dto "github.com/prometheus/client_model/go"
)

// Unique leaves out series whose family has the same labels already, and returns
// how many there were. Labels must be sorted.
func Unique(list []*dto.MetricFamily) (dropped int) {
	seed := maphash.MakeSeed()
	seen := make(map[uint64]struct{})
	for _, mf := range list {
		clear(seen)
		before := len(mf.Metric)
		mf.Metric = slices.DeleteFunc(mf.Metric, func(m *dto.Metric) bool {
			var h maphash.Hash
			h.SetSeed(seed)
			for _, l := range m.Label {
				_, _ = h.WriteString(l.GetName())  // it never fails
				_ = h.WriteByte(0xff)              // in no text of UTF-8
				_, _ = h.WriteString(l.GetValue()) // as above
				_ = h.WriteByte(0xff)
			}
			sum := h.Sum64()
			_, double := seen[sum]
			seen[sum] = struct{}{}
			return double
		})
		dropped += before - len(mf.Metric)
	}
	return dropped
}
