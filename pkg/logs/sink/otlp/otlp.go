// Package otlp is the sink for OpenTelemetry's protocol, over gRPC and HTTP.
package otlp

import (
	"context"
	"errors"
	"log/slog"
	"math"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/dragoman-mesh/dragoman/pkg/logs/record"
	"github.com/dragoman-mesh/dragoman/pkg/logs/sink"
	"github.com/dragoman-mesh/dragoman/pkg/logs/sink/peer"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// Sink sends ExportLogsServiceRequests.
type Sink struct {
	http *peer.Peer // nil with gRPC
	grpc *client    // nil with HTTP
	log  *slog.Logger

	append encoder // of Append
	send   encoder // of Send, which another goroutine may call
	parts  [][]byte
}

// New makes a sink.
func New(config *resource.LogsOTLP, p *peer.Peer, log *slog.Logger) (*Sink, error) {
	s := &Sink{log: log}
	if !config.GRPC {
		s.http = p
		return s, nil
	}
	var err error
	s.grpc, err = newClient(&config.LogsPeer, p)
	return s, err
}

// Append implements sink.Sink.
func (s *Sink) Append(dst []byte, r *record.Record, _ *record.Resource) []byte {
	return s.append.append(dst, r)
}

// Send implements sink.Sink.
func (s *Sink) Send(ctx context.Context, b *sink.Batch) error {
	if b.Records == 0 {
		return nil
	}
	s.request(b)
	var answer []byte
	var err error
	if s.grpc != nil {
		answer, err = s.grpc.export(ctx, s.parts)
	} else {
		answer, err = s.http.Post(ctx, "application/x-protobuf", s.parts)
	}
	if err != nil {
		return err
	}
	rejected, err := partialSuccess(answer)
	if err != nil {
		// Who answers 200 has taken it: sending it again would double all.
		s.log.Warn("the collector's answer cannot be read", "error", err)
		return nil
	}
	if rejected > 0 {
		b.Refused += min(rejected, b.Records)
		s.log.Error("log records were refused and are lost", "records", rejected)
	}
	return nil
}

// request puts the message together, of parts that hold the records as they are.
func (s *Sink) request(b *sink.Batch) {
	s.parts = s.parts[:0]
	for i := range b.Groups[:b.Used] {
		g := &b.Groups[i]
		if len(g.Ends) == 0 {
			continue
		}
		res := s.send.resource(g.Resource)
		scope := protowire.AppendTag(nil, resourceLogsScopeLogs, protowire.BytesType)
		scope = protowire.AppendVarint(scope, uint64(len(g.Buf)))
		inner := appendBytes(nil, resourceLogsResource, res)
		head := protowire.AppendTag(nil, exportResourceLogs, protowire.BytesType)
		head = protowire.AppendVarint(head, uint64(len(inner)+len(scope)+len(g.Buf)))
		s.parts = append(s.parts, head, inner, scope, g.Buf)
	}
}

var errAnswer = errors.New("malformed ExportLogsServiceResponse")

// partialSuccess reads how many records were rejected: field 1 of field 1.
func partialSuccess(b []byte) (rejected int, err error) {
	inner, err := field(b, 1, protowire.BytesType, func(b []byte) (any, int) { v, n := protowire.ConsumeBytes(b); return v, n })
	if err != nil || inner == nil {
		return 0, err
	}
	message, _ := inner.([]byte)
	n, err := field(message, 1, protowire.VarintType, func(b []byte) (any, int) { v, n := protowire.ConsumeVarint(b); return v, n })
	if err != nil || n == nil {
		return 0, err
	}
	count, _ := n.(uint64)
	return int(min(count, math.MaxInt32)), nil
}

// field finds one field of a message; nil if it is not there.
func field(b []byte, number protowire.Number, kind protowire.Type, read func([]byte) (any, int)) (value any, err error) {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return nil, errAnswer
		}
		b = b[n:]
		if num == number && typ == kind {
			value, n = read(b)
		} else {
			n = protowire.ConsumeFieldValue(num, typ, b)
		}
		if n < 0 {
			return nil, errAnswer
		}
		b = b[n:]
	}
	return value, nil
}

// Grouped implements sink.Sink.
func (*Sink) Grouped() bool { return true }

// Close implements sink.Sink.
func (s *Sink) Close() error {
	if s.grpc != nil {
		return s.grpc.close()
	}
	s.http.Close()
	return nil
}
