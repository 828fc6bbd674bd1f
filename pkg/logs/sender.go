package logs

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/logs/sink"
)

// sender is what the sending goroutine has.
type sender struct {
	p *Pipeline

	saved   time.Time
	unsaved int // bytes since
	failing bool
}

const (
	firstRetry = 100 * time.Millisecond
	lastRetry  = 30 * time.Second
	longestAsk = 5 * time.Minute // that a receiver may ask to be waited for
)

// run sends batches until there will be no more, or the context is done.
func (s *sender) run(ctx context.Context) {
	tick := time.NewTicker(saveInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.save()
		case b, ok := <-s.p.full:
			if !ok {
				s.save()
				return
			}
			if !s.deliver(ctx, b) {
				return
			}
		}
	}
}

// deliver sends a batch until it is taken. It reports false when the context is
// done before.
func (s *sender) deliver(ctx context.Context, b *batch) bool {
	s.unsaved += b.Bytes
	if b.Records > 0 && !s.send(ctx, &b.Batch) {
		return false
	}
	s.p.positions.Delivered(b.marks)
	b.marks = b.marks[:0]
	b.Reset()
	s.p.free <- b
	if s.unsaved >= saveBytes || time.Since(s.saved) >= saveInterval {
		s.save()
	}
	return true
}

func (s *sender) send(ctx context.Context, b *sink.Batch) bool {
	m := s.p.o.Metrics
	for wait := firstRetry; ; wait = min(2*wait, lastRetry) {
		records, bytes := b.Records, b.Bytes
		began := time.Now()
		err := s.p.o.Sink.Send(ctx, b)
		m.SendTime.Observe(time.Since(began).Seconds())
		if err != nil && ctx.Err() != nil {
			return false
		}
		if no, ok := errors.AsType[*sink.Refused](err); ok {
			return s.refused(ctx, b, no)
		}
		if err == nil {
			s.delivered(b, records, bytes)
			return true
		}
		s.partly(b, records, bytes)
		m.SinkErrors.WithLabelValues(sink.ReasonOf(err)).Inc()
		m.Retries.Inc()
		if !s.failing {
			s.failing = true
			s.p.o.Log.Warn("log records are not taken; reading pauses until they are", "error", err)
		}
		if !s.pause(ctx, err, wait) {
			return false
		}
	}
}

// pause waits before the next attempt, as long as the receiver asks for.
func (s *sender) pause(ctx context.Context, err error, wait time.Duration) bool {
	wait = wait/2 + rand.N(wait/2+1)
	if e, ok := errors.AsType[*sink.Error](err); ok && e.After > 0 {
		wait = max(wait, min(e.After, longestAsk))
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// delivered counts a batch that was taken.
func (s *sender) delivered(b *sink.Batch, records, bytes int) {
	m := s.p.o.Metrics
	m.Records.Add(float64(records - b.Refused))
	m.SentBytes.Add(float64(bytes))
	s.drop(b)
	if s.failing {
		s.failing = false
		s.p.o.Log.Info("log records are taken again")
	}
}

// partly counts what was taken of a batch of which others must be sent again.
func (s *sender) partly(b *sink.Batch, records, bytes int) {
	m := s.p.o.Metrics
	m.Records.Add(float64(records - b.Records - b.Refused))
	m.SentBytes.Add(float64(bytes - b.Bytes))
	s.drop(b)
}

// drop counts what was refused.
func (s *sender) drop(b *sink.Batch) {
	if b.Refused > 0 {
		s.p.o.Metrics.Dropped.WithLabelValues("", refused).Add(float64(b.Refused))
		b.Refused = 0
	}
}

// refused deals with a batch that will not be taken as it is: halves of it may be,
// where it is too large; else it is lost, and counted.
func (s *sender) refused(ctx context.Context, b *sink.Batch, no *sink.Refused) bool {
	if !no.TooLarge || b.Records <= 1 {
		s.p.o.Log.Error("log records were refused and are lost", "records", b.Records, "error", no.Err)
		s.p.o.Metrics.SinkErrors.WithLabelValues(refused).Inc()
		b.Refused += b.Records
		b.Records = 0
		s.drop(b)
		return true
	}
	second := clone(b)
	half := b.Records / 2
	b.Keep(func(i int) bool { return i < half })
	second.Keep(func(i int) bool { return i >= half })
	return s.send(ctx, b) && s.send(ctx, second)
}

func clone(b *sink.Batch) *sink.Batch {
	out := &sink.Batch{Used: b.Used, Records: b.Records, Bytes: b.Bytes}
	for i := range b.Groups[:b.Used] {
		g := &b.Groups[i]
		out.Groups = append(out.Groups, sink.Group{
			Resource: g.Resource, Buf: append([]byte(nil), g.Buf...), Ends: append([]int(nil), g.Ends...),
		})
	}
	return out
}

// save writes the positions.
func (s *sender) save() {
	s.saved, s.unsaved = time.Now(), 0
	s.p.savePositions()
}
