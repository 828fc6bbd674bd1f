// Package command is what the commands of both programs have in common.
package command

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/dragoman-mesh/dragoman/pkg/exit"
)

// NoArgs refuses arguments that are no flags.
func NoArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return exit.Usage(fmt.Errorf("unexpected argument %q; see %s --help", args[0], cmd.CommandPath()))
	}
	return nil
}
