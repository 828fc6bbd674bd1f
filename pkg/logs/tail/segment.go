package tail

import (
	"bytes"
	"errors"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Segment is one file of a Stream, from when it was found until it is not
// followed any more. A file that was truncated is another segment from then on.
type Segment struct {
	// read-only after construction
	Path   string // of the stream
	Stream *Stream
	entry  *entry

	// of the tailer's goroutine
	file     *os.File
	head     Print
	size     int64
	read     int64     // what is before has been given out as lines
	skipping bool      // the line from read on was too long, and its end is not there yet
	skipped  int64     // how far that line has been read
	hot      bool      // read at each turn, instead of waiting for a write
	grown    time.Time // something was read of it, or it was found
	looked   time.Time
	away     bool // its path leads to another file, or to none
	armed    bool

	// Held is the offset of the first line that was given out and that the handler
	// still holds back, -1 if there is none. It is the handler's.
	Held int64
	// Dirty is the handler's, too: the segment is among those to be marked.
	Dirty bool
}

// Mark says that all lines that were given out and are not held have been taken.
func (s *Segment) Mark() Mark {
	if s.Held >= 0 {
		return Mark{s.entry, s.Held}
	}
	return Mark{s.entry, s.read}
}

// Handler takes lines.
type Handler interface {
	// Line takes a line of s that begins at the offset from, without its end; it is
	// valid until Line returns. cut says that the line was longer than is kept.
	Line(s *Segment, line []byte, from int64, cut bool)
	// Lost is told of bytes that were gone before they could be read.
	Lost(source string, reason Loss, bytes int64)
}

// Loss says why something was not read.
type Loss string

// The losses.
const (
	Truncated Loss = "truncated" // before it was read, and there is no copy of it
	Gone      Loss = "gone"      // the file was deleted while the adapter was away
)

// turn reads up to a budget of bytes and gives out the lines. It reports how much
// it has read, and whether there may be more.
func (t *Tailer) turn(s *Segment, budget int) (n int, more bool) {
	for n < budget {
		got, err := s.file.ReadAt(t.buf, s.from())
		if err != nil && !errors.Is(err, io.EOF) {
			t.tell(s.Path, err)
			return n, false
		}
		if got == 0 {
			return n, false
		}
		used := t.lines(s, t.buf[:got])
		n += used
		if used == 0 && got < len(t.buf) {
			return n, false // a line whose end is not there yet
		}
		if err != nil {
			return n, false
		}
	}
	return n, true
}

// from is where to read on.
func (s *Segment) from() int64 {
	if s.skipping {
		return s.skipped
	}
	return s.read
}

// lines gives out the whole lines of b and says how much of it that was.
func (t *Tailer) lines(s *Segment, b []byte) (used int) {
	if s.skipping {
		end := bytes.IndexByte(b, '\n')
		if end < 0 {
			s.skipped += int64(len(b))
			return len(b)
		}
		s.skipping = false
		s.read = s.skipped + int64(end) + 1
		t.handler.Line(s, nil, -1, false) // the position moves
		used = end + 1
	}
	for used < len(b) {
		end := bytes.IndexByte(b[used:], '\n')
		if end < 0 {
			break
		}
		from := s.read
		s.read += int64(end) + 1
		t.give(s, b[used:used+end], from)
		used += end + 1
	}
	rest := b[used:]
	if len(rest) > 0 && rest[0] == 0 {
		return used + t.hole(s, rest)
	}
	if len(rest) > t.maxLine {
		t.handler.Line(s, rest[:t.maxLine], s.read, true)
		s.skipping, s.skipped = true, s.read+int64(len(rest))
		used = len(b)
	}
	return used
}

// give gives out one line. A line feed may have a carriage return before it, and
// where a file was truncated under an app that writes on at its old offset, zeros
// are before the first line.
func (t *Tailer) give(s *Segment, line []byte, from int64) {
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	if len(line) > 0 && line[0] == 0 {
		line = bytes.TrimLeft(line, "\x00")
	}
	cut := len(line) > t.maxLine
	if cut {
		line = line[:t.maxLine]
	}
	t.handler.Line(s, line, from, cut)
}

// hole goes over the zeros that b begins with, at once over those that were never
// written.
func (t *Tailer) hole(s *Segment, b []byte) int {
	zeros := len(b) - len(bytes.TrimLeft(b, "\x00"))
	s.read += int64(zeros)
	if zeros < len(b) {
		return zeros
	}
	if at, err := unix.Seek(int(s.file.Fd()), s.read, unix.SEEK_DATA); err == nil && at > s.read {
		s.read = at
	}
	return zeros
}

// remainder gives out what follows the last line feed of a file that nobody writes
// to any more.
func (t *Tailer) remainder(s *Segment) {
	if s.skipping {
		s.skipping, s.read = false, s.skipped
		t.handler.Line(s, nil, -1, false)
		return
	}
	got, err := s.file.ReadAt(t.buf, s.read)
	if got == 0 || err != nil && !errors.Is(err, io.EOF) || bytes.IndexByte(t.buf[:got], '\n') >= 0 {
		return
	}
	from := s.read
	s.read += int64(got)
	t.give(s, t.buf[:got], from)
}
