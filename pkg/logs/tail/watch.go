package tail

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// watcher tells when something happens to files, by inotify. Of folders it tells
// what comes and goes. Of a file it tells the next write alone, and only when it
// was asked to: a busy file is read by turns, and every write to it would
// otherwise cost an event.
type watcher struct {
	// read-only after construction
	fd   int
	file *os.File
	poke chan<- struct{}
	done chan struct{}

	mu      sync.Mutex
	folders map[string]int32   // by path; guarded by mu
	files   map[int32]*Segment // that wait for a write; guarded by mu
	written []*Segment         // since they were asked for; guarded by mu
	changed bool               // something came or went; guarded by mu
}

const (
	folderEvents = unix.IN_CREATE | unix.IN_MOVED_TO | unix.IN_MOVED_FROM | unix.IN_DELETE | unix.IN_ONLYDIR
	fileEvents   = unix.IN_MODIFY | unix.IN_ONESHOT
)

// watch starts a watcher, which puts something into poke when there is news.
func watch(poke chan<- struct{}) (*watcher, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("watching files: %w", err)
	}
	w := &watcher{
		fd: fd, file: os.NewFile(uintptr(fd), "inotify"), poke: poke, done: make(chan struct{}),
		folders: map[string]int32{}, files: map[int32]*Segment{},
	}
	go w.read()
	return w, nil
}

// close ends it and waits for that.
func (w *watcher) close() {
	_ = w.file.Close() // nothing was written to it
	<-w.done
}

func (w *watcher) read() {
	defer close(w.done)
	buf := make([]byte, 64<<10)
	for {
		n, err := w.file.Read(buf)
		if err != nil {
			if errors.Is(err, unix.EINTR) {
				continue
			}
			return // closed
		}
		w.take(buf[:n])
		select {
		case w.poke <- struct{}{}:
		default:
		}
	}
}

// take reads events: what they are about, a mask, a cookie, and the length of the
// name that follows.
func (w *watcher) take(b []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(b) >= unix.SizeofInotifyEvent {
		wd := int32(binary.NativeEndian.Uint32(b))
		mask := binary.NativeEndian.Uint32(b[4:])
		length := int(binary.NativeEndian.Uint32(b[12:]))
		b = b[min(unix.SizeofInotifyEvent+length, len(b)):]
		switch s := w.files[wd]; {
		case mask&unix.IN_Q_OVERFLOW != 0:
			w.changed = true
		case s != nil:
			if mask&unix.IN_MODIFY != 0 {
				w.written = append(w.written, s)
			}
			if mask&unix.IN_IGNORED != 0 {
				delete(w.files, wd)
			}
		case mask&unix.IN_IGNORED != 0:
			for path, other := range w.folders {
				if other == wd {
					delete(w.folders, path)
				}
			}
			w.changed = true
		default:
			w.changed = true
		}
	}
}

// folder watches what comes and goes in one. Watching again is free.
func (w *watcher) folder(path string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, ok := w.folders[path]; ok {
		return nil
	}
	wd, err := unix.InotifyAddWatch(w.fd, path, folderEvents)
	if err != nil {
		return fmt.Errorf("watching %q: %w", path, err)
	}
	w.folders[path] = int32(wd)
	return nil
}

// next asks for the next write to a file. What has been written before is not
// told: look once more afterwards.
func (w *watcher) next(s *Segment) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	wd, err := unix.InotifyAddWatch(w.fd, "/proc/self/fd/"+strconv.Itoa(int(s.file.Fd())), fileEvents)
	if err != nil {
		return fmt.Errorf("watching %q: %w", s.Path, err)
	}
	w.files[int32(wd)] = s
	return nil
}

// news gives the files that were written to, and whether others came or went.
func (w *watcher) news(into []*Segment) (written []*Segment, changed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	into = append(into, w.written...)
	changed, w.written, w.changed = w.changed, w.written[:0], false
	return into, changed
}
