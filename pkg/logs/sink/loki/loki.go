// Package loki is the sink for Loki's push API. A line is the JSON of a record,
// and the labels are of the file it comes from: there are no more streams than
// files.
package loki

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/dragoman-mesh/dragoman/pkg/logs/record"
	"github.com/dragoman-mesh/dragoman/pkg/logs/sink"
	"github.com/dragoman-mesh/dragoman/pkg/logs/sink/peer"
)

// Sink sends streams.
type Sink struct {
	peer   *peer.Peer
	labels map[string]string
	from   []string // attributes of the resource
	writer record.Writer
	line   []byte
	parts  [][]byte
}

// Headers adds the tenant to the headers of a receiver, where there is one.
func Headers(headers map[string]string, tenant string) map[string]string {
	if tenant == "" {
		return headers
	}
	out := maps.Clone(headers)
	if out == nil {
		out = map[string]string{}
	}
	out["X-Scope-OrgID"] = tenant
	return out
}

// New makes a sink whose streams have the labels, and those that are made of
// attributes of the resource.
func New(p *peer.Peer, labels map[string]string, from []string) *Sink {
	return &Sink{peer: p, labels: labels, from: from}
}

// Append implements sink.Sink: an entry, with a comma after it.
func (s *Sink) Append(dst []byte, r *record.Record, res *record.Resource) []byte {
	s.line = s.writer.Append(s.line[:0], false, r, res)
	dst = append(dst, `["`...)
	dst = strconv.AppendInt(dst, r.Time(), 10)
	dst = append(dst, `",`...)
	return append(record.AppendString(dst, s.line), ']', ',')
}

// Send implements sink.Sink. Loki answers 400 where some entries are too old or
// too many, and has taken the others.
func (s *Sink) Send(ctx context.Context, b *sink.Batch) error {
	s.parts = append(s.parts[:0], []byte(`{"streams":[`))
	first := true
	for i := range b.Groups[:b.Used] {
		g := &b.Groups[i]
		if len(g.Ends) == 0 {
			continue
		}
		if !first {
			s.parts = append(s.parts, []byte(","))
		}
		first = false
		s.parts = append(s.parts, s.head(g.Resource), g.Buf[:len(g.Buf)-1], []byte("]}"))
	}
	if first {
		return nil
	}
	s.parts = append(s.parts, []byte("]}"))
	_, err := s.peer.Post(ctx, "application/json", s.parts)
	return err
}

// head begins a stream.
func (s *Sink) head(res *record.Resource) []byte {
	labels := maps.Clone(s.labels)
	if labels == nil {
		labels = map[string]string{}
	}
	for _, name := range s.from {
		if v := res.Attributes[name]; v != "" {
			labels[labelName(name)] = v
		}
	}
	out := []byte(`{"stream":{`)
	for i, name := range slices.Sorted(maps.Keys(labels)) {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(record.AppendString(out, []byte(name)), ':')
		out = record.AppendString(out, []byte(labels[name]))
	}
	return append(out, `},"values":[`...)
}

// labelName has _ for what the name of a label cannot have.
func labelName(attribute string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' {
			return r
		}
		return '_'
	}, attribute)
}

// Grouped implements sink.Sink.
func (*Sink) Grouped() bool { return true }

// Close implements sink.Sink.
func (s *Sink) Close() error {
	s.peer.Close()
	return nil
}
