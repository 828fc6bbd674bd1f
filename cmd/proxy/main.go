// Command proxy is an ambassador on localhost: an app talks to one port, the
// proxy knows what is behind it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dragoman-mesh/dragoman/cmd/internal/command"
	"github.com/dragoman-mesh/dragoman/pkg/exit"
)

func main() {
	os.Exit(run(os.Args, os.Stdout, os.Stderr))
}

// run is main without the process: it returns the exit code.
func run(args []string, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(face(args))
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(context.Background())
	if err == nil || errors.Is(err, errSilent) {
		return exit.Code(err)
	}
	for line := range strings.Lines(err.Error()) {
		fmt.Fprintf(stderr, "proxy: %s\n", strings.TrimSuffix(line, "\n"))
	}
	return exit.Code(err)
}

// errSilent ends the process with the code it is wrapped in; all has been said.
var errSilent = errors.New("")

// face makes the arguments of a tool that is replaced those of its command: a
// binary called as the tool, flags that only the tool has, or no arguments at all
// where the variable of twemproxy's well-known image is set.
func face(args []string) []string {
	switch filepath.Base(args[0]) {
	case "nutcracker":
		return append([]string{"twemproxy"}, args[1:]...)
	case "nginx-prometheus-exporter", "prometheus-nginx-exporter":
		return append([]string{"nginx-exporter"}, args[1:]...)
	}
	// The image of an exporter is given flags alone.
	if len(args) > 1 && strings.HasPrefix(args[1], "-") {
		for _, a := range args[1:] {
			switch name := strings.TrimLeft(a, "-"); {
			case name == a:
			case strings.HasPrefix(name, "nginx."):
				return append([]string{"nginx-exporter"}, args[1:]...)
			case strings.HasPrefix(name, "statsd."):
				return append([]string{"statsd-exporter"}, args[1:]...)
			}
		}
	}
	if len(args) == 1 && os.Getenv(serversVariable) != "" {
		return []string{"twemproxy"}
	}
	return args[1:]
}

// twoDashes gives flags with one dash, as Go's package flag has them, the two
// that pflag wants. One letter is a short flag, with a value or without.
func twoDashes(args []string) []string {
	out := slices.Clone(args)
	for i, a := range args {
		if name, _, _ := strings.Cut(a, "="); len(name) > 2 && name[0] == '-' && name[1] != '-' {
			out[i] = "-" + a
		}
	}
	return out
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "proxy",
		Short: "An ambassador on localhost for databases and Redis shards elsewhere",
		Long: "The app talks to localhost; the proxy talks to the right servers outside.\n" +
			"Settings come from flags, from DRAGOMAN_* variables, and from the file that\n" +
			"--config names, in this order of strength.",
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return cmd.Help()
		},
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return exit.Usage(fmt.Errorf("unknown command %q; see proxy --help", args[0]))
			}
			return nil
		},
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return exit.Usage(fmt.Errorf("%w; see %s --help", err, cmd.CommandPath()))
	})
	root.AddCommand(
		newRun(), newDemo(), newValidate(), newTry(), newStatus(), newWait(), command.NewVersion("proxy"),
		newTwemproxy(), newStatsdExporter(), newNginxExporter(), newJSONExporter(), newLeaderElector(), newCapture(), newWorkQueue(),
	)
	return root
}
