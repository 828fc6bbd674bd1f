package diskset

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// File is where a set is kept. One process alone writes it.
type File struct {
	Path string
	Max  int64 // bytes that are read at most
}

// temporary gives what the file is called until it is complete: something
// between the two.
func (f *File) temporary() (prefix, suffix string) {
	return "." + filepath.Base(f.Path) + "-", ".tmp"
}

// Read gives the set in the file. The error wraps fs.ErrNotExist when there is
// no file, and ErrFormat when the file is of no use.
func (f *File) Read() (*Set, error) {
	file, err := os.Open(f.Path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(err, fmt.Errorf("%w: %s is not a regular file", ErrFormat, f.Path))
	}
	data, err := io.ReadAll(io.LimitReader(file, f.Max+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading %s: %w", f.Path, err)
	case int64(len(data)) > f.Max:
		return nil, fmt.Errorf("%w: %s is larger than %d bytes", ErrFormat, f.Path, f.Max)
	}
	s, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", f.Path, err)
	}
	return s, nil
}

// Write replaces the file. After a crash at any time there is the old set or the
// new one, whole. Only the process' user can read it.
func (f *File) Write(s *Set) error {
	data, err := Append(nil, s)
	if err != nil {
		return err
	}
	if int64(len(data)) > f.Max {
		return fmt.Errorf("the set has %d bytes, more than the %d that would be read again", len(data), f.Max)
	}
	dir := filepath.Dir(f.Path)
	prefix, suffix := f.temporary()
	temp, err := os.CreateTemp(dir, prefix+"*"+suffix) // mode 0600
	if err != nil {
		return err
	}
	if err := f.replace(temp, data); err != nil {
		return errors.Join(err, os.Remove(temp.Name()))
	}
	return syncDir(dir)
}

// replace fills temp and gives it the file's name.
func (f *File) replace(temp *os.File, data []byte) error {
	_, err := temp.Write(data)
	if err == nil {
		err = temp.Sync()
	}
	if err = errors.Join(err, temp.Close()); err != nil {
		return fmt.Errorf("writing %s: %w", temp.Name(), err)
	}
	return os.Rename(temp.Name(), f.Path)
}

// syncDir makes a new name in a folder last.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Tidy removes what a crash in the middle of Write has left behind.
func (f *File) Tidy() error {
	dir := filepath.Dir(f.Path)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	prefix, suffix := f.temporary()
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), prefix) && strings.HasSuffix(e.Name(), suffix) {
			err = errors.Join(err, os.Remove(filepath.Join(dir, e.Name())))
		}
	}
	return err
}
