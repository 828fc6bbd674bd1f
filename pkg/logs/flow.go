package logs

import (
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/logs/parse"
	"github.com/dragoman-mesh/dragoman/pkg/logs/record"
	"github.com/dragoman-mesh/dragoman/pkg/logs/tail"
)

// flows is a file's lines: those of standard output and error apart, where a
// container runtime has put them into one.
type flows struct {
	source   *source
	resource *record.Resource
	out, err flow
}

// flow makes events of lines.
type flow struct {
	set    *flows
	name   []byte        // of the stream, with a runtime
	joiner *parse.Joiner // nil: each line is an event

	partial []byte // the beginning of a line that the runtime has cut up
	parts   bool   // there is such
	cut     bool   // some of it is missing
	at      int64  // the runtime's time of what is pending
	broken  bool   // the line that is given out is not the runtime's

	// Where the lines begin that wait for others: those of the line that is under
	// way, and those of the event. One for each segment.
	lineAt, eventAt []start
	since           time.Time // the last line came
	queued          bool      // it is in reader.pending
}

type start struct {
	segment *tail.Segment
	offset  int64
}

func (r *reader) newFlows(st *tail.Stream) *flows {
	src := r.p.sources[st.Source]
	set := &flows{source: src, resource: src.resource(st.Path, r.p.o.Host, r.p.o.Config.Resource)}
	set.out, set.err = src.newFlow(set, "stdout"), src.newFlow(set, "stderr")
	return set
}

func (f *flow) timeout() time.Duration {
	if m := f.set.source.config.Multiline; m != nil {
		return m.Timeout
	}
	return partTimeout
}

// partTimeout is how long the rest of a line is waited for that a runtime has cut
// up: it writes the parts one after the other.
const partTimeout = 10 * time.Second

// line takes a line of the file.
func (set *flows) line(r *reader, s *tail.Segment, line []byte, from int64, cut bool) {
	f := &set.out
	if set.source.unwrapper == nil {
		f.event(r, s, line, from, cut, 0)
		return
	}
	w, ok := set.source.unwrapper.Unwrap(line)
	if !ok {
		f.broken = true
		r.emit(f, line, cut)
		f.broken = false
		return
	}
	if w.Stderr {
		f = &set.err
	}
	if !w.Partial && !f.parts {
		f.event(r, s, w.Content, from, cut, w.Timestamp)
		return
	}
	f.part(r, s, &w, from, cut)
}

// part takes a part of a line.
func (f *flow) part(r *reader, s *tail.Segment, w *parse.Unwrapped, from int64, cut bool) {
	f.parts = true
	f.lineAt = hold(f.lineAt, s, from)
	f.set.refresh(r, s)
	if room := r.p.o.Config.MaxLine - len(f.partial); len(w.Content) > room {
		w.Content, cut = w.Content[:max(room, 0)], true
	}
	f.partial = append(f.partial, w.Content...)
	f.cut = f.cut || cut
	if w.Partial {
		f.wait(r)
		return
	}
	f.whole(r, w.Timestamp)
}

// whole takes the line that parts make.
func (f *flow) whole(r *reader, at int64) {
	line, cut, starts := f.partial, f.cut, f.lineAt
	f.partial, f.parts, f.cut, f.lineAt = f.partial[:0], false, false, nil
	if f.joiner == nil {
		f.release(r, starts)
		f.at = at
		r.emit(f, line, cut)
		return
	}
	f.join(r, starts, line, cut, at)
}

// event takes a whole line.
func (f *flow) event(r *reader, s *tail.Segment, line []byte, from int64, cut bool, at int64) {
	if f.joiner == nil {
		f.at = at
		r.emit(f, line, cut)
		return
	}
	one := [1]start{{s, from}}
	f.join(r, one[:], line, cut, at)
}

// join adds a line to an event, or begins another with it. What begins is held
// before what ended is given out: that may already be the last of a batch.
func (f *flow) join(r *reader, starts []start, line []byte, cut bool, at int64) {
	before, ended := f.joiner.Add(line, cut)
	was := f.at
	if ended {
		old := f.eventAt
		f.eventAt = nil
		for _, st := range starts {
			f.eventAt = hold(f.eventAt, st.segment, st.offset)
		}
		f.release(r, old)
		f.release(r, starts)
		f.at = was
		r.emit(f, before.Text, before.Cut)
		f.at = at
	} else {
		if len(f.eventAt) == 0 {
			f.at = at
		}
		for _, st := range starts {
			f.eventAt = hold(f.eventAt, st.segment, st.offset)
			f.set.refresh(r, st.segment)
		}
	}
	f.wait(r)
}

// wait has the flow finished if nothing more comes.
func (f *flow) wait(r *reader) {
	f.since = r.now
	if !f.queued {
		f.queued = true
		r.pending = append(r.pending, f)
	}
}

// finish gives out what is pending.
func (f *flow) finish(r *reader) {
	if f.parts {
		f.whole(r, f.at)
	}
	if f.joiner == nil {
		return
	}
	if e, ok := f.joiner.Flush(); ok {
		old := f.eventAt
		f.eventAt = nil
		f.release(r, old)
		r.emit(f, e.Text, e.Cut)
	}
}

// hold notes where the first line of a segment begins.
func hold(list []start, s *tail.Segment, from int64) []start {
	for i := range list {
		if list[i].segment == s {
			return list
		}
	}
	return append(list, start{s, from})
}

// release looks at segments anew that something was held of.
func (f *flow) release(r *reader, starts []start) {
	for _, st := range starts {
		f.set.refresh(r, st.segment)
	}
}

// refresh finds what is held of a segment.
func (set *flows) refresh(r *reader, s *tail.Segment) {
	s.Held = -1
	for _, list := range [...][]start{set.out.lineAt, set.out.eventAt, set.err.lineAt, set.err.eventAt} {
		for _, st := range list {
			if st.segment == s && (s.Held < 0 || st.offset < s.Held) {
				s.Held = st.offset
			}
		}
	}
	r.touch(s)
}
