package statsd

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/metrics/statsd/mapping"
)

// fileState tells one version of a file from another, and what came of it.
type fileState struct {
	modified time.Time
	size     int64
	err      error // of reading or parsing it
}

func (f fileState) same(other fileState) bool {
	return f.modified.Equal(other.modified) && f.size == other.size
}

// lookAt is the state of the file as it is now.
func lookAt(name string) fileState {
	info, err := os.Stat(name)
	if err != nil {
		return fileState{err: err}
	}
	return fileState{modified: info.ModTime(), size: info.Size()}
}

// readMapping reads a mapping file. The state is that of before it was read: a
// change in between is found the next time.
func readMapping(name string) (*mapping.File, fileState) {
	state := lookAt(name)
	if state.err != nil {
		return nil, state
	}
	f, err := os.Open(name)
	if err != nil {
		state.err = err
		return nil, state
	}
	defer func() { _ = f.Close() }() // it was read
	data, err := io.ReadAll(io.LimitReader(f, mapping.MaxSize+1))
	if err != nil {
		state.err = fmt.Errorf("reading %q: %w", name, err)
		return nil, state
	}
	file, errs := mapping.Parse(name, data)
	state.err = errs.Err()
	return file, state
}

// Refresh reads the mapping file again if it has changed. A new one that is not
// sound is an error as long as it is there, and the mapping stays as it was.
func (s *Source) Refresh() error {
	if s.config.MappingFile == "" {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := lookAt(s.config.MappingFile); now.same(s.file) {
		return s.file.err
	}
	return s.reloadLocked()
}

// Reload reads the mapping file again.
func (s *Source) Reload() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reloadLocked()
}

func (s *Source) reloadLocked() error {
	file, state := readMapping(s.config.MappingFile)
	s.file = state
	if state.err != nil {
		s.log.Error("StatsD: the mapping stays as it was", "file", s.config.MappingFile, "error", state.err)
		return state.err
	}
	s.config.Options.Mapping = file
	s.store.Load().remap(file)
	s.log.Info("StatsD: new mapping", "file", s.config.MappingFile, "rules", len(file.Rules))
	return nil
}
