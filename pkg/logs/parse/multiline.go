package parse

import "regexp"

// Joiner makes one event of the lines that belong together: a line that the
// pattern matches begins one, all that follow belong to it.
type Joiner struct {
	// read-only after construction
	start    *regexp.Regexp
	maxLines int
	maxBytes int

	pending, done []byte // done is what was given out last
	lines         int
	cut           bool
}

// NewJoiner makes one. An event ends at maxLines, and what follows is another; of
// one with more than maxBytes the rest is left out.
func NewJoiner(start *regexp.Regexp, maxLines, maxBytes int) *Joiner {
	return &Joiner{start: start, maxLines: maxLines, maxBytes: maxBytes}
}

// Event is some lines with line feeds between them.
type Event struct {
	Text []byte // valid until two further events have ended
	Cut  bool   // some of it is missing
}

// Add takes a line. If that ends the event before it, this is returned, and the
// line begins another.
func (j *Joiner) Add(line []byte, cut bool) (before Event, ended bool) {
	if j.lines > 0 && (j.lines >= j.maxLines || j.start.Match(line)) {
		before, ended = j.Flush()
	}
	if j.lines > 0 {
		j.pending = append(j.pending, '\n')
	}
	j.lines++
	if room := j.maxBytes - len(j.pending); len(line) > room {
		line, cut = line[:max(room, 0)], true
	}
	j.pending = append(j.pending, line...)
	j.cut = j.cut || cut
	return before, ended
}

// Flush ends the event that is under way, if there is one.
func (j *Joiner) Flush() (e Event, ok bool) {
	if j.lines == 0 {
		return Event{}, false
	}
	e = Event{Text: j.pending, Cut: j.cut}
	j.pending, j.done = j.done[:0], j.pending
	j.lines, j.cut = 0, false
	return e, true
}

// Pending reports whether an event is under way.
func (j *Joiner) Pending() bool { return j.lines > 0 }
