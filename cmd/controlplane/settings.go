package main

import (
	"io"
	"log/slog"

	"github.com/spf13/cobra"

	flags "github.com/dragoman-mesh/dragoman/cmd/internal/settings"
	"github.com/dragoman-mesh/dragoman/pkg/exit"
)

// settings are a command's own.
type settings struct{ *flags.Settings }

func newSettings(cmd *cobra.Command) (*settings, error) {
	s, err := flags.Read(cmd, exit.Usage)
	if err != nil {
		return nil, err
	}
	return &settings{s}, nil
}

func (s *settings) logger(w io.Writer) (*slog.Logger, *slog.LevelVar, error) {
	log, level, err := s.Logger(w)
	if err != nil {
		return nil, nil, exit.Usage(err)
	}
	return log, level, nil
}
