package tail

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// scan looks at the paths of a source.
func (t *Tailer) scan(src *source, now time.Time) {
	present := map[string]bool{}
	for _, pattern := range src.Paths {
		t.watchFolders(pattern)
		paths, err := filepath.Glob(pattern)
		if err != nil {
			continue // patterns are checked beforehand
		}
		for _, path := range paths {
			if !present[path] && src.matches(path) {
				present[path] = true
				t.path(src, path, now)
			}
		}
	}
	for path, st := range src.streams {
		if !present[path] {
			for _, s := range st.segments {
				s.leave(now)
			}
		}
	}
	src.known, src.seen = true, now
	t.positions.lookAt(src.Name, now)
}

// watchFolders watches the folders in which a pattern finds something.
func (t *Tailer) watchFolders(pattern string) {
	if t.watcher == nil {
		return
	}
	dirs, err := filepath.Glob(filepath.Dir(pattern))
	if err != nil {
		return
	}
	for _, dir := range dirs {
		if err := t.watcher.folder(dir); err != nil {
			t.log.Debug("a folder is looked at by the clock alone", "error", err)
		}
	}
}

// path looks at one path of a source.
func (t *Tailer) path(src *source, path string, now time.Time) {
	info, err := os.Stat(path)
	if err != nil {
		return // it has just gone
	}
	id, err := idOf(info)
	if err != nil {
		return
	}
	st := src.streams[path]
	if s := src.byID[id]; s != nil {
		t.positions.grew(s.entry, info.Size())
		if st != nil {
			t.current(st, s, now)
		}
		return // a file of another stream is followed under the name that it had
	}
	fresh := st == nil
	if fresh {
		st = &Stream{Source: src.Name, Path: path}
	}
	for _, s := range st.segments {
		s.leave(now)
	}
	if !t.room(path) {
		return
	}
	known := t.rotated(src, st, id)
	if s := t.begin(src, st, path, src.FromEnd && fresh && !known && !src.known); s != nil {
		s.grown = now
	}
	if fresh && len(st.segments) > 0 {
		src.streams[path] = st
	}
	t.positions.look(st.segments, now)
}

// leave says that the path of a segment leads elsewhere. It is looked at once
// more, before what came after it.
func (s *Segment) leave(now time.Time) {
	if !s.away {
		s.away, s.hot, s.grown = true, true, now
	}
}

// current says that a segment is what the path leads to.
func (t *Tailer) current(st *Stream, s *Segment, now time.Time) {
	for _, other := range st.segments {
		if other != s {
			other.leave(now)
		}
	}
	s.away = false
	t.positions.look(st.segments, now)
}

// room reports whether one more file may be open.
func (t *Tailer) room(path string) bool {
	if t.open < t.o.MaxFiles {
		return true
	}
	t.over = true
	if !t.full {
		t.full = true
		t.log.Warn("there are more files than may be followed at once", "limit", t.o.MaxFiles, "first", path)
	}
	return false
}

// begin opens what is at the path, the newest segment of its stream.
func (t *Tailer) begin(src *source, st *Stream, path string, atEnd bool) *Segment {
	f, info, id, err := open(path)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			t.tell(path, err)
		}
		return nil
	}
	t.open++
	head, err := t.printer.of(f)
	if err != nil || src.byID[id] != nil {
		if err != nil {
			t.tell(path, err)
		}
		t.closeFile(f)
		return nil
	}
	delete(t.told, path)
	offset := int64(0)
	if atEnd {
		offset = info.Size()
	}
	if e, ok := t.positions.find(src.Name, id); ok {
		_, same, err := t.printer.fits(f, e.Print)
		switch {
		case err == nil && same && info.Size() >= e.Offset:
			offset = e.Offset
		default:
			offset = 0
			t.lostCopy(src, st, &e)
		}
	}
	return t.add(src, st, f, id, head, info.Size(), offset)
}

// tell says once what is wrong with a file: it is tried again at each look.
func (t *Tailer) tell(path string, err error) {
	if t.told[path] == err.Error() {
		return
	}
	if len(t.told) >= t.o.MaxFiles {
		clear(t.told) // of paths that came and went
	}
	t.told[path] = err.Error()
	t.log.Warn("a file cannot be read; it is tried again", "file", path, "error", err)
}

// add makes a segment of an open file.
func (t *Tailer) add(src *source, st *Stream, f *os.File, id ID, head Print, size, offset int64) *Segment {
	s := &Segment{
		Path: st.Path, Stream: st, file: f, head: head, size: size, read: offset, hot: true, Held: -1,
		entry: &entry{Source: src.Name, Path: st.Path, ID: id, Print: head, Offset: offset, Size: size},
	}
	t.positions.put(s.entry)
	src.byID[id] = s
	st.segments = append(st.segments, s)
	return s
}

// addAway is add for a file that has another name by now.
func (t *Tailer) addAway(src *source, st *Stream, f *os.File, id ID, head Print, size, offset int64) *Segment {
	s := t.add(src, st, f, id, head, size, offset)
	s.away, s.grown = true, t.scanned
	return s
}

func (t *Tailer) lost(source string, reason Loss, bytes int64) {
	if bytes > 0 {
		t.handler.Lost(source, reason, bytes)
	}
}

func (t *Tailer) sourceOf(st *Stream) *source {
	i := slices.IndexFunc(t.sources, func(s *source) bool { return s.Name == st.Source })
	return t.sources[i]
}
