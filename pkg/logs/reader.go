package logs

import (
	"context"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/logs/record"
	"github.com/dragoman-mesh/dragoman/pkg/logs/tail"
)

// reader is what the reading goroutine has. It implements tail.Handler.
type reader struct {
	p   *Pipeline
	ctx context.Context //nolint:containedctx // of run, for the calls back

	batch   *batch // that is being filled
	dirty   []*tail.Segment
	pending []*flow // with lines that wait for others
	record  record.Record
	now     time.Time
	looked  bool // at the files, once
	dead    bool // the context is done: nothing is taken any more
}

// run reads until the context is done, or until all is read once a drain began.
func (r *reader) run(ctx context.Context) {
	defer close(r.p.full)
	r.ctx = ctx
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		r.now = time.Now()
		n, again := r.p.tailer.Round(r.now)
		r.count()
		if !r.looked {
			r.looked = true
			r.p.savePositions() // a crash must not make it the first time once more
		}
		r.flush(false)
		if r.due() {
			r.submit()
		}
		select {
		case <-r.p.drain:
			if n == 0 {
				r.flush(true)
				r.submit()
				return
			}
			continue
		default:
		}
		if again = r.until(again); again > 0 {
			timer.Reset(again)
			r.wait(timer)
		}
	}
}

// wait returns when there is something to do.
func (r *reader) wait(timer *time.Timer) {
	select {
	case <-r.ctx.Done():
	case <-r.p.drain:
	case <-r.p.tailer.Poke():
	case <-timer.C:
	}
}

// until shortens a wait to what has to be sent or is taken for whole before.
func (r *reader) until(wait time.Duration) time.Duration {
	if !r.idle() {
		wait = min(wait, r.batch.began.Add(r.p.o.Config.BatchInterval).Sub(r.now))
	}
	for _, f := range r.pending {
		wait = min(wait, f.since.Add(f.timeout()).Sub(r.now))
	}
	return max(wait, 0)
}

// idle reports whether there is nothing to submit.
func (r *reader) idle() bool { return r.batch.Records == 0 && len(r.dirty) == 0 }

func (r *reader) due() bool {
	return !r.idle() && r.now.Sub(r.batch.began) >= r.p.o.Config.BatchInterval
}

// touch notes that a segment's position has moved, or may have.
func (r *reader) touch(s *tail.Segment) {
	if s.Dirty {
		return
	}
	if r.idle() {
		r.batch.began = r.now
	}
	s.Dirty = true
	r.dirty = append(r.dirty, s)
}

// submit hands the batch over, and waits for another to fill. Meanwhile files that
// are new are opened, so that none is deleted before it is read.
func (r *reader) submit() {
	if r.idle() || r.dead {
		return
	}
	b := r.batch
	for _, s := range r.dirty {
		b.marks = append(b.marks, s.Mark())
		s.Dirty = false
	}
	r.dirty = r.dirty[:0]
	if !r.hand(b) {
		return
	}
	for {
		select {
		case r.batch = <-r.p.free:
			r.batch.began = r.now
			return
		case <-r.ctx.Done():
			r.dead = true
			r.batch = &batch{}
			return
		case <-r.p.tailer.Poke():
			r.p.tailer.Look(time.Now())
		case <-time.After(pollTime):
			r.p.tailer.Look(time.Now())
		}
	}
}

// hand gives a batch to the sender.
func (r *reader) hand(b *batch) bool {
	for {
		select {
		case r.p.full <- b:
			return true
		case <-r.ctx.Done():
			r.dead = true
			b.Reset()
			return false
		case <-r.p.tailer.Poke():
			r.p.tailer.Look(time.Now())
		case <-time.After(pollTime):
			r.p.tailer.Look(time.Now())
		}
	}
}

// count puts what was read into the metrics.
func (r *reader) count() {
	for _, s := range r.p.sources {
		s.count()
	}
}

// Lost implements tail.Handler.
func (r *reader) Lost(source string, reason tail.Loss, bytes int64) {
	r.p.o.Log.Warn("bytes of a log were gone before they could be read", "source", source, "reason", string(reason), "bytes", bytes)
	if s := r.p.sources[source]; s != nil {
		s.lost(string(reason), bytes)
	}
}

// Line implements tail.Handler.
func (r *reader) Line(s *tail.Segment, line []byte, from int64, cut bool) {
	r.touch(s)
	if from < 0 || r.dead {
		return // only the position has moved; or all of this will be read again
	}
	set, ok := s.Stream.User.(*flows)
	if !ok {
		set = r.newFlows(s.Stream)
		s.Stream.User = set
	}
	src := set.source
	src.lines++
	src.bytes += uint64(len(line)) + 1
	if cut {
		src.cut++
		if src.config.DropLong {
			src.dropped(tooLong)
			return
		}
	}
	set.line(r, s, line, from, cut)
}

// emit makes a record of an event and puts it into the batch. What the event is
// made of must not be held any more.
func (r *reader) emit(f *flow, text []byte, cut bool) {
	rec := &r.record
	rec.Reset()
	src := f.set.source
	if f.broken || !src.parser.Parse(text, rec) {
		src.unparsed++
		if src.config.DropUnparsed {
			src.dropped(unparsable)
			return
		}
		rec.Reset()
		rec.Body = record.Value{Bytes: text}
		rec.Unparsed = true
	}
	rec.Observed = r.now.UnixNano()
	rec.Truncated = cut
	if rec.Timestamp == 0 {
		rec.Timestamp = f.at
	}
	if len(f.name) > 0 && !f.broken {
		rec.Set(src.streamKey, f.name, record.Text)
	}
	if r.idle() {
		r.batch.began = r.now
	}
	r.batch.Add(r.p.o.Sink, rec, f.set.resource)
	if c := r.p.o.Config; r.batch.Bytes >= c.BatchBytes || r.batch.Records >= c.BatchRecords {
		r.submit()
	}
}

// flush ends the events that nothing was added to for a while, or all.
func (r *reader) flush(all bool) {
	kept := r.pending[:0]
	list := r.pending
	r.pending = nil
	for _, f := range list {
		if !all && r.now.Sub(f.since) < f.timeout() {
			kept = append(kept, f)
			continue
		}
		f.queued = false
		f.finish(r)
	}
	r.pending = append(kept, r.pending...)
}
