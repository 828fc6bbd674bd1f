package push

import (
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
)

// TestAdopt: what the source before left does not come back where there is a later value,
// and stays where there is none.
func TestAdopt(t *testing.T) {
	t.Parallel()
	at := func(second int64) time.Time { return time.Unix(1_000_000+second, 0) }
	sample := func(name string, v float64) *Sample { return &Sample{Name: name, Type: dto.MetricType_GAUGE, Value: v} }
	before, next := NewStore(0, 0), NewStore(0, 0)
	before.Set(sample("a", 1), at(1))
	before.Set(sample("b", 1), at(5))
	before.Set(sample("c", 1), at(1))
	next.Set(sample("a", 2), at(3))
	next.Set(sample("b", 2), at(3))
	next.adopt(before.all())
	for name, want := range map[string]float64{"a": 2, "b": 1, "c": 1} {
		next.mu.Lock()
		got := next.series[name+"\xff"].value
		next.mu.Unlock()
		if got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
}
