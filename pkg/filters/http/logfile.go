package http

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// logFiles are the files that access logs are written to, each opened once.
type logFiles struct {
	mu   sync.Mutex
	open map[string]*logFile // by path; guarded by mu
}

// get opens a file to append to, unless it is open already.
func (l *logFiles) get(path string) (*logFile, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if f, ok := l.open[path]; ok {
		f.users++
		return f, nil
	}
	f := &logFile{path: path, users: 1}
	switch path {
	case "/dev/stdout":
		f.w = standard{os.Stdout}
	case "/dev/stderr":
		f.w = standard{os.Stderr}
	default:
		opened, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return nil, fmt.Errorf("opening an access log: %w", err)
		}
		f.w = opened
	}
	l.open[path] = f
	return f, nil
}

// put gives a file back, which is closed after its last user.
func (l *logFiles) put(f *logFile) {
	l.mu.Lock()
	f.users--
	last := f.users == 0
	if last {
		delete(l.open, f.path)
	}
	l.mu.Unlock()
	f.flush()
	if last {
		_ = f.w.Close()
	}
}

// flush writes what is there.
func (l *logFiles) flush() {
	l.mu.Lock()
	files := make([]*logFile, 0, len(l.open))
	for _, f := range l.open {
		files = append(files, f)
	}
	l.mu.Unlock()
	for _, f := range files {
		f.flush()
	}
}

// standard is one of the process' own streams, which stay open.
type standard struct{ io.Writer }

// Close implements io.Closer.
func (standard) Close() error { return nil }

const (
	logDelay   = 200 * time.Millisecond // that a line waits for others, at most
	logBatch   = 32 << 10               // bytes that wait for no others
	logBacklog = 4 << 20                // bytes of a file that takes nothing
)

// logFile is a file that lines are appended to. Event loops write to it too, so
// that nobody waits for the file: a goroutine writes lines by the batch.
type logFile struct {
	path  string
	users int // guarded by logFiles.mu
	w     io.WriteCloser

	writing sync.Mutex // held while a batch is written, so that batches keep their order
	spare   []byte     // guarded by writing

	mu    sync.Mutex
	lines []byte // not written yet; guarded by mu
	asked bool   // a goroutine is going to write them; guarded by mu
	hurry bool   // at once; guarded by mu
}

// write adds a line; false: the file is so far behind that the line is lost.
func (f *logFile) write(line []byte) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.lines)+len(line) > logBacklog {
		return false
	}
	f.lines = append(f.lines, line...)
	switch {
	case len(f.lines) >= logBatch && !f.hurry:
		f.hurry, f.asked = true, true
		go f.flush()
	case !f.asked:
		f.asked = true
		time.AfterFunc(logDelay, f.flush)
	}
	return true
}

// flush writes the lines that are there.
func (f *logFile) flush() {
	f.writing.Lock()
	defer f.writing.Unlock()
	f.mu.Lock()
	lines := f.lines
	f.lines, f.asked, f.hurry = f.spare[:0], false, false
	f.mu.Unlock()
	if len(lines) > 0 {
		_, _ = f.w.Write(lines) // there is no better place to say that it failed
	}
	if f.spare = lines; cap(f.spare) > 4*logBatch {
		f.spare = nil
	}
}
