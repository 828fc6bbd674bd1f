package merge

import (
	"slices"
	"unicode/utf8"

	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/proto"
)

// maxExemplar is how many characters the labels of an exemplar may have, names and
// values together: OpenMetrics 1.0, "Exemplars".
const maxExemplar = 128

// exemplars takes exemplars that are not valid off a series: one of them would cost
// the scraper the whole page.
func (c *Cleaner) exemplars(m *dto.Metric) *dto.Metric {
	h := m.GetHistogram()
	onBucket := func(b *dto.Bucket) bool { return badExemplar(b.GetExemplar()) }
	switch {
	case badExemplar(m.GetCounter().GetExemplar()):
		c.repaired.Add(BadExemplar, 1)
		m = proto.CloneOf(m)
		m.Counter.Exemplar = nil
	case slices.ContainsFunc(h.GetBucket(), onBucket), slices.ContainsFunc(h.GetExemplars(), badExemplar):
		c.repaired.Add(BadExemplar, 1)
		m = proto.CloneOf(m)
		for _, b := range m.GetHistogram().GetBucket() {
			if onBucket(b) {
				b.Exemplar = nil
			}
		}
		m.Histogram.Exemplars = slices.DeleteFunc(m.GetHistogram().GetExemplars(), badExemplar)
	}
	return m
}

// badExemplar reports whether there is one that is not valid.
func badExemplar(e *dto.Exemplar) bool {
	length := 0
	for i, l := range e.GetLabel() {
		name, value := l.GetName(), l.GetValue()
		length += len(name) + utf8.RuneCountInString(value)
		twice := slices.ContainsFunc(e.GetLabel()[:i], func(other *dto.LabelPair) bool { return other.GetName() == name })
		if twice || length > maxExemplar || !validName(name, false) || !utf8.ValidString(value) {
			return true
		}
	}
	return e.GetTimestamp() != nil && !e.GetTimestamp().IsValid()
}
