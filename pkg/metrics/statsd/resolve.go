package statsd

import (
	"bytes"
	"slices"

	dto "github.com/prometheus/client_model/go"

	"github.com/dragoman-mesh/dragoman/pkg/metrics/statsd/mapping"
	"github.com/dragoman-mesh/dragoman/pkg/statsdproto"
)

// meaning is where a sample goes: a series, or nowhere.
type meaning struct {
	series *series       // nil: a rule drops it
	rule   *mapping.Rule // the default one if none matched
	mapped bool
}

// label is one of a sample, before it is one of a series.
type label struct {
	name, value []byte
}

// identity is what a sample is called. Its slices are scratch memory.
type identity struct {
	rule   *mapping.Rule
	mapped bool
	kind   Kind
	name   []byte
	labels []label // by name, each once
	key    []byte  // the labels, as family.series has them

	match   mapping.Match
	escaped []byte // names of labels
}

// resolve finds what the mapping makes of a sample of the line. It is false when
// the name comes to nothing.
func (id *identity) resolve(file *mapping.File, l *statsdproto.Line, typ statsdproto.Type) bool {
	file.Match(&id.match, l.Name, matchType(typ))
	id.rule, id.mapped = id.match.Rule, id.match.Rule != nil
	name := l.Name
	if id.mapped {
		name = id.match.Name
	} else {
		id.rule = file.Default
	}
	if id.rule.Drop {
		return true
	}
	if len(name) == 0 {
		return false
	}
	id.kind = kindOf(typ, id.rule)
	id.name = appendName(id.name[:0], name)
	id.gatherLabels(l)
	id.key = id.key[:0]
	for _, l := range id.labels {
		// 0xff is in no name and in no value, which are UTF-8.
		id.key = append(append(append(append(id.key, l.name...), 0xff), l.value...), 0xff)
	}
	return true
}

func matchType(typ statsdproto.Type) mapping.Type {
	switch {
	case typ == statsdproto.Counter:
		return mapping.Counter
	case typ.Observed():
		return mapping.Observer
	default:
		return mapping.Gauge
	}
}

func kindOf(typ statsdproto.Type, rule *mapping.Rule) Kind {
	switch {
	case typ == statsdproto.Counter:
		return counterKind
	case typ == statsdproto.Set:
		return setKind
	case typ == statsdproto.Gauge:
		return gaugeKind
	case rule.Observer == mapping.Histogram:
		return histogramKind
	default:
		return summaryKind
	}
}

// gatherLabels collects the tags of the line and the labels of the rule, which
// are stronger unless it honors the line's.
func (id *identity) gatherLabels(l *statsdproto.Line) {
	id.labels, id.escaped = id.labels[:0], id.escaped[:0]
	for _, t := range l.Tags {
		id.set(id.labelName(t.Key), t.Value, true)
	}
	if len(l.Container) > 0 {
		id.set([]byte("container_id"), l.Container, true)
	}
	for i := range id.match.Values {
		if !id.mapped {
			break
		}
		id.set(id.repair([]byte(id.rule.Labels[i].Name)), id.match.Values[i], !id.rule.HonorLabels)
	}
	slices.SortFunc(id.labels, func(a, b label) int { return bytes.Compare(a.name, b.name) })
}

// set gives a label a value. One that it has stays, unless stronger says that
// it does not.
func (id *identity) set(name, value []byte, stronger bool) {
	for i := range id.labels {
		if bytes.Equal(id.labels[i].name, name) {
			if stronger {
				id.labels[i].value = value
			}
			return
		}
	}
	id.labels = append(id.labels, label{name, value})
}

// labelName makes a label's name of a tag's key.
func (id *identity) labelName(key []byte) []byte {
	from := len(id.escaped)
	id.escaped = appendName(id.escaped, key)
	return id.repair(id.escaped[from:len(id.escaped):len(id.escaped)])
}

// repair renames what Prometheus keeps for itself: "__name__" becomes "_name__",
// and the label that tells a histogram's buckets or a summary's quantiles apart
// becomes what Prometheus would make of it.
func (id *identity) repair(name []byte) []byte {
	switch {
	case bytes.HasPrefix(name, []byte("__")):
		for bytes.HasPrefix(name, []byte("__")) {
			name = name[1:]
		}
		return name
	case id.kind == histogramKind && string(name) == "le":
		return []byte("exported_le")
	case id.kind == summaryKind && string(name) == "quantile":
		return []byte("exported_quantile")
	default:
		return name
	}
}

// appendName appends a name with every character that Prometheus did not always
// allow as an underscore, as statsd_exporter has it: of several dashes in a row
// one is left, and a digit gets an underscore before it.
func appendName(b, name []byte) []byte {
	if len(name) > 0 && name[0] >= '0' && name[0] <= '9' {
		b = append(b, '_')
	}
	dash := false
	for _, c := range name {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_':
			b = append(b, c)
			dash = false
		case c == '-' && dash, c >= 0x80 && c < 0xc0: // the rest of a character
		default:
			b = append(b, '_')
			dash = c == '-'
		}
	}
	return b
}

// conflicts tells whether a new family would have series that look like those
// of another one.
func conflicts(families map[string]*family, name []byte, k Kind) bool {
	suffixes := [...]string{"_sum", "_count", "_bucket"}
	if k.observed() {
		for _, suffix := range suffixes {
			if f := families[string(name)+suffix]; f != nil && f.kind != k {
				return true
			}
		}
		return false
	}
	for _, suffix := range suffixes {
		if stem, ok := bytes.CutSuffix(name, []byte(suffix)); ok {
			if f := families[string(stem)]; f != nil && f.kind.observed() {
				return true
			}
		}
	}
	return false
}

// pairs are the labels as a series keeps them.
func (id *identity) pairs(names map[string]string) []*dto.LabelPair {
	if len(id.labels) == 0 {
		return nil
	}
	pairs := make([]dto.LabelPair, len(id.labels))
	strs := make([]struct{ name, value string }, len(id.labels))
	out := make([]*dto.LabelPair, len(id.labels))
	for i, l := range id.labels {
		name, known := names[string(l.name)]
		if !known {
			name = string(l.name)
			names[name] = name
		}
		strs[i].name, strs[i].value = name, string(l.value)
		pairs[i].Name, pairs[i].Value = &strs[i].name, &strs[i].value
		out[i] = &pairs[i]
	}
	return out
}
