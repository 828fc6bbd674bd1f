package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/dragoman-mesh/dragoman/pkg/exit"
)

// ErrSilent ends a program with the code that it is wrapped in; all has been said.
var ErrSilent = errors.New("")

// Root completes a program's own command, which does nothing without another one.
func Root(root *cobra.Command) *cobra.Command {
	root.SilenceUsage, root.SilenceErrors = true, true
	root.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	root.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return exit.Usage(fmt.Errorf("unknown command %q; see %s --help", args[0], cmd.Name()))
		}
		return nil
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetHelpCommand(&cobra.Command{
		Use:   "help [command]",
		Short: "Help about any command",
		RunE: func(_ *cobra.Command, args []string) error {
			cmd, rest, err := root.Find(args)
			if err != nil || len(rest) > 0 {
				return exit.Usage(fmt.Errorf("unknown command %q; see %s --help", strings.Join(args, " "), root.Name()))
			}
			return cmd.Help()
		},
	})
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return exit.Usage(fmt.Errorf("%w; see %s --help", err, cmd.CommandPath()))
	})
	return root
}

// Run runs a program, without the process: it returns the exit code. args begin
// behind the program's name.
func Run(root *cobra.Command, args []string, stdout, stderr io.Writer) int {
	// Whoever read the log may be gone: that is no reason to end for a server. Others
	// see an error when they write.
	signal.Ignore(syscall.SIGPIPE)
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(context.Background())
	if err == nil || errors.Is(err, ErrSilent) {
		return exit.Code(err)
	}
	for line := range strings.Lines(err.Error()) {
		fmt.Fprintf(stderr, "%s: %s\n", root.Name(), strings.TrimSuffix(line, "\n"))
	}
	return exit.Code(err)
}
