package merge

import (
	"slices"
	"strings"
	"unicode/utf8"

	dto "github.com/prometheus/client_model/go"
)

// validName reports whether a name is one in the classic form. Names of metrics
// may have colons.
func validName(s string, colon bool) bool {
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_':
		case c == ':' && colon:
		case c >= '0' && c <= '9' && i > 0:
		default:
			return false
		}
	}
	return s != ""
}

// repairName makes a valid name: what may not be in it becomes an underscore.
func repairName(s string, colon bool) string {
	if s == "" || s[0] >= '0' && s[0] <= '9' {
		s = "_" + s
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == ':' && colon:
			return r
		}
		return '_'
	}, s)
}

// labels gives valid labels, sorted by name; nil: they are so already.
func (c *Cleaner) labels(labels []*dto.LabelPair, reserved string) []*dto.LabelPair {
	before := ""
	for _, l := range labels {
		name, value := l.GetName(), l.GetValue()
		if name <= before || !validName(name, false) || name == reserved || strings.HasPrefix(name, "__") || value == "" || !utf8.ValidString(value) {
			return c.repair(labels, reserved)
		}
		before = name
	}
	return nil
}

func (c *Cleaner) repair(labels []*dto.LabelPair, reserved string) []*dto.LabelPair {
	out := make([]*dto.LabelPair, 0, len(labels))
	for _, l := range labels {
		name, value := l.GetName(), l.GetValue()
		if value == "" {
			c.repaired.Add(EmptyLabel, 1)
			continue
		}
		if !validName(name, false) {
			c.repaired.Add(BadName, 1)
			name = repairName(name, false)
		}
		if name == reserved || strings.HasPrefix(name, "__") {
			c.repaired.Add(Reserved, 1)
			name = "exported_" + strings.TrimLeft(name, "_")
		}
		if !utf8.ValidString(value) {
			c.repaired.Add(InvalidUTF8, 1)
			value = strings.ToValidUTF8(value, "\uFFFD")
		}
		if slices.ContainsFunc(out, func(o *dto.LabelPair) bool { return o.GetName() == name }) {
			c.repaired.Add(LabelTwice, 1)
			continue
		}
		if name != l.GetName() || value != l.GetValue() {
			l = &dto.LabelPair{Name: &name, Value: &value}
		}
		out = append(out, l)
	}
	slices.SortFunc(out, func(a, b *dto.LabelPair) int { return strings.Compare(a.GetName(), b.GetName()) })
	return out
}
