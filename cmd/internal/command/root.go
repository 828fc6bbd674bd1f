package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dragoman-mesh/dragoman/pkg/exit"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
)

// ErrSilent ends a program with the code that it is wrapped in; all has been said.
var ErrSilent = errors.New("")

// Root completes a program's own command, which does nothing without another one.
func Root(root *cobra.Command) *cobra.Command {
	root.SilenceUsage, root.SilenceErrors = true, true
	root.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	root.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return unknownCommand(cmd, args)
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
				return unknownCommand(root, args)
			}
			return cmd.Help()
		},
	})
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return exit.Usage(fmt.Errorf("%w; %ssee %s --help", err, nearestFlag(cmd, err), cmd.CommandPath()))
	})
	return root
}

func unknownCommand(root *cobra.Command, args []string) error {
	var known []string
	for _, c := range root.Commands() {
		known = append(known, c.Name())
	}
	return exit.Usage(fmt.Errorf("unknown command %q; %ssee %s --help", strings.Join(args, " "), nearest(args[0], known), root.Name()))
}

// nearestFlag says which flag an error about an unknown one was probably meant for.
func nearestFlag(cmd *cobra.Command, err error) string {
	unknown, ok := errors.AsType[*pflag.NotExistError](err)
	if !ok {
		return ""
	}
	var known []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { known = append(known, "--"+f.Name) })
	name := unknown.GetSpecifiedName()
	if dashes := unknown.GetSpecifiedShortnames(); dashes != "" {
		name = dashes // as in -environment
	}
	return nearest("--"+name, known)
}

func nearest(wrong string, known []string) string {
	if hint := mesh.DidYouMean(wrong, known); hint != "" {
		return hint + " "
	}
	return ""
}

// Run runs a program, without the process: it returns the exit code. args begin
// behind the program's name.
func Run(root *cobra.Command, args []string, stdout, stderr io.Writer) int {
	// Whoever read the log may be gone: that is no reason to end for a server. Others
	// see an error when they write. The signal is taken, and not ignored: programs that
	// are started would ignore it, too.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
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
