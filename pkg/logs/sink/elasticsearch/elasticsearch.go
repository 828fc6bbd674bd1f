// Package elasticsearch is the sink for the bulk API of Elasticsearch and
// OpenSearch.
package elasticsearch

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"

	"github.com/dragoman-mesh/dragoman/pkg/logs/record"
	"github.com/dragoman-mesh/dragoman/pkg/logs/sink"
	"github.com/dragoman-mesh/dragoman/pkg/logs/sink/peer"
)

// Sink sends documents, which have @timestamp beside what all records have.
type Sink struct {
	peer   *peer.Peer
	action []byte // the line before each document
	writer record.Writer
	log    *slog.Logger
}

// New makes a sink for an index or data stream. Documents are created, never
// changed: that is what data streams take.
func New(p *peer.Peer, index string, log *slog.Logger) (*Sink, error) {
	name, err := json.Marshal(index)
	if err != nil {
		return nil, fmt.Errorf("the index: %w", err)
	}
	return &Sink{peer: p, action: fmt.Appendf(nil, "{\"create\":{\"_index\":%s}}\n", name), log: log}, nil
}

// Append implements sink.Sink.
func (s *Sink) Append(dst []byte, r *record.Record, res *record.Resource) []byte {
	dst = append(dst, s.action...)
	return append(s.writer.Append(dst, true, r, res), '\n')
}

// reply is what is read of an answer.
type reply struct {
	Errors bool              `json:"errors"`
	Items  []map[string]item `json:"items"`
}

type item struct {
	Status int `json:"status"`
	Error  struct {
		Type string `json:"type"` // the reason beside it may quote the document
	} `json:"error"`
}

// Send implements sink.Sink: each document has a status of its own.
func (s *Sink) Send(ctx context.Context, b *sink.Batch) error {
	if b.Records == 0 {
		return nil
	}
	answer, err := s.peer.Post(ctx, "application/x-ndjson", [][]byte{b.Groups[0].Buf})
	if err != nil {
		return err
	}
	var r reply
	if err := json.Unmarshal(answer, &r); err != nil {
		return &sink.Error{Reason: "answer", Err: fmt.Errorf("reading the answer of the bulk API: %w", err)}
	}
	if !r.Errors {
		return nil
	}
	return s.sort(b, &r)
}

// sort keeps the documents that may be taken later, and counts those that never
// will be.
func (s *Sink) sort(b *sink.Batch, r *reply) error {
	if len(r.Items) != b.Records {
		return &sink.Error{Reason: "answer", Err: fmt.Errorf("the bulk API answers for %d of %d documents", len(r.Items), b.Records)}
	}
	later, why, refused := map[int]bool{}, "", map[string]int{}
	for i, actions := range r.Items {
		for _, it := range actions {
			switch {
			case it.Status >= 200 && it.Status < 300:
			case it.Status == 429 || it.Status >= 500:
				later[i], why = true, fmt.Sprint(it.Status)
			default:
				b.Refused++
				refused[it.Error.Type]++
			}
		}
	}
	for kind, n := range refused {
		s.log.Error("documents were refused and are lost", "documents", n, "error", kind)
	}
	if len(later) == 0 {
		return nil
	}
	b.Keep(func(i int) bool { return later[i] })
	return &sink.Error{Reason: "item_" + why, Err: fmt.Errorf("%d documents were not taken: status %s", len(later), strings.TrimSpace(why))}
}

// Grouped implements sink.Sink.
func (*Sink) Grouped() bool { return false }

// Close implements sink.Sink.
func (s *Sink) Close() error {
	s.peer.Close()
	return nil
}
