package main

import (
	"log/slog"

	"github.com/spf13/cobra"
)

// demoLogger is quieter than run's unless a level is asked for: what to type is
// not to drown in it.
func demoLogger(s *settings, cmd *cobra.Command) (*slog.Logger, *slog.LevelVar, error) {
	log, level, err := s.Logger(cmd.ErrOrStderr())
	if err == nil && !s.Flags.Changed("log-level") {
		level.Set(slog.LevelWarn)
	}
	return log, level, err
}
