// Package sink says what takes log records: a Sink puts them into its wire form
// as they are read, and sends them in batches.
package sink

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/logs/record"
)

// Sink is one place where records go.
type Sink interface {
	// Append adds a record in wire form. It is called by one goroutine.
	Append(dst []byte, r *record.Record, res *record.Resource) []byte
	// Send delivers a batch. It returns nil once each record has been taken, or
	// refused for good, which it counts in the batch; it removes such records from a
	// batch of which others have to be sent again. An error is a *Refused if the whole batch
	// would be refused again; after any other it is called again with the batch. It is called by one
	// goroutine, which may be another than Append's.
	Send(ctx context.Context, b *Batch) error
	// Grouped says that the records of a batch are to be kept apart by resource.
	Grouped() bool
	// Close frees what the sink holds. It is not used any more.
	Close() error
}

// Batch is some records in wire form. It is reused.
type Batch struct {
	Groups  []Group // of which the first Used are filled
	Used    int
	Records int
	Bytes   int // of them, in wire form
	// Refused counts the records that will never be taken, by the sink.
	Refused int
}

// Group is the records of one resource, or all of them.
type Group struct {
	Resource *record.Resource
	Buf      []byte
	Ends     []int // of each record in Buf
}

// Reset empties the batch and keeps its memory.
func (b *Batch) Reset() {
	for i := range b.Groups[:b.Used] {
		g := &b.Groups[i]
		g.Buf, g.Ends, g.Resource = g.Buf[:0], g.Ends[:0], nil
	}
	b.Used, b.Records, b.Bytes, b.Refused = 0, 0, 0, 0
}

// Group finds the group of a resource, or makes it.
func (b *Batch) Group(res *record.Resource) *Group {
	for i := b.Used - 1; i >= 0; i-- {
		if b.Groups[i].Resource == res {
			return &b.Groups[i]
		}
	}
	if b.Used == len(b.Groups) {
		b.Groups = append(b.Groups, Group{})
	}
	b.Used++
	g := &b.Groups[b.Used-1]
	g.Resource = res
	return g
}

// Add adds a record by the sink's own means.
func (b *Batch) Add(s Sink, r *record.Record, res *record.Resource) {
	key := res
	if !s.Grouped() {
		key = nil
	}
	g := b.Group(key)
	before := len(g.Buf)
	g.Buf = s.Append(g.Buf, r, res)
	g.Ends = append(g.Ends, len(g.Buf))
	b.Records++
	b.Bytes += len(g.Buf) - before
}

// Record gives the wire form of one record of a group.
func (g *Group) Record(i int) []byte {
	start := 0
	if i > 0 {
		start = g.Ends[i-1]
	}
	return g.Buf[start:g.Ends[i]]
}

// Keep removes all records from the batch but those for which keep says true; i
// counts through all groups.
func (b *Batch) Keep(keep func(i int) bool) {
	n := 0
	b.Records, b.Bytes = 0, 0
	for j := range b.Groups[:b.Used] {
		g := &b.Groups[j]
		n += g.keep(func(i int) bool { return keep(n + i) })
		b.Records += len(g.Ends)
		b.Bytes += len(g.Buf)
	}
}

func (g *Group) keep(keep func(i int) bool) (were int) {
	were = len(g.Ends)
	start, size, kept := 0, 0, 0
	for i, end := range g.Ends {
		if keep(i) {
			size += copy(g.Buf[size:], g.Buf[start:end])
			g.Ends[kept] = size
			kept++
		}
		start = end
	}
	g.Buf, g.Ends = g.Buf[:size], g.Ends[:kept]
	return were
}

// Error says that a batch was not taken and may be later.
type Error struct {
	Reason string        // a short word for metrics: "connect", "timeout", "429", "503", ...
	After  time.Duration // that the receiver asks to be waited for; 0: it does not say
	Err    error
}

// Error implements error.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Refused says that a batch will never be taken as it is. TooLarge: parts of it
// may be.
type Refused struct {
	TooLarge bool
	Err      error
}

// Error implements error.
func (e *Refused) Error() string { return fmt.Sprintf("refused: %v", e.Err) }

// Unwrap returns the cause.
func (e *Refused) Unwrap() error { return e.Err }

// ReasonOf gives the word for metrics of an error of Send.
func ReasonOf(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Reason
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "timeout"
	}
	return "other"
}
