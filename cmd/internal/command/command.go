// Package command is what the commands of both programs have in common.
package command

import (
	"fmt"
	"strconv"

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

// Number is a number of things, as in "1 document" and "2 documents".
func Number(n int, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return strconv.Itoa(n) + " " + thing
}
