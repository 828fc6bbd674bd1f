package command

import (
	"fmt"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// NewVersion returns the command that shows a program's version.
func NewVersion(program string) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Show the version",
		Args:  NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			fmt.Fprintln(cmd.OutOrStdout(), "dragoman", program, Version())
			return nil
		},
	}
}

// Version is the module's version, the revision and Go's version.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v, revision := info.Main.Version, ""
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			revision = s.Value
		}
	}
	if v == "" || v == "(devel)" {
		v = "devel"
	}
	if revision != "" {
		v += " " + revision[:min(len(revision), 12)]
	}
	return v + " " + info.GoVersion
}
