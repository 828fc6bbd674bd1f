// Package stdout is the sink that writes a line of JSON for each record.
package stdout

import (
	"context"
	"io"

	"github.com/dragoman-mesh/dragoman/pkg/logs/record"
	"github.com/dragoman-mesh/dragoman/pkg/logs/sink"
)

// Sink writes to a file or a pipe. One whose reader is slow is waited for.
type Sink struct {
	out    io.Writer
	writer record.Writer
}

// New makes a sink.
func New(out io.Writer) *Sink { return &Sink{out: out} }

// Append implements sink.Sink.
func (s *Sink) Append(dst []byte, r *record.Record, res *record.Resource) []byte {
	return append(s.writer.Append(dst, false, r, res), '\n')
}

// Send implements sink.Sink. A write cannot be taken back: when the context ends
// before it, it goes on beside, and the batch must not be used any more.
func (s *Sink) Send(ctx context.Context, b *sink.Batch) error {
	type result struct {
		n   int
		err error
	}
	done := make(chan result, 1)
	g := &b.Groups[0]
	buf := g.Buf
	go func() {
		n, err := s.out.Write(buf)
		done <- result{n, err}
	}()
	select {
	case r := <-done:
		if r.err == nil {
			return nil
		}
		// The rest goes first, so that no line is there twice in part.
		g.Buf = append(g.Buf[:0], g.Buf[r.n:]...)
		return &sink.Error{Reason: "write", Err: r.err}
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Grouped implements sink.Sink.
func (*Sink) Grouped() bool { return false }

// Close implements sink.Sink: the output is the process' own.
func (*Sink) Close() error { return nil }
