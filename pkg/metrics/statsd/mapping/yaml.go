package mapping

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/dragoman-mesh/dragoman/pkg/problem"
)

// decoder walks a file and notes every error.
type decoder struct {
	file  string
	errs  problem.List
	nodes int // visited; anchors could make few lines many
}

func (d *decoder) fail(n *yaml.Node, path, format string, args ...any) {
	line := 0
	if n != nil {
		line = n.Line
	}
	d.errs.Add(d.file, line, path, format, args...)
}

// document returns the file's mapping, or nil when it is empty or an error was
// noted.
func (d *decoder) document(data []byte) *yaml.Node {
	if len(data) > MaxSize {
		d.fail(nil, "", "is larger than %d bytes", MaxSize)
		return nil
	}
	var doc yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(data))
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		line, reason := problem.YAML(data, err)
		d.errs.Add(d.file, line, "", "%s", reason)
		return nil
	}
	if err := dec.Decode(&yaml.Node{}); !errors.Is(err, io.EOF) {
		d.fail(nil, "", "holds more than one YAML document; only one is read")
		return nil
	}
	root := doc.Content[0]
	if isNull(root) {
		return nil
	}
	return root
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// mostNodes bounds what a file stands for.
const mostNodes = 1 << 18

// field reads one field of a mapping.
type field func(n *yaml.Node, path string)

// resolve follows aliases. The result is nil after an error.
func (d *decoder) resolve(n *yaml.Node, path string) *yaml.Node {
	if d.nodes++; d.nodes > mostNodes {
		if d.nodes == mostNodes+1 {
			d.fail(n, path, "the file holds more than %d values, those of its anchors counted as often as they are used", mostNodes)
		}
		return nil
	}
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// each calls f for each pair of a mapping, and for those that are merged into
// it, unless it has the key itself.
func (d *decoder) each(n *yaml.Node, path string, f func(key, value *yaml.Node)) {
	d.pairs(n, path, map[string]bool{}, 0, f)
}

func (d *decoder) pairs(n *yaml.Node, path string, seen map[string]bool, depth int, f func(key, value *yaml.Node)) {
	const deepest = 16
	if n = d.resolve(n, path); n == nil || isNull(n) {
		return
	}
	if n.Kind != yaml.MappingNode || depth > deepest {
		d.fail(n, path, "must be a mapping of keys to values")
		return
	}
	own := map[string]int{}
	var merged []*yaml.Node
	for i := 0; i+1 < len(n.Content) && d.nodes <= mostNodes; i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Tag == "!!merge" {
			merged = append(merged, value)
			continue
		}
		if line, dup := own[key.Value]; dup {
			d.fail(key, join(path, key.Value), "is already given in line %d", line)
			continue
		}
		own[key.Value] = key.Line
		if !seen[key.Value] {
			seen[key.Value] = true
			f(key, value)
		}
	}
	for _, m := range merged {
		if m.Kind == yaml.SequenceNode {
			for _, item := range m.Content {
				d.pairs(item, path, seen, depth+1, f)
			}
			continue
		}
		d.pairs(m, path, seen, depth+1, f)
	}
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// mapping reads a mapping with the given fields and no other.
func (d *decoder) mapping(n *yaml.Node, path string, fields map[string]field) {
	d.each(n, path, func(key, value *yaml.Node) {
		read, known := fields[key.Value]
		if !known {
			d.fail(key, join(path, key.Value), "there is no such key")
			return
		}
		if value = d.resolve(value, path); value != nil && !isNull(value) {
			read(value, join(path, key.Value))
		}
	})
}

// sequence calls f for each element of a list.
func (d *decoder) sequence(n *yaml.Node, path string, f field) {
	if n.Kind != yaml.SequenceNode {
		d.fail(n, path, "must be a list")
		return
	}
	for i, item := range n.Content {
		if d.nodes > mostNodes {
			return
		}
		at := path + "[" + strconv.Itoa(i) + "]"
		if item = d.resolve(item, at); item != nil {
			f(item, at)
		}
	}
}

// scalar reads a value of a Go type, as YAML understands it. what names it in an
// error.
func scalar[T any](d *decoder, to *T, what string) field {
	return func(n *yaml.Node, path string) {
		if n.Kind != yaml.ScalarNode || n.Decode(to) != nil {
			d.fail(n, path, "%s is wanted, not %s", what, shown(n))
		}
	}
}

func (d *decoder) text(to *string) field {
	return func(n *yaml.Node, path string) {
		if n.Kind != yaml.ScalarNode {
			d.fail(n, path, "a text is wanted, not %s", shown(n))
			return
		}
		*to = n.Value
	}
}

func (d *decoder) number(to *float64) field { return scalar(d, to, "a number") }
func (d *decoder) flag(to *bool) field      { return scalar(d, to, "true or false") }

// count reads a whole number between 0 and most.
func (d *decoder) count(to *int, most int) field {
	return func(n *yaml.Node, path string) {
		before := len(d.errs)
		scalar(d, to, "a whole number")(n, path)
		if len(d.errs) == before && (*to < 0 || *to > most) {
			d.fail(n, path, "must be between 0 and %d, not %d", most, *to)
		}
	}
}

func (d *decoder) duration(to *time.Duration) field {
	return func(n *yaml.Node, path string) {
		before := len(d.errs)
		if n.Tag == "!!int" {
			scalar(d, (*int64)(to), "a duration such as 90s or 1h30m")(n, path) // of nanoseconds, mostly none
		} else {
			scalar(d, to, "a duration such as 90s or 1h30m")(n, path)
		}
		if len(d.errs) == before && *to < 0 {
			d.fail(n, path, "must not be negative, as %s is", n.Value)
		}
	}
}

// choice reads one of a few words.
func choice[T any](d *decoder, to *T, words map[string]T, list string) field {
	return func(n *yaml.Node, path string) {
		v, ok := words[n.Value]
		if n.Kind != yaml.ScalarNode || !ok {
			d.fail(n, path, "%s is wanted, not %s", list, shown(n))
			return
		}
		*to = v
	}
}

// shown is a value as an error may show it.
func shown(n *yaml.Node) string {
	const most = 60
	switch {
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case len(n.Value) > most:
		return strconv.Quote(n.Value[:most]) + "..."
	default:
		return strconv.Quote(n.Value)
	}
}
