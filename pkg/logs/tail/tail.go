// Package tail follows files: it gives out their lines, keeps up with rotation,
// truncation and deletion, and remembers how far each has been delivered.
//
// A Stream is a path. What is or was there is its Segments: files by device and
// inode, recognised by a fingerprint of their first bytes, so that a rename moves
// nothing. The oldest is read first. A file that is rotated stays open until it is
// read, delivered, and has been at rest for a while. One that was truncated is read
// on in its copy, if there is one beside it (copytruncate), and then from the
// start. What was rotated while nobody looked is found in the folder, by inode or
// by a name that begins like the path.
package tail

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Source is a set of files that are followed.
type Source struct {
	Name    string
	Paths   []string // patterns of filepath.Match
	Exclude []string // patterns for the whole path or the name
	// FromEnd leaves out what files have in them when the source is first seen.
	FromEnd bool
}

// Options of a Tailer.
type Options struct {
	Sources   []Source
	MaxLine   int           // bytes; longer lines are cut
	MaxFiles  int           // open at once
	Rest      time.Duration // of a rotated file, before it is closed
	Poll      time.Duration // between looks without a notification
	Positions *Positions
	Log       *slog.Logger
}

// Tailer follows the files of its sources. It is for one goroutine, but for Poke.
type Tailer struct {
	// read-only after construction
	o         Options
	positions *Positions
	log       *slog.Logger
	maxLine   int
	handler   Handler
	watcher   *watcher // nil: there is none to be had
	poke      chan struct{}

	// of the one goroutine
	sources []*source
	buf     []byte
	printer printer
	news    []*Segment
	open    int
	scanned time.Time
	swept   time.Time
	over    bool              // the files are more than may be open
	full    bool              // they were, and that was said
	told    map[string]string // by path: what was said of a file that cannot be followed
}

type source struct {
	Source
	streams map[string]*Stream
	byID    map[ID]*Segment
	known   bool      // it has been looked at before, by this process or another
	seen    time.Time // when this one did
}

// Stream is what is at a path, now and before.
type Stream struct {
	Source, Path string
	// User is the handler's.
	User any

	segments []*Segment // the oldest first
	// beside are the files of the folder that have been judged, by when they were
	// written to; nil: none has been.
	beside map[ID]time.Time
}

const (
	minBuffer = 256 << 10
	// hotTime is how long a file is read at each turn after its last write.
	hotTime = 2 * time.Second
	// unwatchedPoll is between looks at files where nothing tells of changes.
	unwatchedPoll = 250 * time.Millisecond
	// turnBytes is what one file may give before it is the next one's turn.
	turnBytes = 1 << 20
)

// New makes a tailer. It looks at nothing yet.
func New(o Options, h Handler) *Tailer {
	t := &Tailer{
		o: o, positions: o.Positions, log: o.Log, maxLine: o.MaxLine, handler: h, poke: make(chan struct{}, 1),
		buf: make([]byte, max(minBuffer, o.MaxLine+minBuffer/4)), told: map[string]string{},
	}
	for _, s := range o.Sources {
		t.sources = append(t.sources, &source{
			Source: s, streams: map[string]*Stream{}, byID: map[ID]*Segment{}, seen: o.Positions.lookedAt(s.Name), known: !o.Positions.lookedAt(s.Name).IsZero(),
		})
	}
	w, err := watch(t.poke)
	if err != nil {
		t.o.Poll = min(o.Poll, unwatchedPoll)
		o.Log.Warn("files are looked at by the clock alone", "error", err, "interval", t.o.Poll.String())
	} else {
		t.watcher = w
	}
	return t
}

// Poke has something in it when there is news of files.
func (t *Tailer) Poke() <-chan struct{} { return t.poke }

// Close closes all files. What is known of them stays in the positions.
func (t *Tailer) Close() {
	if t.watcher != nil {
		t.watcher.close()
	}
	for _, src := range t.sources {
		for _, st := range src.streams {
			for _, s := range st.segments {
				t.drop(src, s, false)
			}
		}
		clear(src.streams)
	}
}

// Adopt takes over the open files of a tailer that is not used any more, from
// what was delivered on: one of them may have been deleted meanwhile. The other
// tailer is closed by it.
func (t *Tailer) Adopt(from *Tailer) {
	for _, theirs := range from.sources {
		at := slices.IndexFunc(t.sources, func(s *source) bool { return s.Name == theirs.Name })
		if at < 0 {
			continue
		}
		src := t.sources[at]
		src.known = true
		for path, st := range theirs.streams {
			for _, s := range st.segments {
				s.read, s.skipping, s.hot, s.armed, s.Held, s.Dirty = t.positions.delivered(s.entry), false, true, false, -1, false
				src.byID[s.entry.ID] = s
				t.positions.put(s.entry) // they may be others than before
				t.open++
			}
			st.User = nil
			src.streams[path] = st
		}
		clear(theirs.streams)
	}
	from.Close()
}

