package main

import (
	"github.com/spf13/cobra"

	flags "github.com/dragoman-mesh/dragoman/cmd/internal/settings"
)

// settings are a command's own.
type settings struct{ *flags.Settings }

func newSettings(cmd *cobra.Command) (*settings, error) {
	s, err := flags.Read(cmd)
	if err != nil {
		return nil, err
	}
	return &settings{s}, nil
}
