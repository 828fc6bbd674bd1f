package statsd

import "github.com/dragoman-mesh/dragoman/pkg/metrics/statsd/mapping"

// Refresh reads the mapping file again if it has changed. A new one that is not
// sound is an error as long as it is there, and the mapping stays as it was.
func (s *Source) Refresh() error {
	if s.file == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	file, anew, err := s.file.Refresh()
	if anew {
		s.useLocked(file, err)
	}
	return err
}

// Reload reads the mapping file again.
func (s *Source) Reload() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	file, err := s.file.Reload()
	s.useLocked(file, err)
	return err
}

// useLocked takes what has been read.
func (s *Source) useLocked(file *mapping.File, err error) {
	if err != nil {
		s.log.Error("StatsD: the mapping stays as it was", "file", s.config.MappingFile, "error", err)
		return
	}
	s.config.Options.Mapping = file
	s.store.Load().remap(file)
	s.log.Info("StatsD: new mapping", "file", s.config.MappingFile, "rules", len(file.Rules))
}