// Round reads what there is, as much as one turn of each file allows, and reports
// whether anything was read, and when to come again without a poke.
func (t *Tailer) Round(now time.Time) (read int, again time.Duration) {
	t.Look(now)
	again = t.o.Poll
	for _, src := range t.sources {
		for _, st := range src.streams {
			n, wait := t.stream(src, st, now)
			read += n
			again = min(again, wait)
		}
	}
	return read, again
}

// hotTick is between two turns of a file that is being written.
const hotTick = 20 * time.Millisecond

// Look finds files that are new, and opens them. It reads no line, and so may be
// called while the handler waits: what is open cannot be lost any more.
func (t *Tailer) Look(now time.Time) {
	changed := t.watcher == nil
	if t.watcher != nil {
		t.news, changed = t.watcher.news(t.news[:0])
		for _, s := range t.news {
			s.hot, s.armed, s.grown = true, false, now
		}
	}
	if !changed && now.Sub(t.scanned) < t.o.Poll {
		return
	}
	t.scanned, t.over = now, false
	for _, src := range t.sources {
		t.scan(src, now)
	}
	t.full = t.full && t.over
	t.sweep(now)
}

// stream gives each segment its turn, the oldest first, so that lines stay in
// order: no file is read before its predecessor is at its end.
func (t *Tailer) stream(src *source, st *Stream, now time.Time) (n int, wait time.Duration) {
	wait = t.o.Poll
	for i := 0; i < len(st.segments); i++ {
		s, known := st.segments[i], len(st.segments)
		got, more := t.visit(st, i, now)
		n += got
		if more || len(st.segments) > known { // a successor came while the handler waited: who wrote it may have written to s before
			return n, 0
		}
		if st.segments[i] != s {
			i-- // it was truncated: look at what is there now
			continue
		}
		if s.hot {
			wait = min(wait, hotTick)
		}
		if t.rested(s, now) {
			t.drop(src, s, true)
			st.segments = slices.Delete(st.segments, i, i+1)
			i--
		}
	}
	if len(st.segments) == 0 {
		delete(src.streams, st.Path)
	}
	return n, wait
}

// visit reads one segment, if there may be something to read.
func (t *Tailer) visit(st *Stream, i int, now time.Time) (n int, more bool) {
	s := st.segments[i]
	if !s.hot && now.Sub(s.looked) < t.o.Poll {
		return 0, false
	}
	s.looked = now
	info, err := s.file.Stat()
	if err != nil {
		return 0, false
	}
	if t.examine(s, info.Size()) {
		t.truncated(st, i, now)
		return 0, false
	}
	if n, more = t.turn(s, turnBytes); n == 0 && now.Sub(s.grown) >= hotTime {
		n, more = t.cool(s)
	}
	if n > 0 {
		s.hot, s.grown = true, now
	}
	return n, more
}

// cool leaves a file alone until it is written to, which it may have been just
// before that was asked for.
func (t *Tailer) cool(s *Segment) (n int, more bool) {
	s.hot = false
	if t.watcher == nil || s.armed {
		return 0, false
	}
	if err := t.watcher.next(s); err != nil {
		return 0, false // then it is looked at by the clock
	}
	s.armed = true
	return t.turn(s, turnBytes)
}

// examine notes size and fingerprint. It reports that the file is not the one that
// it was: shorter than what has been read, or with another beginning.
func (t *Tailer) examine(s *Segment, size int64) (cut bool) {
	head, same, err := t.printer.fits(s.file, s.head)
	if err != nil {
		return false
	}
	if !same || size < s.from() {
		return true
	}
	if head != s.head || size != s.size {
		s.head, s.size = head, size
		t.positions.see(s.entry, head, size)
	}
	return false
}

// rested reports whether a segment is done with: its path leads elsewhere, it has
// been read and delivered, and nobody has written to it for a while.
func (t *Tailer) rested(s *Segment, now time.Time) bool {
	if !s.away || now.Sub(s.grown) < t.o.Rest {
		return false
	}
	if info, err := s.file.Stat(); err == nil && info.Size() > s.from() {
		t.remainder(s)
	}
	return t.positions.delivered(s.entry) >= s.read
}

// drop stops following a file; done: there is nothing more to come.
func (t *Tailer) drop(src *source, s *Segment, done bool) {
	info, err := s.file.Stat()
	forget := done && (err != nil || unlinked(info))
	t.positions.leave(s.entry, forget)
	if src.byID[s.entry.ID] == s {
		delete(src.byID, s.entry.ID)
	}
	t.closeFile(s.file)
}

func (t *Tailer) closeFile(f *os.File) {
	_ = f.Close() // it was only read
	t.open--
}

// matches reports whether a path is to be followed.
func (s *Source) matches(path string) bool {
	name := filepath.Base(path)
	for _, pattern := range s.Exclude {
		if ok, err := filepath.Match(pattern, path); ok && err == nil {
			return false
		}
		if ok, err := filepath.Match(pattern, name); ok && err == nil {
			return false
		}
	}
	return !compressed(name)
}

// compressed files are what rotation has made of those that were read.
func compressed(name string) bool {
	return slices.Contains([]string{".gz", ".bz2", ".xz", ".zst", ".lz4", ".Z", ".zip"}, filepath.Ext(name))
}
