package tail

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// candidate is a file beside a path, which may have been there.
type candidate struct {
	path     string
	id       ID
	size     int64
	modified time.Time
	named    bool // its name begins like the path's
}

// beside lists the files of the folder that the path leads to, the oldest first.
func (t *Tailer) beside(path string) []candidate {
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		target = path
	}
	dir, base := filepath.Split(target)
	if t.watcher != nil {
		_ = t.watcher.folder(filepath.Clean(dir)) // else it is looked at by the clock
	}
	entries, err := os.ReadDir(filepath.Clean(dir))
	if err != nil {
		return nil
	}
	var list []candidate
	for _, e := range entries {
		if !e.Type().IsRegular() || compressed(e.Name()) {
			continue
		}
		info, err := e.Info()
		if err != nil {
			continue
		}
		id, err := idOf(info)
		if err != nil {
			continue
		}
		list = append(list, candidate{
			path: dir + e.Name(), id: id, size: info.Size(), modified: info.ModTime(),
			named: strings.HasPrefix(e.Name(), base+".") || strings.HasPrefix(e.Name(), base+"-"),
		})
	}
	slices.SortFunc(list, func(a, b candidate) int {
		return cmp.Or(a.modified.Compare(b.modified), older(a.path, b.path))
	})
	return list
}

// older compares the names of rotated files of one time: numbers grow with age,
// dates with youth.
func older(a, b string) int {
	x, errA := strconv.ParseUint(a[strings.LastIndexByte(a, '.')+1:], 10, 16)
	y, errB := strconv.ParseUint(b[strings.LastIndexByte(b, '.')+1:], 10, 16)
	if errA == nil && errB == nil {
		return cmp.Compare(y, x)
	}
	return strings.Compare(a, b)
}

// clockSlack is how much older a file's time may be than the clock's: the kernel
// goes by its own ticks.
const clockSlack = 20 * time.Millisecond

// rotated opens what was at the path before and is not read to its end: files that
// are known, by their inode, and files that came and went between two looks, by
// their name. It reports whether the path has ever been followed.
func (t *Tailer) rotated(src *source, st *Stream, now ID) (known bool) {
	entries := t.positions.of(src.Name, st.Path)
	known = len(entries) > 0
	since := src.seen
	for i := range entries {
		since = maxTime(since, entries[i].Seen)
	}
	list := t.beside(st.Path)
	first := st.beside == nil
	t.gone(src, entries, list)
	for _, c := range list {
		if c.id == now || src.byID[c.id] != nil {
			continue
		}
		late := c.modified.After(since.Add(-clockSlack)) && !since.IsZero()
		written, judged := st.beside[c.id]
		at := slices.IndexFunc(entries, func(e entry) bool { return e.ID == c.id })
		switch {
		case at >= 0:
			if c.size != entries[at].Offset || late {
				t.resume(src, st, c, &entries[at])
			}
		case !c.named || c.size == 0 || !src.matches(c.path):
		case first && late, !first && (!judged || !written.Equal(c.modified)):
			t.missed(src, st, c, entries)
		}
	}
	st.beside = make(map[ID]time.Time, len(list))
	for _, c := range list {
		st.beside[c.id] = c.modified
	}
	return known
}

// gone forgets files that are not there any more and that nobody has open.
func (t *Tailer) gone(src *source, entries []entry, list []candidate) {
	for i := range entries {
		e := &entries[i]
		if src.byID[e.ID] != nil || slices.ContainsFunc(list, func(c candidate) bool { return c.id == e.ID }) {
			continue
		}
		t.lost(src.Name, Gone, e.Size-e.Offset)
		t.positions.drop(src.Name, e.ID)
	}
}

// resume goes on with a file that is known and has another name now. One that was
// truncated meanwhile is another.
func (t *Tailer) resume(src *source, st *Stream, c candidate, e *entry) {
	f, info, id, err := open(c.path)
	if err != nil {
		return
	}
	t.open++
	head, same, err := t.printer.fits(f, e.Print)
	if err != nil || id != e.ID || same && info.Size() == e.Offset {
		t.closeFile(f)
		return
	}
	offset := e.Offset
	if !same || info.Size() < offset {
		t.lostCopy(src, st, e)
		offset = 0
	}
	t.addAway(src, st, f, id, head, info.Size(), offset)
}

// missed takes a file that was at the path and was never seen there. A copy of one
// that was is none.
func (t *Tailer) missed(src *source, st *Stream, c candidate, entries []entry) {
	if _, elsewhere := t.positions.find(src.Name, c.id); elsewhere {
		return
	}
	f, info, id, err := open(c.path)
	if err != nil || id != c.id {
		return
	}
	t.open++
	for i := range entries {
		if t.copyOf(f, entries[i].Print) {
			t.closeFile(f)
			return
		}
	}
	head, err := t.printer.of(f)
	if err != nil {
		t.closeFile(f)
		return
	}
	t.addAway(src, st, f, id, head, info.Size(), 0)
}

// copyOf reports whether a file begins as another did.
func (t *Tailer) copyOf(f *os.File, head Print) bool {
	_, same, err := t.printer.fits(f, head)
	return err == nil && same && head.Length > 0
}

// truncated puts what is left of a segment's copy, if there is one, and the file
// from its start in the place of the segment.
func (t *Tailer) truncated(st *Stream, i int, now time.Time) {
	old := st.segments[i]
	src := t.sourceOf(st)
	later := slices.Clone(st.segments[i+1:])
	st.segments = st.segments[:i]
	t.log.Debug("a file was truncated", "file", st.Path, "read", old.read)
	delete(src.byID, old.entry.ID)
	t.positions.leave(old.entry, false)
	if copied := t.copied(src, st, old.entry.ID, old.head, old.read, old.size); copied != nil {
		copied.grown = now
		t.positions.follow(old.entry, copied.entry)
	}
	t.rotated(src, st, old.entry.ID) // it may have been truncated more than once
	head, err := t.printer.of(old.file)
	if err != nil {
		head = Print{}
	}
	s := t.add(src, st, old.file, old.entry.ID, head, 0, 0)
	s.away, s.grown = old.away, now
	st.segments = append(st.segments, later...)
}

// copied finds the copy that was made of a file before it was truncated, and goes
// on there.
func (t *Tailer) copied(src *source, st *Stream, id ID, head Print, read, size int64) *Segment {
	if head.Length == 0 {
		return nil
	}
	list := t.beside(st.Path)
	for _, c := range slices.Backward(list) { // the newest first
		if c.id == id || !c.named || src.byID[c.id] != nil {
			continue
		}
		e, known := t.positions.find(src.Name, c.id)
		if known && e.Print.Length > 0 && e.Print == head {
			return nil // and is or was read for itself
		}
		if known {
			continue
		}
		f, info, got, err := open(c.path)
		if err != nil {
			continue
		}
		t.open++
		if !t.copyOf(f, head) || info.Size() < read {
			t.closeFile(f)
			continue
		}
		now, err := t.printer.of(f)
		if err != nil {
			t.closeFile(f)
			continue
		}
		return t.addAway(src, st, f, got, now, info.Size(), read)
	}
	t.lost(src.Name, Truncated, size-read)
	return nil
}

// lostCopy is copied for a file that was truncated while nobody looked.
func (t *Tailer) lostCopy(src *source, st *Stream, e *entry) {
	t.copied(src, st, e.ID, e.Print, e.Offset, e.Size)
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
