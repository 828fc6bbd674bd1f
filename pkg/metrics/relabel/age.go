package relabel

import (
	"math"
	"strconv"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
)

// ages knows since when series have had the value that they have.
type ages struct {
	byKey map[string]age
	swept time.Time
}

type age struct {
	value   float64
	changed time.Time
	seen    time.Time
}

const (
	// maxAges bounds the memory. What does not fit is always young.
	maxAges = 100_000
	// forget is how long a series that is gone is remembered.
	forget = time.Hour
)

// sweep forgets series that are gone, now and then.
func (a *ages) sweep(now time.Time) {
	if len(a.byKey) == 0 || now.Sub(a.swept) < forget/4 {
		return
	}
	a.swept = now
	for k, v := range a.byKey {
		if now.Sub(v.seen) > forget {
			delete(a.byKey, k)
		}
	}
}

// aging is the ages of one rule at a moment.
type aging struct {
	*ages
	rule int
	now  time.Time
}

func (r *Relabeler) aging(rule int, now time.Time) aging { return aging{&r.ages, rule, now} }

// young gives nil for a series whose value has been the same for ttl.
func (a aging) young(name string, m *dto.Metric, ttl time.Duration) *dto.Metric {
	v, ok := number(m)
	if !ok {
		v = float64(m.GetHistogram().GetSampleCount() + m.GetSummary().GetSampleCount())
	}
	k := a.key(name, m)
	old, known := a.byKey[k]
	if !known || old.value != v && !(math.IsNaN(old.value) && math.IsNaN(v)) {
		old = age{value: v, changed: a.now}
	}
	old.seen = a.now
	if a.byKey == nil {
		a.byKey = map[string]age{}
	}
	if known || len(a.byKey) < maxAges {
		a.byKey[k] = old
	}
	if a.now.Sub(old.changed) >= ttl {
		return nil
	}
	return m
}

func (a aging) key(name string, m *dto.Metric) string {
	var b strings.Builder
	b.WriteString(strconv.Itoa(a.rule))
	b.WriteByte(0xff)
	b.WriteString(name)
	for _, l := range m.GetLabel() {
		b.WriteByte(0xff)
		b.WriteString(l.GetName())
		b.WriteByte(0xff)
		b.WriteString(l.GetValue())
	}
	return b.String()
}
