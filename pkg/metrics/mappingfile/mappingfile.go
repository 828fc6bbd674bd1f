// Package mappingfile reads mapping files of statsd_exporter, again when they change.
package mappingfile

import (
	"fmt"
	"os"

	"github.com/dragoman-mesh/dragoman/pkg/metrics/fetch"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/statsd/mapping"
)

// Read reads a file. The error is a [problem.List] of all that is wrong with one that
// could be read.
func Read(name string) (*mapping.File, error) {
	return read(name, fetch.ReadFile)
}

func read(name string, by func(name string, limit int64) ([]byte, error)) (*mapping.File, error) {
	data, err := by(name, mapping.MaxSize)
	if err != nil {
		return nil, err
	}
	file, errs := mapping.Parse(name, data)
	return file, errs.Err()
}

// Live is a file that may change. It is for one goroutine at a time.
type Live struct {
	name string
	once bool        // it is a pipe, and has been read
	read os.FileInfo // of the version that was read last; nil: there was none
	err  error       // of reading or parsing it
}

// Open reads a file for the first time.
func Open(name string) (*Live, *mapping.File, error) {
	l := &Live{name: name}
	file, err := l.Reload()
	return l, file, err
}

// OpenOnce is Open for a file that may be a pipe: that is read now, and never again.
func OpenOnce(name string) (*Live, *mapping.File, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, nil, err
	}
	if info.Mode().IsRegular() {
		return Open(name)
	}
	file, err := read(name, fetch.ReadOnce)
	return &Live{name: name, once: true}, file, err
}

// Refresh is Reload if the file is another than the last time. Otherwise it gives no
// file, and the same error again as long as the file is not sound; anew is false.
func (l *Live) Refresh() (file *mapping.File, anew bool, err error) {
	if l.once {
		return nil, false, nil
	}
	switch now, err := os.Stat(l.name); {
	case err != nil && l.read == nil, err == nil && l.read != nil && same(now, l.read):
		return nil, false, l.err
	}
	file, err = l.Reload()
	return file, true, err
}

// Reload reads the file again.
func (l *Live) Reload() (*mapping.File, error) {
	if l.once {
		return nil, fmt.Errorf("%s is a pipe, which can be read only once", l.name)
	}
	// Before it is read: a change in between is found the next time.
	if l.read, l.err = os.Stat(l.name); l.err != nil {
		l.read = nil
		return nil, l.err
	}
	var file *mapping.File
	file, l.err = Read(l.name)
	return file, l.err
}

func same(a, b os.FileInfo) bool {
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}
